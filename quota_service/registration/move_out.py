"""Move out: moves what stands at a closed venue to others, batch by batch, whatever the window.

    1. note in Postgres who moves what, where to, and why (`noted`)
    2. read the holds in Redis and the bookings in Postgres with a subject that is closed at the
       venue; a page of them, by id. What has left it meanwhile is not moved
    3. each changes its venue (`change_venue`) to the first venue that has all its subjects: of
       those that its candidate ordered, in that order, then of the given ones; registration may be
       closed, and no limit on changes holds

What a crash leaves behind: what has moved, and what has not. A booking whose change was under way
is brought to an end by recovery, or by the same call again, which finds it in Redis. What has moved
does not stand there any more, so the same call again, from the start or after the last page that
was answered, does the rest.

A hold moves in one step and keeps its deadline. A payment or change that is under way is decided
first, as recovery does it: a payment that is committed has made a booking, which is moved; one that
is not finds the hold at its new venue when it begins again. A payment that took the seats of an
expired hold again is left alone, as it could not do so a second time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from quota_service.domain.errors import (
    ChangeInProgress,
    PaymentInProgress,
    QuotaError,
    ReservationEnded,
    SoldOut,
    Unavailable,
    UnknownVenue,
    VenueClosed,
)
from quota_service.domain.exam import Exam
from quota_service.domain.reservation import State
from quota_service.registration.change_venue import change_venue, finish_changes
from quota_service.registration.confirm import decide_attempts
from quota_service.registration.live_holds import live_holds
from quota_service.registration.noted import noted
from quota_service.registration.stores import MaintenanceStores, PaymentStores

_BATCH = 20
"""Reservations that move at once."""


class Rule(StrEnum):
    """What chose the venue that a reservation went to."""

    CANDIDATE = "candidate"
    """Its candidate ordered it."""
    LIST = "list"
    """It is one of the given venues."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A booking or a hold and where it went, by which rule.

    `venue` is empty, `rule` is None and `why` a slug where it did not fit.
    """

    reservation: str
    candidate: str
    state: State
    venue: str
    rule: Rule | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class MovedOut:
    """What one call did, by reservation; `after` is where the next goes on, None at the end."""

    reservations: tuple[Moved, ...]
    after: str | None


async def move_out(  # noqa: PLR0917  what is moved, where to, why, and which page of it
    stores: MaintenanceStores,
    exam_id: str,
    venue: str,
    venues: Sequence[str],
    reason: str,
    after: str,
    limit: int,
) -> MovedOut:
    """Move a page of what stands at a closed venue to the first venue that has room.

    Those that its candidate ordered come first, in order of choice, then `venues`. When a store
    fails the page ends before the batch that met it.
    """
    exam = stores.registry.find(exam_id)
    for field, name in (("venue", venue), *((f"venues[{i}]", v) for i, v in enumerate(venues))):
        if name not in exam.venue_ids:
            raise UnknownVenue(name, field)
    detail = {"venues": list(venues), "after": after, "limit": limit}
    async with noted(stores, exam_id, "move-out", venue, reason, detail):
        return await _move_page(stores, exam, venue, venues, after, limit)


async def _move_page(  # noqa: PLR0917  the page, and where its reservations go
    stores: MaintenanceStores,
    exam: Exam,
    venue: str,
    venues: Sequence[str],
    after: str,
    limit: int,
) -> MovedOut:
    closed = [subject for subject in exam.session_of if exam.is_closed(venue, (subject,))]
    # Holds first: one that is paid between the two readings is among the bookings.
    held = await live_holds(stores, exam, venue, frozenset(closed))
    booked = await stores.reader.bookings_at(exam.id, venue, closed, after, limit)
    standing = {
        each.id: _Standing(
            each.id, each.candidate, State.CONFIRMED if each.state.is_booked else State.HELD
        )
        for each in held
    }
    standing |= {id_: _Standing(id_, candidate, State.CONFIRMED) for id_, candidate in booked}
    page = [standing[id_] for id_ in sorted(standing) if id_ > after][:limit]
    ordered = await stores.reader.ordered_venues([each.reservation for each in page])
    moved: list[Moved] = []
    for start in range(0, len(page), _BATCH):
        batch = page[start : start + _BATCH]
        moves = (
            _move(
                stores.payments,
                each,
                venue,
                _choices(exam, venue, ordered.get(each.reservation, ()), venues),
            )
            for each in batch
        )
        ends = await asyncio.gather(*moves, return_exceptions=True)
        failed = [end for end in ends if isinstance(end, BaseException)]
        if any(not isinstance(end, Unavailable) for end in failed) or (failed and not moved):
            raise failed[0]
        moved += [end for end in ends if isinstance(end, Moved)]
        if failed:
            return MovedOut(tuple(moved), after)
        after = batch[-1].reservation
        stores.failpoint("move: after batch")
    return MovedOut(tuple(moved), after if len(page) == limit else None)


@dataclass(frozen=True, slots=True)
class _Standing:
    """What is to be moved, as it was found."""

    reservation: str
    candidate: str
    state: State


def _choices(
    exam: Exam, venue: str, ordered: Sequence[str], listed: Sequence[str]
) -> dict[str, Rule]:
    """Return the venues to try, in order; an import may have removed one that was ordered."""
    choices = dict.fromkeys((v for v in ordered if v in exam.venue_ids), Rule.CANDIDATE)
    for other in listed:
        choices.setdefault(other, Rule.LIST)
    choices.pop(venue, None)
    return choices


async def _move(
    stores: PaymentStores, found: _Standing, leaving: str, choices: Mapping[str, Rule]
) -> Moved | None:
    """Move what was found; None when it has ended meanwhile, or left for a venue of its own.

    Raises Unavailable when a store failed.
    """
    try:
        try:
            return await _try_all(stores, found, leaving, choices)
        except (PaymentInProgress, ChangeInProgress):
            await _end_attempt(stores, found.reservation)
            return await _try_all(stores, found, leaving, choices)
    except ReservationEnded:
        return None
    except Unavailable:
        raise
    except QuotaError as refusal:
        return _stayed(found, refusal.slug)


async def _try_all(
    stores: PaymentStores, found: _Standing, leaving: str, choices: Mapping[str, Rule]
) -> Moved | None:
    """Move to the first venue that has room; every other refusal is raised."""
    id_ = found.reservation
    for venue in choices:
        try:
            moved = await change_venue(stores, id_, venue, by_ops=True, leaving=leaving)
        except (SoldOut, VenueClosed):
            continue
        # It can be where a call before this one has moved it.
        if (rule := choices.get(moved.venue)) is None:
            return None
        return Moved(id_, found.candidate, moved.state, moved.venue, rule)
    return _stayed(found, SoldOut.slug)


def _stayed(found: _Standing, why: str) -> Moved:
    return Moved(found.reservation, found.candidate, found.state, "", None, why)


async def _end_attempt(stores: PaymentStores, reservation: str) -> None:
    """Decide the payment or change of venue that is under way, unless it would be lost by it."""
    shard, serial = stores.registry.locate(reservation)
    found = await stores.seats.read(shard, serial)
    if found is not None and found.state is State.CONFIRMING and found.due_ms:
        await decide_attempts(stores, shard, [found], stores.retry_grace_ms)
    elif found is not None and found.state is State.CHANGING_VENUE:
        await finish_changes(stores, shard, [found])
