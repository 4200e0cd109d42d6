"""Stores drained journal entries exactly once: the entries and the position share a transaction."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import asyncpg
import orjson

from quota_service.domain.errors import NotReady, QuotaError
from quota_service.domain.reservation import Reservation
from quota_service.ledger.errors import LedgerRefused
from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import instant

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection


@dataclass(frozen=True, slots=True)
class RawEntry:
    """A journal entry as Redis gives it: its stream id and fields, nothing checked."""

    id: str
    fields: dict[str, str]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a shard's journal was drained up to: the epoch, and the version within it."""

    epoch: int
    version: int

    def __str__(self) -> str:
        """Return the stream id of the entry at this position."""
        return f"{self.epoch}-{self.version}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A checked journal entry; `reservation` and its record when it has one.

    `key_id` and `request_id` say who asked for the step. `order` has the venues that were ordered,
    joined by commas, in an entry that made a reservation with several of them. `returned` has the
    seats that wait for the next allocation after the step, by `venue/subject`, if it changed any.
    """

    position: Position
    verb: str
    subject: str
    at_ms: int
    body: str
    reservation: Reservation | None
    key_id: str = ""
    request_id: str = ""
    order: str | None = None
    returned: Mapping[str, int] = field(default_factory=dict)


class JournalBranched(QuotaError):
    """The journal in Redis is of another history than what was drained."""


class EntryRefused(QuotaError):
    """Postgres will never take this entry as it is."""


_REFUSALS = (
    LedgerRefused,
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    ValueError,
    OverflowError,  # like ValueError: a time that no calendar has
)
"""What says that an entry, not the server, is at fault."""


class JournalDrain:
    """One worker's turn at one shard, inside one transaction."""

    def __init__(
        self, connection: "Connection", ledger: Ledger, exam: str, position: Position
    ) -> None:
        self._connection = connection
        self._query = ledger.query
        self._exam = exam
        self.position = position

    async def store(self, entries: Sequence[Entry]) -> None:
        """Store entries and the position after them; EntryRefused when one is not storable.

        What it wrote before a refusal is undone, so that the caller can go on without it.
        """
        try:
            async with self._connection.transaction():
                await self._insert(entries)
                await self._upsert([entry for entry in entries if entry.reservation])
                await self.keep_returned(
                    {quota: n for entry in entries for quota, n in entry.returned.items()}
                )
                await self._forget_tries(entries)
                await self.skip_to(entries[-1].position)
        except _REFUSALS as error:
            raise EntryRefused(str(error)) from error

    async def skip_to(self, position: Position) -> None:
        """Remember the position, without storing anything."""
        await self._connection.execute(
            self._query["advance_journal_position"],
            self._exam,
            position.epoch,
            position.version,
        )
        self.position = position

    async def count_try(self, entry: RawEntry, error: str) -> int:
        """Count a failed try at an entry; return how often it has failed."""
        fields = orjson.dumps(entry.fields).decode().replace("\\u0000", "\\ufffd")
        tries: int = await self._connection.fetchval(
            self._query["count_journal_try"], self._exam, entry.id, fields, error
        )
        return tries

    async def quarantine(self, entry: RawEntry) -> None:
        """Set an entry aside for a person."""
        await self._connection.execute(
            self._query["quarantine_journal_entry"], self._exam, entry.id
        )

    async def fill_gap(
        self,
        through: Position,
        records: Sequence[tuple[Reservation, str]],
        later: Sequence[tuple[str, str]],
    ) -> None:
        """Keep records as of the end of a gap, where the ledger has older ones; tell what changed.

        `later` are verbs and reservations of entries behind it, which tell of their steps.
        """
        await self._connection.execute(
            self._query["insert_events_of_records"],
            self._exam,
            through.epoch,
            self.position.version + 1,
            through.version,
            [reservation.id for reservation, _ in records],
            [text for _, text in records],
            [instant(reservation.created_ms) for reservation, _ in records],
            [verb for verb, _ in later],
            [reservation for _, reservation in later],
        )
        await self._keep([(reservation, text, through) for reservation, text in records])
        # A page may hold nothing of this exam, and Postgres ends a transaction that says nothing.
        await self.skip_to(self.position)

    async def close_gap(self, through: Position, records: int) -> None:
        """Go on behind a gap, and remember that it was there and how many records were written."""
        await self._connection.execute(
            self._query["insert_journal_gap"],
            self._exam,
            self.position.version + 1,
            through.version,
            through.epoch,
            records,
        )
        await self.skip_to(through)

    async def keep_returned(self, seats: Mapping[str, int]) -> None:
        """Keep how many seats wait for the next allocation, by `venue/subject`."""
        if not seats:
            return
        names = [quota.split("/") for quota in seats]
        await self._connection.execute(
            self._query["keep_returned_seats"],
            self._exam,
            [venue for venue, _ in names],
            [subject for _, subject in names],
            list(seats.values()),
        )

    async def _insert(self, entries: Sequence[Entry]) -> None:
        await self._connection.execute(
            self._query["insert_journal"],
            self._exam,
            [entry.position.epoch for entry in entries],
            [entry.position.version for entry in entries],
            [entry.verb for entry in entries],
            [entry.subject for entry in entries],
            [instant(entry.at_ms) for entry in entries],
            [entry.body for entry in entries],
            [entry.key_id for entry in entries],
            [entry.request_id for entry in entries],
        )

    async def _upsert(self, entries: Sequence[Entry]) -> None:
        """Keep the newest of the entries of each reservation."""
        newest = {
            entry.reservation.id: (entry.reservation, entry.body, entry.position)
            for entry in entries
            if entry.reservation
        }
        orders = {e.reservation.id: e.order for e in entries if e.reservation and e.order}
        await self._keep(list(newest.values()), orders)

    async def _keep(
        self,
        records: Sequence[tuple[Reservation, str, Position]],
        orders: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        if not records:
            return
        await self._connection.execute(
            self._query["upsert_reservations"],
            self._exam,
            [reservation.id for reservation, _, _ in records],
            [reservation.candidate for reservation, _, _ in records],
            [reservation.state.value for reservation, _, _ in records],
            [text for _, text, _ in records],
            [position.epoch for _, _, position in records],
            [position.version for _, _, position in records],
            [instant(reservation.created_ms) for reservation, _, _ in records],
            [orders.get(reservation.id) for reservation, _, _ in records],
        )

    async def _forget_tries(self, entries: Sequence[Entry]) -> None:
        """Forget that entries failed before: they are stored now."""
        await self._connection.execute(
            self._query["forget_journal_tries"],
            self._exam,
            [str(entry.position) for entry in entries],
        )


@asynccontextmanager
async def draining(ledger: Ledger, exam: str, epoch: int) -> AsyncIterator[JournalDrain | None]:
    """Lend one shard's journal to one worker; None when another worker has it now.

    It holds the epoch: nothing is drained from a server whose time is over. Raises NotReady then.
    """
    async with ledger.transaction() as connection:
        if await connection.fetchrow(ledger.query["lock_epoch"], exam, epoch) is None:
            raise NotReady(f"epoch {epoch} of exam {exam} is over")
        row = await connection.fetchrow(ledger.query["lock_journal_position"], exam)
        if row is None:
            yield None
        else:
            position = Position(row["drained_epoch"], row["drained_version"])
            yield JournalDrain(connection, ledger, exam, position)
