"""All that a candidate has in an exam."""

from collections.abc import Sequence
from typing import Annotated

from quota_service.api.context import ApiContext
from quota_service.api.models import (
    Amount,
    Answer,
    ExamId,
    Positive,
    ReservationId,
    Time,
    refuse_bad_candidate,
    time_or_none,
)
from quota_service.api.reservations import Reservation, reservation_json
from quota_service.api.waiting_list import CandidateEntry, candidate_entry_json
from quota_service.domain.definition import rfc3339
from quota_service.domain.reservation import State
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration.view import Step as RecordedStep
from quota_service.registration.view import view_candidate
from quota_service.registration.view_list import entries_of
from quota_service.schema import CandidateId, Currency, Identifier, example


class Step(Answer):
    """One step."""

    at: Time
    """When."""
    step: Annotated[str, example("reserve")]
    """What was done."""
    state: State
    """The state after it."""
    venue: Annotated[Identifier, example("jinan")]
    """The venue after it."""
    key_id: Annotated[str | None, example("0f3a9c2b71de")]
    """Id of the API key that asked for it; `provider`, `worker:…` or `cli:…` where none did; null
    when it is not known."""
    request_id: Annotated[str | None, example("frontend-1-000042")]
    """The X-Request-ID of the request that asked for it."""


class ReservationWithHistory(Reservation):
    """A reservation and what happened to it."""

    history: Sequence[Step]
    """Every step, oldest first; the last second's may be missing."""


class Refund(Answer):
    """A booking paid back in full."""

    reservation: ReservationId
    amount: Amount
    """In minor units."""
    currency: Currency
    refunded_at: Time
    """When the booking was ended."""
    settled_at: Time | None
    """When ops sent the money back; null until then."""


class Refusals(Answer):
    """Refusals of one kind within a minute."""

    slug: Annotated[str, example("sold-out")]
    """Which problem it was: the end of its `type`."""
    reservation: Annotated[str | None, example(None)]
    """The reservation that the requests named; null where they named the candidate."""
    count: Annotated[Positive, example(3)]
    """How often in the minute."""
    last_at: Time
    """When it was the last time."""
    key_id: Annotated[str, example("0f3a9c2b71de")]
    """Id of the API key of the last request."""
    request_id: Annotated[str, example("frontend-1-000042")]
    """The X-Request-ID of the last request."""


class CandidateView(Answer):
    """All reservations of a candidate in an exam; none for an unknown candidate."""

    exam: ExamId
    candidate: CandidateId
    registered: bool
    """Whether a reservation is confirmed."""
    refund_used: bool
    """Whether the one refund of a candidate and exam is used; those that ops made are beside it."""
    refund: Refund | None
    """The last refund the candidate had for the exam."""
    reservations: Sequence[ReservationWithHistory]
    """Oldest first."""
    waiting_list: Sequence[CandidateEntry]
    """Entries of the waiting list, newest first, at most 200."""
    refusals: Sequence[Refusals]
    """What the candidate, or a reservation of it, was refused within a day, newest first, at most
    200. The last second's may be missing, and of a rush others too."""


async def get_candidate(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/candidates/{candidate}."""
    candidate = request.params["candidate"]
    refuse_bad_candidate(candidate)
    request.candidate = candidate
    exam, stores = request.params["exam"], context.stores
    view = await view_candidate(stores.payments, exam, candidate)
    listed = await entries_of(stores.waiting_list, exam, candidate)
    refund = view.refunds[-1] if view.refunds else None
    answer: CandidateView = {
        "exam": view.exam,
        "candidate": view.candidate,
        "registered": view.is_registered,
        "refund_used": view.is_refund_used,
        "refund": None
        if refund is None
        else {
            "reservation": refund.reservation,
            "amount": refund.amount,
            "currency": refund.currency,
            "refunded_at": rfc3339(refund.refunded_ms),
            "settled_at": time_or_none(refund.settled_ms),
        },
        "reservations": [
            {
                **reservation_json(each.reservation, each.payment),
                "history": [_step_json(step) for step in each.history],
            }
            for each in view.reservations
        ],
        "waiting_list": [candidate_entry_json(each) for each in listed],
        "refusals": [
            {
                "slug": refused.slug,
                "reservation": refused.reservation or None,
                "count": refused.count,
                "last_at": rfc3339(refused.last_ms),
                "key_id": refused.by.key_id,
                "request_id": refused.by.request_id,
            }
            for refused in view.refusals
        ],
    }
    return Response.json(answer)


def _step_json(step: RecordedStep) -> Step:
    return {
        "at": rfc3339(step.at_ms),
        "step": step.verb,
        "state": step.state,
        "venue": step.venue,
        "key_id": step.key_id or None,
        "request_id": step.request_id or None,
    }
