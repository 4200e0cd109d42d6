"""Move out: moves what is booked at a closed venue to others, batch by batch, whatever the window.

    1. note in Postgres who moves what, where to, and why
    2. read the bookings of a page in Postgres: those with a subject that is closed at the venue
    3. each changes its venue (`change_venue`) to the first venue that has all its subjects: of
       those that its candidate ordered, in that order, then of the given ones; registration may be
       closed, and no limit on changes holds

What a crash leaves behind: bookings that have moved, and bookings that have not. One whose change
was under way is brought to an end by recovery. What has moved does not stand there any more, so the
same call again, from the start or after the last page that was answered, does the rest.

Holds are not moved: they expire, or are paid and moved by a later call.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from quota_service.domain.errors import QuotaError, SoldOut, Unavailable, UnknownVenue, VenueClosed
from quota_service.domain.exam import Exam
from quota_service.observability.caller import caller
from quota_service.registration.change_venue import change_venue
from quota_service.registration.stores import PaymentStores

_BATCH = 20
"""Bookings that move at once."""


class Rule(StrEnum):
    """What chose the venue that a booking went to."""

    CANDIDATE = "candidate"
    """Its candidate ordered it."""
    LIST = "list"
    """It is one of the given venues."""


@dataclass(frozen=True, slots=True)
class MovedBooking:
    """A booking and where it went, by which rule.

    `venue` is empty, `rule` is None and `why` a slug where it did not fit.
    """

    reservation: str
    candidate: str
    venue: str
    rule: Rule | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class MovedOut:
    """What one call did, by reservation; `after` is where the next goes on, None at the end."""

    bookings: tuple[MovedBooking, ...]
    after: str | None


async def move_out(  # noqa: PLR0917  what is moved, where to, why, and which page of it
    stores: PaymentStores,
    exam_id: str,
    venue: str,
    venues: Sequence[str],
    reason: str,
    after: str,
    limit: int,
) -> MovedOut:
    """Move a page of what is booked at a closed venue to the first venue that has room.

    Those that its candidate ordered come first, in order of choice, then `venues`. When a store
    fails the page ends before the batch that met it.
    """
    exam = stores.registry.find(exam_id)
    for field, name in (("venue", venue), *((f"venues[{i}]", v) for i, v in enumerate(venues))):
        if name not in exam.venue_ids:
            raise UnknownVenue(name, field)
    async with stores.ledger.transaction() as connection:
        detail = {"venues": list(venues), "after": after, "limit": limit}
        await stores.exams.note_action(
            connection, exam_id, caller(), "move-out", venue, reason, detail
        )
    closed = [subject for subject in exam.session_of if exam.is_closed(venue, (subject,))]
    found = await stores.reader.bookings_at(exam_id, venue, closed, after, limit)
    bookings: list[MovedBooking] = []
    for start in range(0, len(found), _BATCH):
        batch = found[start : start + _BATCH]
        moves = (
            _move(stores, reservation, candidate, _choices(exam, venue, ordered, venues))
            for reservation, candidate, ordered in batch
        )
        ends = await asyncio.gather(*moves, return_exceptions=True)
        failed = [end for end in ends if isinstance(end, BaseException)]
        if any(not isinstance(end, Unavailable) for end in failed) or (failed and not bookings):
            raise failed[0]
        bookings += [end for end in ends if isinstance(end, MovedBooking)]
        if failed:
            return MovedOut(tuple(bookings), after)
        after = batch[-1][0]
        stores.failpoint("move: after batch")
    return MovedOut(tuple(bookings), after if len(found) == limit else None)


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
    stores: PaymentStores, reservation: str, candidate: str, choices: Mapping[str, Rule]
) -> MovedBooking:
    """Move one booking; Unavailable when a store failed."""
    why = SoldOut.slug
    for venue, rule in choices.items():
        try:
            moved = await change_venue(stores, reservation, venue, by_ops=True)
        except (SoldOut, VenueClosed):
            continue
        except Unavailable:
            raise
        except QuotaError as refusal:
            why = refusal.slug
            break
        return MovedBooking(reservation, candidate, moved.venue, rule)
    return MovedBooking(reservation, candidate, "", None, why)
