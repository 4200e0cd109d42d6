"""What a CronJob of `deploy/kubernetes/` that scales may be."""

import re
import zoneinfo
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.kubernetes_pods import Pod

_FIELDS = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 6),
)
_PART = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/[1-9]\d*)?")


def scaling_problems(
    spec: Mapping[str, Any], pod: Pod, deployments: frozenset[str]
) -> Iterator[str]:
    """Yield what is wrong; `deployments` are those that can be scaled."""
    yield from _schedule_problems(spec["schedule"])
    zone = spec.get("timeZone")
    if zone not in zoneinfo.available_timezones():
        yield f"timeZone is {zone!r}; it has to be a zone as Asia/Shanghai"
    right = [["scale", f"deployment/{name}", "--replicas=$(REPLICAS)"] for name in deployments]
    if pod.args not in right:
        yield f"args {pod.args} scale no Deployment; there are {sorted(deployments)}"


def _schedule_problems(schedule: str) -> Iterator[str]:
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        yield f"schedule {schedule!r} has {len(fields)} fields; it takes {len(_FIELDS)}"
        return
    for text, (name, least, most) in zip(fields, _FIELDS, strict=True):
        for part in text.split(","):
            taken = _PART.fullmatch(part)
            if taken is None or any(not least <= int(one) <= most for one in taken.groups() if one):
                yield f"schedule {schedule!r}: {name} {part!r} is not from {least} to {most}"
