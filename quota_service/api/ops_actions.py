"""What ops did beyond the rules of an exam: who, when, why, and how it ended."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import WithJsonSchema

from quota_service.api.context import ApiContext
from quota_service.api.models import Answer, Next, Time, refuse_bad_candidate
from quota_service.api.ops import page_asked
from quota_service.domain.definition import rfc3339
from quota_service.domain.reservation import RESERVATION_ID
from quota_service.http.errors import InvalidRequest
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.ledger.ops_actions import OpsAction as NotedAction
from quota_service.schema import EXAM_EXAMPLE, RESERVATION_EXAMPLE, Reason, example


class OpsAction(Answer):
    """What ops did to a reservation or a venue, or for a candidate."""

    id: Annotated[str, example("42")]
    """Id of the entry."""
    exam: Annotated[str | None, WithJsonSchema({"type": ["string", "null"]}), example(EXAM_EXAMPLE)]
    """Id of the exam; null for money of a payment that named none we know."""
    at: Time
    """When it began."""
    action: Annotated[str, example("move")]
    """`reserve`, `mark-paid`, `release`, `move`, `refund`, `reopen-refund`, `close-venue`,
    `open-venue`, `move-out`, `pause`, `resume`, `extend-holds`, `make-codes`, `revoke-code`,
    `hand-out`, `put-in-source`, `open-without-draw`, `plan-release`, `cancel-release`,
    `pause-list`, `resume-list`, `suspend-list`, `reopen-list`, `cap-list`; with a reason also
    `set-rate`, `pause-admission`, `resume-admission`, `settle-refund`, `settle-payment`,
    `revoke-tokens`; of webhooks `make-webhook`, `delete-webhook`, `rotate-webhook-secret`,
    `disable-webhook`, `enable-webhook`, `replay-webhook`, `test-webhook`; others may come."""
    subject: Annotated[str, example(RESERVATION_EXAMPLE)]
    """The reservation; of `reserve`, `hand-out` and `revoke-tokens` the candidate; of codes the
    set-aside; of what was done to a venue, the venue; of a pause or of several holds what is meant,
    as `venue/subject` with `*` for all; of the source of a draw and of admission `waiting-room`; of
    a seat release its id; of the waiting list the exam; of an unreadable payment and of a
    webhook endpoint its id."""
    reason: Reason
    """Why."""
    key_id: Annotated[str, example("0f3a9c2b71de")]
    """Id of the API key, or `cli:…`."""
    request_id: Annotated[str, example("desk-3-000017")]
    """The X-Request-ID; the history of the reservations has it too. Empty for a command."""
    detail: Annotated[
        Mapping[str, Any], WithJsonSchema({"type": "object"}), example({"venue": "tianjin"})
    ]
    """What else was asked for."""
    outcome: Annotated[str | None, example("done")]
    """`done`, or the slug of the refusal. Null: it is under way, or nobody could say how it ended;
    the history of the reservations tells."""


class OpsActions(Answer):
    """A page of what ops did."""

    ops_actions: Sequence[OpsAction]
    """In the order they began."""
    next: Next


async def get_ops_actions(context: ApiContext, request: Request) -> Response:
    """GET /v1/ops-actions."""
    after, limit = page_asked(request, "exam", "candidate", "reservation")
    query = request.read_query()
    exam, candidate = query.get("exam"), query.get("candidate")
    reservation = query.get("reservation")
    if exam is not None:
        context.stores.registry.check_known(exam)
    if candidate is not None:
        refuse_bad_candidate(candidate)
        request.candidate = candidate
    if reservation is not None and not RESERVATION_ID.fullmatch(reservation):
        raise InvalidRequest([("reservation", "must be the id of a reservation")])
    noted = context.stores.ops_actions
    page = await noted.page(exam, candidate, reservation, after, limit)
    answer: OpsActions = {
        "ops_actions": [action_json(action) for action in page],
        "next": str(page[-1].id) if len(page) == limit else None,
    }
    return Response.json(answer)


def action_json(action: NotedAction) -> OpsAction:
    """Return an act as it is answered."""
    return {
        "id": str(action.id),
        "exam": action.exam,
        "at": rfc3339(action.at_ms),
        "action": action.action,
        "subject": action.subject,
        "reason": action.reason,
        "key_id": action.by.key_id,
        "request_id": action.by.request_id,
        "detail": action.detail,
        "outcome": action.outcome,
    }
