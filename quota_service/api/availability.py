"""Availability: what is left at every venue, at once and as it changes."""

import re
from collections.abc import Coroutine, Sequence
from typing import Annotated, Any, Final, Literal, NotRequired

from multidict import MultiMapping
from pydantic import Field, WithJsonSchema

from quota_service.api.announced import AnnouncedRelease
from quota_service.api.context import ApiContext
from quota_service.api.models import (
    LIST_MAX,
    Answer,
    AVenueId,
    Count,
    ExamId,
    SeatCount,
    SubjectId,
    Time,
    VenueId,
)
from quota_service.api.pauses import Pause
from quota_service.domain.definition import rfc3339
from quota_service.domain.errors import UnknownSubject
from quota_service.domain.exam import Exam
from quota_service.http.errors import InvalidRequest
from quota_service.http.etags import not_modified
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration.availability import Availability as AvailabilityRead
from quota_service.registration.availability_changes import AvailabilityChange as ChangeRead
from quota_service.schema import Matching, example

STATE_ID: Final = re.compile(r"[0-9]{1,15}-[0-9]{1,15}(-[0-9]{1,15})?")
"""The id of an event of a stream: names a state of the seats."""

StateId = Annotated[
    str,
    Matching(STATE_ID, "the id of an event"),
    Field(
        description="What to send as `Last-Event-ID`: that of the last event that had one.",
    ),
    example("1-42-3"),
]


class QuotaLeft(Answer):
    """The seats of one subject at one venue."""

    venue: VenueId
    subject: SubjectId
    remaining: Annotated[SeatCount, example(41)]
    """Seats that can be reserved now."""
    capacity: Annotated[SeatCount, example(600)]
    """Seats released so far."""
    returned: NotRequired[Annotated[SeatCount, example(2)]]
    """Seats that came back and wait for the next of the exam's announced times; left out where
    seats wait for none."""


class AvailabilityStale(Answer):
    """The seats cannot be read for now; this was known last."""

    exam: ExamId
    version: Annotated[Count, example(42)]
    """Counts the steps of the seat counters; equal versions, equal seats."""
    revision: Annotated[Count, example(3)]
    """Names the definition of the exam that this goes by."""
    as_of: Time
    """When the seats were counted."""


class AvailabilityChange(AvailabilityStale):
    """What is different from before.

    `quotas` has those that changed, and `venues_with_all` is left out when it is the same.
    """

    quotas: Sequence[QuotaLeft]
    """Every quota of the subjects asked for."""
    venues_with_all: NotRequired[Annotated[Sequence[AVenueId], example(["jinan"])]]
    """Venues with a seat left in every subject asked for, in the exam's order."""


class Availability(AvailabilityStale):
    """What is left of an exam's seats at one moment."""

    next_release: NotRequired[AnnouncedRelease]
    """The next seat release of which something is announced; absent where there is none."""
    quotas: Sequence[QuotaLeft]
    """Every quota of the subjects asked for."""
    venues_with_all: Sequence[AVenueId]
    """Venues with a seat left in every subject asked for, in the exam's order."""
    pauses: NotRequired[Sequence[Pause]]
    """What ops have paused; left out where nothing is. What is paused is among the seats left."""


def _json_of(component: str) -> WithJsonSchema:
    reference = {"component": component}
    return WithJsonSchema(
        {"type": "string", "contentMediaType": "application/json", "contentSchema": reference}
    )


class Snapshot(Answer):
    """Everything."""

    event: Literal["snapshot"]
    id: StateId
    data: Annotated[str, _json_of("Availability")]


class Change(Answer):
    """What changed."""

    event: Literal["change"]
    id: StateId
    data: Annotated[str, _json_of("AvailabilityChange")]


class Stale(Answer):
    """Nothing newer is known."""

    event: Literal["stale"]
    id: NotRequired[StateId]
    data: Annotated[str, _json_of("AvailabilityStale")]


def get_availability(
    context: ApiContext, request: Request
) -> Response | Coroutine[Any, Any, Response]:
    """GET /v1/exams/{exam}/availability."""
    exam = request.params["exam"]
    known = context.availability.fresh(exam)
    if known is not None:
        return _answer(context, request, known)

    async def ask() -> Response:
        return _answer(context, request, await context.availability.current(exam))

    return ask()


def _answer(context: ApiContext, request: Request, found: AvailabilityRead) -> Response:
    subjects = subjects_asked(request.read_query(), found.exam)
    headers = (("ETag", f'W/"{found.state_id}"'), ("Cache-Control", "no-cache"))
    if unchanged := not_modified(request, headers):
        return unchanged
    return Response(context.rendered.body(found, subjects), 200, headers)


def subjects_asked(query: "MultiMapping[str]", exam: Exam) -> tuple[str, ...] | None:
    """Return the subjects in `?subjects=a,b`, or None for all of the exam."""
    asked = query.getall("subjects", [])
    unknown = [name for name in query if name != "subjects"]
    if unknown:
        told = [(name[:64], "is not a parameter of this call") for name in unknown[:LIST_MAX]]
        raise InvalidRequest(told)
    if not asked:
        return None
    subjects = tuple(dict.fromkeys(part for value in asked for part in value.split(",")))
    if len(subjects) > LIST_MAX:
        raise InvalidRequest([("subjects", f"must have 1 to {LIST_MAX} members")])
    for subject in subjects:
        if subject not in exam.session_of:
            raise UnknownSubject(subject[:64], "subjects")
    return None if len(subjects) == len(exam.session_of) else subjects


def change_json(change: ChangeRead, subjects: Sequence[str] | None) -> AvailabilityChange:
    """Return what changed, of all subjects or of some; venues with all only if they differ."""
    after, before = change.after, change.before
    wanted = after.exam.session_of.keys() if subjects is None else set(subjects)
    venues = after.venues_with_all(wanted)
    document: AvailabilityChange = {
        **stale_json(after),
        "quotas": [
            {
                "venue": quota.venue,
                "subject": quota.subject,
                "remaining": quota.remaining,
                "capacity": quota.capacity,
            }
            for quota in change.quotas
            if quota.subject in wanted
        ],
        "venues_with_all": venues,
    }
    if before is not None and before.venues_with_all(wanted) == venues:
        del document["venues_with_all"]
    return document


def stale_json(latest: AvailabilityRead) -> AvailabilityStale:
    """Return which state of the seats is known."""
    return {
        "exam": latest.exam.id,
        "version": latest.version,
        "revision": latest.exam.revision,
        "as_of": rfc3339(latest.as_of_ms),
    }
