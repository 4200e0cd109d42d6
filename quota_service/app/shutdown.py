"""The time of a shutdown: one deadline for all that is let finish, and a limit for the whole.

From SIGTERM or SIGINT on, readiness fails for `shutdown_notice_s` first. Then requests, use cases
and rounds of workers share `shutdown_drain_s`: what one of them uses, the next lacks. Then what is
left is cancelled and the stores are closed, in seconds. A process that is not at its end after
`shutdown_max_s` writes what its threads do to standard error and ends with status 1.
"""

import asyncio
import faulthandler
from dataclasses import dataclass

from quota_service.settings import Settings


@dataclass(frozen=True, slots=True)
class ShutdownLimits:
    """Bounds of a shutdown that no setting moves."""

    closing_s: float = 10.0
    """For stores, memory and logs, after the drain."""


def shutdown_max_s(settings: Settings) -> float:
    """Return the longest time from SIGTERM to the end of a process, in seconds.

    Whatever supervises it must wait for longer before it kills.
    """
    closing_s = settings.limits_of(ShutdownLimits).closing_s
    return settings.shutdown_notice_s + settings.shutdown_drain_s + closing_s


def end_in_time(settings: Settings) -> None:
    """End the process with status 1 unless it has ended within `shutdown_max_s` from now.

    A thread of the interpreter does it, so that no task and no other thread can hold it up.
    """
    faulthandler.dump_traceback_later(shutdown_max_s(settings), exit=True)


class DrainTime:
    """The time that all parts of a shutdown share, from when the first asks for it."""

    def __init__(self, settings: Settings) -> None:
        self._limit_s = settings.shutdown_drain_s
        self._ends_at_s: float | None = None

    def left_s(self) -> float:
        """Return the seconds that are left, 0 when none are."""
        now_s = asyncio.get_running_loop().time()
        if self._ends_at_s is None:
            self._ends_at_s = now_s + self._limit_s
        return max(self._ends_at_s - now_s, 0.0)
