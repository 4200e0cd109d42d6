"""Running the day: what ops did in an exam, and what of it is in force."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import WithJsonSchema

from quota_service.api.context import ApiContext
from quota_service.api.day import ExtensionMade, extension_json
from quota_service.api.models import Answer, ExamId, Next, Positive, Time
from quota_service.api.ops import page_asked
from quota_service.api.ops_actions import OpsAction, action_json
from quota_service.api.pauses import Pause, Scope, pause_json, scope_json
from quota_service.domain.definition import rfc3339
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.ledger.hold_extensions import Unfinished
from quota_service.schema import RESERVATION_EXAMPLE, example


class ExtensionUnderWay(Answer):
    """An extension of holds that is not done."""

    id: Annotated[str, example("7")]
    """Id of the extension."""
    scope: Scope
    reservation: Annotated[
        str | None, WithJsonSchema({"type": ["string", "null"]}), example(RESERVATION_EXAMPLE)
    ]
    """The only hold that is meant; null for all of the scope."""
    ms: Annotated[Positive, example(1_800_000)]
    """By how many milliseconds deadlines move out, at most."""
    decided_at: Time
    """When it was decided."""


class InForce(Answer):
    """What is in force."""

    pauses: Sequence[Pause]
    """What is paused."""
    extensions: Sequence[ExtensionUnderWay]
    """Extensions of holds that are not done, in the order in which they are carried out."""


class OperationDone(OpsAction):
    """What ops did, and of an extension of holds how far it is."""

    extension: ExtensionMade | None
    """Of `extend-holds`, and of `resume` with `extend_holds`; else null."""


class Operations(Answer):
    """What ops did in an exam, and what is in force."""

    exam: ExamId
    in_force: InForce
    operations: Sequence[OperationDone]
    """The newest first."""
    next: Next


async def get_operations(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/operations."""
    before, limit = page_asked(request)
    exam, stores = request.params["exam"], context.stores
    pauses = stores.registry.find(exam).pauses
    unfinished = await stores.maintenance.extensions.unfinished(exam)
    page = await stores.ops_actions.of_exam(exam, before, limit)
    answer: Operations = {
        "exam": exam,
        "in_force": {
            "pauses": [pause_json(pause) for pause in pauses],
            "extensions": [_under_way_json(each) for each in unfinished],
        },
        "operations": [
            {
                **action_json(action),
                "extension": None if extended is None else extension_json(extended),
            }
            for action, extended in page
        ],
        "next": str(page[-1][0].id) if len(page) == limit else None,
    }
    return Response.json(answer)


def _under_way_json(unfinished: Unfinished) -> ExtensionUnderWay:
    extension = unfinished.extension
    return {
        "id": str(extension.number),
        "scope": scope_json(extension.venue, extension.subject),
        "reservation": extension.reservation or None,
        "ms": extension.ms,
        "decided_at": rfc3339(unfinished.decided_ms),
    }
