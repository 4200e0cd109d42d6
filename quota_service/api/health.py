"""Whether the process is up, and whether it can serve."""

from collections.abc import Sequence
from typing import Literal, NotRequired

from quota_service.api.answers import Answer
from quota_service.api.context import ApiContext
from quota_service.api.problems import problem_response
from quota_service.http.request import Request
from quota_service.http.response import Response


class Health(Answer):
    """All is well."""

    status: Literal["ok"]
    warnings: NotRequired[Sequence[str]]
    """What ops have to look at though it serves: `worker` when none runs, `journal`, `exam:<id>`
    for one that cannot be loaded; why is in the log. Left out when there is none."""


def get_livez(_context: ApiContext, _request: Request) -> Response:
    """GET /livez: the process is up."""
    return Response.json({"status": "ok"})


def get_readyz(context: ApiContext, _request: Request) -> Response:
    """GET /readyz: the stores answer, scripts run, exams and keys are loaded; not draining.

    Else the problem with every part at fault; why is in the log. `warnings` are parts that serve
    and that ops have to look at.
    """
    if context.health.is_draining:
        return problem_response("not-ready", "the service is shutting down", part="service")
    faults = sorted(context.health.faults)
    if faults:
        return problem_response("not-ready", f"not ready: {', '.join(faults)}", part=faults[0])
    health: Health = {"status": "ok"}
    if warnings := sorted(context.health.warnings):
        health["warnings"] = warnings
    return Response.json(health)
