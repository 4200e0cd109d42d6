"""Bookings and rosters of an exam, page by page: nothing is held, neither rows nor a connection."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import ms

if TYPE_CHECKING:
    from asyncpg import Record


@dataclass(frozen=True, slots=True)
class ExportedBooking:
    """A booking with its payment; times in ms since the Unix epoch, money in minor units."""

    reservation: str
    candidate: str
    venue: str
    subjects: tuple[str, ...]
    state: str
    amount: int
    currency: str
    reserved_ms: int
    confirmed_ms: int
    event: str
    provider_reference: str


@dataclass(frozen=True, slots=True)
class RosterLine:
    """A candidate who sits a subject at a venue: one booked item, or one of a hold."""

    venue: str
    session: str
    subject: str
    candidate: str
    reservation: str
    state: str = "confirmed"


async def booking_pages(
    ledger: Ledger, exam: str, page_max: int
) -> AsyncIterator[list[ExportedBooking]]:
    """Yield the bookings of an exam by reservation, each once, as they are when its page is read.

    Raises LedgerUnavailable, also in the middle.
    """
    after = ""
    while rows := await ledger.fetch("select_bookings_page", exam, after, page_max):
        yield [_exported(row) for row in rows]
        after = rows[-1]["reservation"]


async def roster_pages(
    ledger: Ledger, exam: str, venue: str | None, session: str | None, page_max: int
) -> AsyncIterator[list[RosterLine]]:
    """Yield who sits at a venue in a session, or at all of them where None, by candidate.

    Raises LedgerUnavailable, also in the middle.
    """
    after = ("", "")
    while rows := await ledger.fetch("select_roster_page", exam, venue, session, *after, page_max):
        yield [RosterLine(*row) for row in rows]
        after = (rows[-1]["candidate"], rows[-1]["session"])


def _exported(row: "Record") -> ExportedBooking:
    return ExportedBooking(
        row["reservation"],
        row["candidate"],
        row["venue"],
        tuple(row["subjects"]),
        row["state"],
        row["amount"],
        row["currency"],
        ms(row["reserved_at"]),
        ms(row["confirmed_at"]),
        row["event"],
        row["provider_reference"],
    )
