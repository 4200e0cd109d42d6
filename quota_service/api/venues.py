"""A venue falls out: closed for sale, emptied, opened again."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from quota_service.api.context import ApiContext
from quota_service.api.models import (
    LIST_MAX,
    STRICT,
    Answer,
    ASubjectId,
    ExamId,
    Id,
    Next,
    Reader,
    ReservationId,
    VenueId,
    parse_object,
)
from quota_service.api.reservations import Ids
from quota_service.domain.exam import Exam
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration.close_venue import close_venue, open_venue
from quota_service.registration.move_out import move_out
from quota_service.registration.stores import ExamStores
from quota_service.schema import CandidateId, Reason, example

MOVES_MAX = 200
"""Bookings and holds that one call moves."""


@with_config(STRICT)
class VenueClosing(TypedDict):
    """What of a venue is closed or opened, and why."""

    reason: Reason
    subjects: NotRequired[
        Annotated[list[Id], Field(strict=True, max_length=LIST_MAX), example(["general"])]
    ]
    """Ids of subjects; all, those of later imports too, when omitted or empty."""


class VenueSale(Answer):
    """What of a venue is closed for sale."""

    exam: ExamId
    venue: VenueId
    closed_subjects: Annotated[Sequence[ASubjectId], example(["general"])]
    """The subjects that are closed for sale."""


@with_config(STRICT)
class MovingOut(TypedDict):
    """Where what stands at a closed venue is to go."""

    reason: Reason
    venues: NotRequired[Annotated[Ids, example(["tianjin", "beijing"])]]
    """Ids of venues, to try in this order after those that the candidate ordered."""
    after: NotRequired[ReservationId]
    """The `next` of the answer before."""
    limit: NotRequired[Annotated[int, Field(strict=True, ge=1, le=MOVES_MAX)]]
    """How many bookings and holds to move with this call at most."""


class MovedReservation(Answer):
    """A booking or a hold that went to another venue."""

    reservation: ReservationId
    candidate: CandidateId
    state: Annotated[str, example("confirmed")]
    """`confirmed`, or `held`: its deadline is what it was."""
    venue: VenueId
    """Where it is now."""
    rule: Annotated[str, example("candidate")]
    """What chose it: `candidate`, an order in which it was; `list`, `venues` of this call."""


class StayedReservation(Answer):
    """A booking or a hold that is where it was."""

    reservation: ReservationId
    candidate: CandidateId
    state: Annotated[str, example("confirmed")]
    """`confirmed` or `held`."""
    problem: Annotated[str, example("sold-out")]
    """Slug of the problem: `sold-out` where no venue tried has all its subjects."""


class MovedOut(Answer):
    """What was moved by one call."""

    exam: ExamId
    venue: Annotated[VenueId, example("jinan")]
    moved: Sequence[MovedReservation]
    """By reservation."""
    stayed: Sequence[StayedReservation]
    """By reservation."""
    next: Next


MOVING_OUT: Final = Reader(MovingOut)
CLOSING: Final = Reader(VenueClosing)
_UseCase = Callable[[ExamStores, str, str, Sequence[str], str], Awaitable[Exam]]


async def post_close(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/venues/{venue}/close."""
    return await _answer(context, request, close_venue)


async def post_open(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/venues/{venue}/open."""
    return await _answer(context, request, open_venue)


async def post_move_out(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/venues/{venue}/move-out."""
    body = MOVING_OUT.read(parse_object(request.body))
    exam, venue = request.params["exam"], request.params["venue"]
    done = await move_out(
        context.stores.maintenance,
        exam,
        venue,
        body.get("venues", []),
        body["reason"],
        body.get("after", ""),
        body.get("limit", MOVES_MAX),
    )
    answer: MovedOut = {
        "exam": exam,
        "venue": venue,
        "moved": [
            {
                "reservation": each.reservation,
                "candidate": each.candidate,
                "state": each.state,
                "venue": each.venue,
                "rule": each.rule,
            }
            for each in done.reservations
            if each.rule
        ],
        "stayed": [
            {
                "reservation": each.reservation,
                "candidate": each.candidate,
                "state": each.state,
                "problem": each.why,
            }
            for each in done.reservations
            if not each.rule
        ],
        "next": done.after,
    }
    return Response.json(answer)


async def _answer(context: ApiContext, request: Request, use_case: _UseCase) -> Response:
    body = CLOSING.read(parse_object(request.body))
    exam_id, venue = request.params["exam"], request.params["venue"]
    subjects = body.get("subjects", [])
    exam = await use_case(context.stores, exam_id, venue, subjects, body["reason"])
    answer: VenueSale = {
        "exam": exam.id,
        "venue": venue,
        "closed_subjects": [
            subject.id for subject in exam.subjects if exam.is_closed(venue, (subject.id,))
        ],
    }
    return Response.json(answer)
