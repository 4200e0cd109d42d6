"""How long tests wait: for longer than any machine is slow or stands still.

A limit of time in a test only ends what would never end. What a test is about is never that
something was done within a limit that a busy machine could miss.
"""

from collections.abc import Mapping
from typing import Any

from quota_service.app.shutdown import ShutdownLimits
from quota_service.http.gradient import LatencyFloor
from quota_service.settings import variable

LIMIT_S = 30.0

START_LIMIT_S = 120.0
"""For processes, which work for seconds before they listen, several at once on one machine."""

PATIENT: Mapping[str, Any] = {
    "redis_connect_timeout_s": LIMIT_S,
    "redis_command_timeout_s": LIMIT_S,
    "postgres_connect_timeout_s": LIMIT_S,
    "postgres_acquire_timeout_s": LIMIT_S,
    "postgres_command_timeout_s": LIMIT_S,
    "request_timeout_s": LIMIT_S,
    "head_timeout_s": LIMIT_S,
    "limits": (LatencyFloor(floor_ms=10_000), ShutdownLimits(closing_s=LIMIT_S)),
}
"""Settings of a service that gives nothing up and takes no latency for overload."""

PATIENT_VARIABLES: Mapping[str, str] = {
    variable(name): str(value) for name, value in PATIENT.items() if not isinstance(value, tuple)
}
"""Those of them that an environment can set, for processes."""
