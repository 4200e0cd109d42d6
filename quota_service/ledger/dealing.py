"""The dealing of returned seats in Postgres: its leader, the draw, and what becomes of entries.

A leader holds a lease by Postgres's clock and an epoch that is new with each leader, as in
admission. What it writes to entries is written WHERE the epoch is current and the lease lasts, so
one that was stopped, and goes on when another has taken over, changes nothing. Each of these
statements locks the row of the list first, as every writer of entries does.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import instant, ms
from quota_service.ledger.waiting_list import as_entry
from quota_service.slices import in_slices
from quota_service.waiting_list.entry import Entry, EntryState

if TYPE_CHECKING:
    from asyncpg import Record

_PAGE_MAX = 2000


@dataclass(frozen=True, slots=True)
class DealingLease:
    """The dealing of an exam that is ours to lead.

    `is_due` where the seats of a seat release are to be dealt, or where a dealing was not finished;
    `dealt_through_ms` is the last instant whose seats were dealt, at first the time the list was
    made.
    """

    exam: str
    epoch: int
    is_paused: bool
    is_due: bool
    dealt_through_ms: int
    lasts_s: float
    """How long it lasts when it is renewed."""


@dataclass(frozen=True, slots=True)
class Offered:
    """An offer that Redis has made: the serial of its entry, the id of its hold, its deadline."""

    entry: str
    reservation: str
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class EndedEntry:
    """An entry that has ended now."""

    serial: str
    number: int
    state: EntryState


@dataclass(frozen=True, slots=True)
class DrawWindow:
    """A window of the draw, and its seed, which is shown once it was drawn."""

    number: int
    seed: bytes
    is_drawn: bool


class DealingLedger:
    """Leases, offers and ends of the entries of waiting lists; raises LedgerUnavailable."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def lease(
        self, exam: str, leader: str, lease_s: float, beyond_epoch: int = 0
    ) -> DealingLease | None:
        """Take or renew the lease on the dealing of an exam; None while another process has it.

        Its epoch is higher than `beyond_epoch`.
        """
        lease = dt.timedelta(seconds=lease_s)
        rows = await self._ledger.fetch("lease_waiting_list", exam, leader, lease, beyond_epoch)
        if not rows:
            return None
        row = rows[0]
        return DealingLease(
            exam,
            row["leader_epoch"],
            row["is_paused"],
            row["is_due"] or row["is_dealing"],
            ms(row["dealt_through"]),
            lease_s,
        )

    async def keep(self, lease: DealingLease) -> bool:
        """Renew the lease; False where it is lost."""
        lasts = dt.timedelta(seconds=lease.lasts_s)
        return bool(
            await self._ledger.fetch("keep_waiting_list_lease", lease.exam, lease.epoch, lasts)
        )

    async def begin(self, lease: DealingLease) -> bool:
        """Note that the seats of an instant are being dealt; False where the lease is lost."""
        return bool(await self._ledger.fetch("begin_dealing", lease.exam, lease.epoch))

    async def end(self, lease: DealingLease, through_ms: int) -> bool:
        """Note that they were, up to an instant; False where the lease is lost."""
        at = instant(through_ms)
        return bool(await self._ledger.fetch("end_dealing", lease.exam, lease.epoch, at))

    async def close_window(self, lease: DealingLease) -> None:
        """Draw no more entries in the window that has some, and begin the next one."""
        await self._ledger.fetch("close_draw_window", lease.exam, lease.epoch)

    async def undrawn(self, exam: str) -> list[tuple[str, str, bytes]]:
        """Return a page of entries to be drawn: serial, candidate and the seed of the window."""
        rows = await self._ledger.fetch("select_undrawn_entries", exam, _PAGE_MAX)
        return [(row["serial"], row["candidate"], row["draw_seed"]) for row in rows]

    async def rank(self, exam: str, ranks: Mapping[str, str]) -> None:
        """Give entries the ranks they were drawn, by serial."""
        await self._ledger.fetch("rank_entries", exam, list(ranks), list(ranks.values()))

    async def window(self, exam: str, number: int) -> DrawWindow | None:
        """Return a window of an exam's draw; None where there is none of this number."""
        rows = await self._ledger.fetch("select_draw_window", exam, number)
        return DrawWindow(number, rows[0]["draw_seed"], rows[0]["is_drawn"]) if rows else None

    async def waiting(
        self,
        exam: str,
        *,
        drawn: bool,
        wanting: tuple[Iterable[str], Iterable[str]] | None = None,
        limit: int | None = None,
    ) -> list[Entry]:
        """Return the first entries that wait, in order; `drawn` where that is the draw's.

        `wanting` has ids of subjects and of venues: then only those that want one of the subjects
        at one of the venues.
        """
        filters = (None, None) if wanting is None else map(list, wanting)
        rows = await self._ledger.fetch("select_entries_to_deal", exam, drawn, *filters, limit)
        return [as_entry(row) async for row in in_slices(rows)]

    async def some(self, exam: str, serials: Sequence[str]) -> dict[str, Entry]:
        """Return entries by their serials."""
        rows = await self._ledger.fetch("select_some_entries", exam, list(serials))
        return {row["serial"]: as_entry(row) for row in rows}

    async def waiting_of(self, exam: str, serials: Sequence[str]) -> dict[str, Entry]:
        """Return those of some entries that wait, by their serials."""
        found = await self.some(exam, serials)
        return {
            serial: entry for serial, entry in found.items() if entry.state is EntryState.WAITING
        }

    async def record(self, lease: DealingLease, offers: Sequence[Offered]) -> set[str]:
        """Record offers to entries that wait; return the serials of those that have them now.

        It renews the lease.
        """
        rows = await self._ledger.commit(
            "record_offers",
            lease.exam,
            lease.epoch,
            [offer.entry for offer in offers],
            [offer.reservation for offer in offers],
            [instant(offer.deadline_ms) for offer in offers],
            dt.timedelta(seconds=lease.lasts_s),
        )
        return {row["serial"] for row in rows}

    async def end_offers(self, lease: DealingLease) -> list[EndedEntry]:
        """End the entries whose offer was paid for, ran out or was given back."""
        rows = await self._ledger.fetch("end_offers", lease.exam, lease.epoch)
        return [_ended(row) for row in rows]

    async def end_waiting(
        self,
        lease: DealingLease,
        *,
        closed: bool = False,
        begun: Sequence[str] = (),
        conflicts: Sequence[str] = (),
        impossible: Sequence[str] = (),
    ) -> list[EndedEntry]:
        """End a page of entries that wait: over, or in conflict those of these serials.

        Over are those whose time has ended, whose sitting has begun, of the subjects that are
        named, and those that the exam cannot serve any more; all, where registration is closed.
        """
        rows = await self._ledger.commit(
            "end_waiting_entries",
            lease.exam,
            lease.epoch,
            closed,
            list(begun),
            list(conflicts),
            list(impossible),
            _PAGE_MAX,
        )
        return [_ended(row) for row in rows]

    async def untold(self, exam: str, age_s: float) -> list[Entry]:
        """Return entries with an offer older than `age_s` that the journal does not tell of."""
        age = dt.timedelta(seconds=age_s)
        rows = await self._ledger.fetch("select_untold_offers", exam, age)
        return [as_entry(row) for row in rows]

    async def take_back(self, lease: DealingLease, serials: Sequence[str]) -> list[Entry]:
        """Let entries wait again whose offers are in no store; return them."""
        rows = await self._ledger.commit("take_offers_back", lease.exam, lease.epoch, list(serials))
        return [as_entry(row) for row in rows]

    async def known_holds(self, reservations: Sequence[str]) -> dict[str, str]:
        """Return the records of those reservations that the journal tells of, by id."""
        rows = await self._ledger.fetch("select_known_holds", list(reservations))
        return {row["id"]: row["record"] for row in rows}


def _ended(row: "Record") -> EndedEntry:
    return EndedEntry(row["serial"], row["number"], EntryState(row["state"]))
