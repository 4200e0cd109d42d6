"""The plan of a dealing: which waiting entries are offered the seats that are free, and where.

Entries are looked at in their order. Each is served in full, with a seat of every subject at one
venue, the first of its venues where that is possible, or keeps its place. A later entry never gets
a seat that an earlier one could have been served with.

Seats come out of those that were returned, then out of those on open sale. With a ceiling over the
subjects of a session, a seat on open sale needs a free place under it as well. A returned seat has
its place already: where that place is what an entry needs, the returned seat goes on open sale.

Quotas and places under a ceiling have their names in Redis, `venue/subject` and `venue/session`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from quota_service.waiting_list.entry import Entry


@dataclass(frozen=True, slots=True)
class PlannedSeat:
    """One seat of an offer: returned or on open sale.

    `opened` is the returned seat that goes on open sale for the place it has under the ceiling.
    """

    quota: str
    is_returned: bool
    opened: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedOffer:
    """An entry, the venue where it is served, and its seats in the order of its subjects."""

    entry: Entry
    venue: str
    seats: tuple[PlannedSeat, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is offered, in order, and the returned seats that no entry can use.

    `waiting` counts the entries that wait on: for each quota with seats left over, and for each
    place with a ceiling as `venue//session`.
    """

    offers: tuple[PlannedOffer, ...]
    leftovers: Mapping[str, int]
    waiting: Mapping[str, int]


@dataclass(slots=True)
class Pool:
    """The seats that can be offered; a quota or place that is not named has none.

    `places_left` has every place with a ceiling, those without a free seat among them.
    """

    returned: dict[str, int]
    remaining: dict[str, int]
    places_left: dict[str, int] = field(default_factory=dict)


def plan(entries: Iterable[Entry], pool: Pool, subjects_of: Mapping[str, Sequence[str]]) -> Plan:
    """Return what is offered to which entries; the pool is left as it is.

    `subjects_of` has the subjects of each session.
    """
    left = Pool(dict(pool.returned), dict(pool.remaining), dict(pool.places_left))
    # Most entries want no seat that there is: they are passed over without a look at their quotas.
    seats_of = (pool.returned, pool.remaining)
    venues = _venues_of(quota for seats in seats_of for quota, n in seats.items() if n > 0)
    offers: list[PlannedOffer] = []
    unserved: list[Entry] = []
    for entry in entries:
        offer = _offer(entry, venues, left, subjects_of)
        if offer is None:
            unserved.append(entry)
        else:
            offers.append(offer)
    leftovers = {quota: seats for quota, seats in left.returned.items() if seats > 0}
    return Plan(tuple(offers), leftovers, _waiting(unserved, leftovers, left.places_left))


def _venues_of(names: Iterable[str]) -> set[str]:
    return {name.partition("/")[0] for name in names}


def _waiting(
    entries: Iterable[Entry], leftovers: Iterable[str], places: Iterable[str]
) -> dict[str, int]:
    waiting = dict.fromkeys([*leftovers, *(place.replace("/", "//") for place in places)], 0)
    venues = _venues_of(waiting)
    for entry in entries if waiting else ():
        ids = [*entry.subjects, *(f"/{session}" for session in entry.sessions)]
        for venue in filter(venues.__contains__, entry.venues):
            for each in ids:
                wanted = f"{venue}/{each}"
                if wanted in waiting:
                    waiting[wanted] += 1
    return waiting


def _offer(
    entry: Entry, venues: Collection[str], left: Pool, subjects_of: Mapping[str, Sequence[str]]
) -> PlannedOffer | None:
    """Take the seats of an entry out of what is left; None where no venue has them all.

    The subjects of an entry are in different sessions, so none needs the place of another.
    """
    for venue in filter(venues.__contains__, entry.venues):
        seats = []
        for subject, session in zip(entry.subjects, entry.sessions, strict=True):
            seat = _seat(venue, subject, session, left, subjects_of)
            if seat is None:
                break
            seats.append(seat)
        else:
            for seat, session in zip(seats, entry.sessions, strict=True):
                _take(seat, f"{venue}/{session}", left)
            return PlannedOffer(entry, venue, tuple(seats))
    return None


def _seat(
    venue: str, subject: str, session: str, left: Pool, subjects_of: Mapping[str, Sequence[str]]
) -> PlannedSeat | None:
    """Return a seat of a quota that is left, None where there is none."""
    quota = f"{venue}/{subject}"
    if left.returned.get(quota, 0) > 0:
        return PlannedSeat(quota, is_returned=True)
    if left.remaining.get(quota, 0) < 1:
        return None
    if left.places_left.get(f"{venue}/{session}", 1) > 0:
        return PlannedSeat(quota, is_returned=False)
    others = [f"{venue}/{other}" for other in subjects_of.get(session, ())]
    returned = [other for other in others if left.returned.get(other, 0) > 0]
    if not returned:
        return None
    # Of the one that has most: it is the least likely to be what a later entry lacks.
    opened = max(returned, key=lambda other: (left.returned[other], other))
    return PlannedSeat(quota, is_returned=False, opened=opened)


def _take(seat: PlannedSeat, place: str, left: Pool) -> None:
    if seat.is_returned:
        left.returned[seat.quota] -= 1
        return
    left.remaining[seat.quota] -= 1
    if seat.opened is not None:
        left.returned[seat.opened] -= 1
        left.remaining[seat.opened] = left.remaining.get(seat.opened, 0) + 1
    elif place in left.places_left:
        left.places_left[place] -= 1
