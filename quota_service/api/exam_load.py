"""The load of an exam, as the screen of ops shows it at the opening."""

from collections.abc import Sequence
from typing import Annotated, Final, NotRequired

from pydantic import with_config
from typing_extensions import TypedDict

from quota_service.api.context import ApiContext
from quota_service.api.models import STRICT, Answer, Count, ExamId, Reader, Seconds, Time
from quota_service.api.pauses import Scope, scope_json
from quota_service.api.waiting_room import LoadReport, report_json
from quota_service.domain.definition import rfc3339
from quota_service.domain.errors import UnknownSubject, UnknownVenue
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration.exam_load import RoomLoad
from quota_service.schema import example
from quota_service.waiting_room.status import Phase


@with_config(STRICT)
class _Query(TypedDict):
    venue: NotRequired[str]
    subject: NotRequired[str]


class RoomLoadAnswer(Answer):
    """What comes to a waiting room, and what it lets in."""

    phase: Annotated[Phase, example(Phase.QUEUE)]
    """As in the public document."""
    paused: bool
    """Whether ops have paused admission, or the exam as a whole."""
    rate: Annotated[Seconds, example(35.0)]
    """Candidates let in a second now, not smoothed."""
    fixed_rate: Annotated[Seconds | None, example(35.0)]
    """The rate that was set; null: it adapts."""
    joined: Annotated[Count, example(9120)]
    """Candidates who ever joined; those of the draw are estimated."""
    waiting: Annotated[Count, example(7058)]
    """Candidates who wait for their turn, estimated."""
    admitted: Annotated[Count, example(2010)]
    """Candidates who ever claimed a place."""
    places: Annotated[Count, example(812)]
    """Candidates with a place."""
    signals: Sequence[LoadReport]
    """Load reports of the processes; without any, no candidate is admitted."""


class SeatSums(Answer):
    """The seats of what was asked for, by what has become of them; their sum is the capacity."""

    capacity: Annotated[Count, example(600)]
    """Seats released so far."""
    remaining: Annotated[Count, example(41)]
    """Seats that nobody has, closed ones among them."""
    returned: Annotated[Count, example(2)]
    """Seats that wait for the next allocation."""
    aside: Annotated[Count, example(0)]
    """Seats that are kept for groups."""
    held: Annotated[Count, example(204)]
    """Seats of holds."""
    confirming: Annotated[Count, example(3)]
    """Seats whose payment is being recorded."""
    confirmed: Annotated[Count, example(350)]
    """Seats of bookings."""


class StepsOfSecond(Answer):
    """What was done in one second."""

    at: Time
    """When it began."""
    held: Annotated[Count, example(812)]
    """Holds that were made, offers of the waiting list among them."""
    confirmed: Annotated[Count, example(64)]
    """Holds that became bookings."""
    released: Annotated[Count, example(3)]
    """Holds that were given back."""
    expired: Annotated[Count, example(12)]
    """Holds that expired."""


class RefusalsOfMinute(Answer):
    """How often candidates were refused in one minute."""

    minute: Time
    """When it began."""
    slug: Annotated[str, example("sold-out")]
    """The problem they were refused with."""
    count: Annotated[Count, example(3120)]
    """How often."""


class ExamLoad(Answer):
    """The load of an exam."""

    exam: ExamId
    as_of: Time
    """When it was read, by Redis's clock."""
    waiting_room: RoomLoadAnswer | None
    """Null where the exam has none."""
    live_holds: Annotated[Count, example(1840)]
    """Holds that are not paid for, of the whole exam."""
    attempts: Annotated[Count, example(3)]
    """Payments and changes of venue that are being recorded, of the whole exam."""
    journal_entries: Annotated[Count, example(120)]
    """Steps that Postgres does not have yet; while they are many, `seconds` are too low."""
    scope: Scope
    """What `seats` are of."""
    seats: SeatSums
    seats_as_of: Time
    """When the seats were read: some seconds before the rest where there are very many quotas."""
    seconds: Sequence[StepsOfSecond]
    """Of the whole exam, oldest first, none left out: the last of them has been over for a second
    at least."""
    refusals: Sequence[RefusalsOfMinute]
    """Of the whole exam, those that name a candidate, oldest first; this minute is not over."""


_QUERY: Final = Reader(_Query)


async def get_exam_load(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/load; with `?venue=` and `?subject=` the seats are of these alone."""
    query = _QUERY.read(dict(request.read_query()))
    venue, subject = query.get("venue", ""), query.get("subject", "")
    exam = context.stores.registry.find(request.params["exam"])
    if venue and venue not in exam.venue_ids:
        raise UnknownVenue(venue)
    if subject and subject not in exam.session_of:
        raise UnknownSubject(subject)
    load = await context.loads.current(exam.id)
    answer: ExamLoad = {
        "exam": exam.id,
        "as_of": rfc3339(load.as_of_ms),
        "waiting_room": None if load.room is None else _room_json(load.room),
        "live_holds": load.totals.live_holds,
        "attempts": load.totals.attempts,
        "journal_entries": load.totals.journal_entries,
        "scope": scope_json(venue, subject),
        "seats": _sums_json(*load.seats_of(venue, subject)),
        "seats_as_of": rfc3339(load.seats.clock_ms),
        "seconds": [
            {
                "at": rfc3339(second.at_ms),
                "held": second.held,
                "confirmed": second.confirmed,
                "released": second.released,
                "expired": second.expired,
            }
            for second in load.seconds
        ],
        "refusals": [
            {"minute": rfc3339(each.minute_ms), "slug": each.slug, "count": each.count}
            for each in load.refusals
        ],
    }
    return Response.json(answer)


def _sums_json(  # noqa: PLR0917  a quota's seats and all of its parts
    capacity: int,
    remaining: int,
    returned: int,
    aside: int,
    held: int,
    confirming: int,
    confirmed: int,
) -> SeatSums:
    """Return seats by what has become of them."""
    return {
        "capacity": capacity,
        "remaining": remaining,
        "returned": returned,
        "aside": aside,
        "held": held,
        "confirming": confirming,
        "confirmed": confirmed,
    }


def _room_json(load: RoomLoad) -> RoomLoadAnswer:
    """Return the load of a waiting room."""
    room, document = load.status.room, load.document
    return {
        "phase": document.phase,
        "paused": document.is_paused,
        "rate": room.rate if room.fixed_rate is None else room.fixed_rate,
        "fixed_rate": room.fixed_rate,
        "joined": load.status.joined,
        "waiting": document.waiting,
        "admitted": load.statistics.claimed,
        "places": load.statistics.places,
        "signals": [report_json(each) for each in load.statistics.reports],
    }
