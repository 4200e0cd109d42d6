"""The waiting list as candidates have it: join, look, leave."""

from collections.abc import Coroutine, Mapping, Sequence
from typing import Annotated, Any, Final, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from quota_service.api.context import ApiContext
from quota_service.api.models import (
    STRICT,
    Answer,
    ASubjectId,
    AVenueId,
    Count,
    ExamId,
    Positive,
    Rank,
    Reader,
    ReservationId,
    Time,
    VenueId,
    parse_object,
    refuse_resident_id,
    time_or_none,
)
from quota_service.api.payments import Instant
from quota_service.api.reservations import Ids, duplicates, idempotency_key
from quota_service.definitions.allocation import QuietHoursTable
from quota_service.definitions.fields import ClockTime
from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import QuietHours
from quota_service.domain.reservation import Reservation, State
from quota_service.http.request import Request
from quota_service.http.response import Headers, Response
from quota_service.registration.join_list import Joined, Wish, join_list
from quota_service.registration.leave_list import leave_list
from quota_service.registration.view_list import ListedEntry as EntryNow
from quota_service.registration.view_list import view_entry
from quota_service.schema import ENTRY_EXAMPLE, CandidateId, Matching, example
from quota_service.waiting_list.entry import ENTRY_ID, EntryState
from quota_service.waiting_list.entry import Entry as DomainEntry
from quota_service.waiting_list.position import Band
from quota_service.waiting_room.draw import commitment

EntryId = Annotated[
    str,
    Matching(ENTRY_ID, "the id of an entry"),
    Field(description="Id of the entry: exam, w and serial, separated by dots."),
    example(ENTRY_EXAMPLE),
]
Subjects = Annotated[Sequence[ASubjectId], example(["general", "qms"])]
Venues = Annotated[Sequence[AVenueId], example(["jinan", "tianjin"])]


@with_config(STRICT)
class ListWish(TypedDict):
    """What a candidate waits for: all subjects at one of the venues."""

    candidate: CandidateId
    subjects: Annotated[Ids, example(["general", "qms"])]
    """Ids of subjects, each in a session of its own."""
    venues: Annotated[Ids, example(["jinan", "tianjin"])]
    """Ids of venues in order of choice."""
    until: NotRequired[Annotated[Instant | None, example("2023-03-20T16:00:00.000Z")]]
    """When the candidate waits no longer: RFC 3339 with any offset, not later than registration
    closes. As long as registration is open when omitted or null."""
    quiet_hours: NotRequired[QuietHoursTable | None]
    """When the candidate sleeps: the time to pay for an offer does not run then, nor in the quiet
    hours of the exam. Where both together leave less than 8 hours of the day, only those of the
    exam count."""


class Hours(Answer):
    """Hours of each day."""

    starts: Annotated[ClockTime, Field(alias="from"), example("22:00")]
    """HH:MM in the time zone of the exam."""
    ends: Annotated[ClockTime, Field(alias="to"), example("07:00")]
    """HH:MM; of the next day where it is not later."""


class WaitingListEntry(Answer):
    """A place in the waiting list of an exam."""

    id: EntryId
    exam: ExamId
    candidate: CandidateId
    number: Annotated[Positive, example(4711)]
    """Numbers are given in the order of joining, without gaps."""
    subjects: Subjects
    venues: Venues
    """In order of choice."""
    until: Annotated[Time | None, example("2023-03-20T16:00:00.000Z")]
    """When the candidate waits no longer; null for as long as registration is open."""
    quiet_hours: Hours | None
    """The candidate's own; null where it gave none."""
    state: EntryState
    """`waiting`. `offered`: seats are held for the candidate, who has to pay for them. `served`:
    paid for. `missed`: not paid in time. `declined`: given back. `left`: the candidate left.
    `over`: the time it chose, registration or the list has ended, or the exam does not have what it
    wants any more. `conflict`: the candidate took one of the sessions elsewhere."""
    joined_at: Time


class PositionBand(Answer):
    """Positions from one to another."""

    first: Annotated[Positive, example(11)]
    last: Annotated[Positive | None, example(50)]
    """Null in the band of all positions behind the others."""


class Estimate(Answer):
    """What a candidate can judge its chances by."""

    offered_within_a_day: Annotated[Count, example(12)]
    """Entries that wanted one of its quotas and were offered seats within a day; of the quota of
    which most were."""


class ListOffer(Answer):
    """Seats that are held for a candidate: a reservation as any other."""

    reservation: ReservationId
    venue: VenueId
    deadline: Time
    """Pay before this moment."""


class CandidateEntry(WaitingListEntry):
    """A place in the waiting list as it is now, and the offer that it has."""

    offer: ListOffer | None
    """The offer, while it can be paid for."""
    ended_at: Time | None
    """When it ended; null while it waits or has an offer, or the end is not written down yet."""


class ListDraw(Answer):
    """The draw among those who joined between the same two dealings."""

    window: Annotated[Positive, example(3)]
    """Windows follow each other: all who are drawn in one come before those of the next."""
    seed_commitment: Rank
    """SHA-256 of the seed, known while entries join."""
    seed: Rank | None
    """Null until the window was drawn."""
    rank: Rank | None
    """The lowest is first: HMAC-SHA256, with the bytes of the seed as its key, of exam id and
    candidate id put together. Null until it was drawn, or where the entry had ended by then."""


class ListedEntry(CandidateEntry):
    """A place in the waiting list as it is now, with what can be said of its position."""

    position: PositionBand | None
    """A band of its position at the venue where fewest wait before it, as some seconds ago; null
    where it does not wait, or its place is drawn later."""
    estimate: Estimate | None
    """Null where it does not wait, or none that wanted one of its quotas was offered seats yet."""
    draw: ListDraw | None
    """Null where the list goes by number."""


_WISH: Final = Reader(ListWish, duplicates)


def post_entry(context: ApiContext, request: Request) -> Coroutine[Any, Any, Response]:
    """POST /v1/exams/{exam}/waiting-list."""
    key = idempotency_key(request.headers)
    wish = _read_wish(parse_object(request.body))
    request.candidate = wish.candidate

    async def run() -> Response:
        joined = await join_list(context.stores.waiting_list, request.params["exam"], wish, key)
        return _joined_answer(joined)

    return run()


async def get_entry(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/waiting-list/{entry}."""
    stores, params = context.stores.waiting_list, request.params
    return Response.json(_listed_json(await view_entry(stores, params["exam"], params["entry"])))


async def delete_entry(context: ApiContext, request: Request) -> Response:
    """DELETE /v1/exams/{exam}/waiting-list/{entry}."""
    stores, params = context.stores.waiting_list, request.params
    await leave_list(stores, params["exam"], params["entry"])
    return Response.json(_listed_json(await view_entry(stores, params["exam"], params["entry"])))


def _read_wish(document: Mapping[str, Any]) -> Wish:
    body = _WISH.read(document)
    if duplicates(document):
        raise _WISH.refusal(document)
    refuse_resident_id(body["candidate"])
    quiet = body.get("quiet_hours")
    return Wish(
        body["candidate"],
        tuple(body["subjects"]),
        tuple(body["venues"]),
        body.get("until"),
        None if quiet is None else QuietHours(quiet.starts, quiet.ends),
    )


def _joined_answer(joined: Joined) -> Response:
    entry = joined.entry
    headers: Headers = (("Location", f"/v1/exams/{entry.exam}/waiting-list/{entry.id}"),)
    if joined.replayed:
        headers += (("Idempotency-Replayed", "true"),)
    return Response.json(entry_json(entry), 201, headers)


def entry_json(entry: DomainEntry) -> WaitingListEntry:
    """Return an entry."""
    return {
        "id": entry.id,
        "exam": entry.exam,
        "candidate": entry.candidate,
        "number": entry.number,
        "subjects": entry.subjects,
        "venues": entry.venues,
        "until": time_or_none(entry.until_ms),
        "quiet_hours": _hours_json(entry.quiet_hours),
        "state": entry.state,
        "joined_at": rfc3339(entry.joined_ms),
    }


def _hours_json(quiet: QuietHours | None) -> Any:
    return None if quiet is None else {"from": quiet.starts, "to": quiet.ends}


def candidate_entry_json(now: EntryNow) -> CandidateEntry:
    """Return an entry as it is now."""
    return {
        **entry_json(now.entry),
        "offer": _offer_json(now),
        "ended_at": time_or_none(now.entry.ended_ms),
    }


def _listed_json(now: EntryNow) -> ListedEntry:
    return {
        **candidate_entry_json(now),
        "position": _band_json(now.position),
        "estimate": None
        if now.offered_within_a_day is None
        else {"offered_within_a_day": now.offered_within_a_day},
        "draw": _draw_json(now),
    }


def _draw_json(now: EntryNow) -> ListDraw | None:
    draw = now.draw
    if draw is None:
        return None
    return {
        "window": draw.number,
        "seed_commitment": commitment(draw.seed),
        "seed": draw.seed.hex() if draw.is_drawn else None,
        "rank": now.entry.rank,
    }


def _band_json(band: Band | None) -> PositionBand | None:
    return None if band is None else {"first": band.first, "last": band.last}


def _offer_json(now: EntryNow) -> ListOffer | None:
    """Return an offer that can be paid for, or is being paid for."""
    offer: Reservation | None = now.offer
    if offer is None or offer.state not in {State.HELD, State.CONFIRMING}:
        return None
    deadline = rfc3339(offer.deadline_ms)
    return {"reservation": offer.id, "venue": offer.venue, "deadline": deadline}
