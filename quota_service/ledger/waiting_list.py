"""Waiting lists in Postgres: joining, group-committed, and reading entries.

Every writer of entries of an exam locks its row of `waiting_lists` first, after the epochs of
shards and before anything else. So numbers are committed in order and have no gaps, and a
transaction that holds the row sees every entry. A join holds the epoch of the shard too: what a
recovery reads is all there is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from quota_service.domain.exam import QuietHours, Quota
from quota_service.ledger.fence import ShardEpoch, fenced_transaction
from quota_service.ledger.group_commit import GroupCommit
from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import instant, ms
from quota_service.observability.caller import Caller
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings
from quota_service.slices import in_slices
from quota_service.waiting_list.entry import Entry, EntryState, Place

if TYPE_CHECKING:
    from asyncpg import Record

    from quota_service.ledger.pool import Connection


@dataclass(frozen=True, slots=True)
class ListStatus:
    """A waiting list as ops have set it; `length_max` is None where the definition's holds."""

    exam: str
    last_number: int
    is_paused: bool
    is_suspended: bool
    length_max: int | None
    window: int


@dataclass(frozen=True, slots=True)
class ListCounts:
    """How many entries a list has: by state, and of those that wait by quota they want."""

    by_state: Mapping[EntryState, int]
    waiting_for: Mapping[Quota, int]


class Waiting(NamedTuple):
    """An entry that waits: its place in the order, and what it wants."""

    place: Place
    subjects: list[str]
    venues: list[str]


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry that is to be made, and what it depends on.

    `shard` is the shard that Redis has put it in, `revision` that of the definition. `longest` is
    how many entries wait for the one of its quotas that most wait for, this among them;
    `length_max` is the limit by the definition.
    """

    exam: str
    serial: str
    candidate: str
    subjects: tuple[str, ...]
    sessions: tuple[str, ...]
    venues: tuple[str, ...]
    until_ms: int | None
    quiet_hours: QuietHours | None
    request_hash: str
    shard: ShardEpoch
    revision: int
    longest: int
    length_max: int
    by: Caller


class JoinEnd(Enum):
    """How a join ended in Postgres."""

    JOINED = auto()
    REPEATED = auto()
    """The entry was made before; it may be of another request."""
    LISTED = auto()
    """The candidate has a live entry, which is another."""
    SUSPENDED = auto()
    FULL = auto()
    OFF = auto()
    """The exam has no list."""
    FENCED = auto()
    """The shard is being recovered."""
    STALE = auto()
    """Another definition is stored by now."""


@dataclass(frozen=True, slots=True)
class Joining:
    """How a join ended; the entry with JOINED and REPEATED, the other one with LISTED."""

    end: JoinEnd
    entry: Entry | None = None


class WaitingListLedger:
    """Reads waiting lists and lets candidates join. All methods raise LedgerUnavailable.

    Methods with a connection belong to the caller's transaction.
    """

    def __init__(self, ledger: Ledger, settings: Settings, metrics: Metrics) -> None:
        self._ledger = ledger
        self._query = ledger.query
        self._group: GroupCommit[NewEntry, Joining] = GroupCommit(
            settings,
            metrics,
            names_of=lambda new: [(new.exam, new.candidate)],
            commit=self._commit,
            look_up=self._look_up,
        )

    async def ensure(self, connection: "Connection", exam: str) -> None:
        """Make the list of an exam unless it has one."""
        await connection.execute(self._query["ensure_waiting_list"], exam)

    async def end_waiting(self, connection: "Connection", exam: str) -> None:
        """End the entries that wait: the exam has no list any more."""
        await connection.execute(self._query["end_list"], exam)

    async def status(self, exam: str) -> ListStatus | None:
        """Return the list of an exam; None where it never had one."""
        rows = await self._ledger.fetch("select_waiting_list", exam)
        return _status(rows[0]) if rows else None

    async def join(self, new: NewEntry) -> Joining:
        """Commit an entry with those of others; raises Overloaded too."""
        return await self._group.submit(new)

    async def find(self, exam: str, serial: str) -> Entry | None:
        """Return an entry."""
        rows = await self._ledger.fetch("select_entry", exam, serial)
        return as_entry(rows[0]) if rows else None

    async def of_candidate(self, exam: str, candidate: str) -> list[Entry]:
        """Return the entries of a candidate, newest first, at most 200."""
        rows = await self._ledger.fetch("select_entries_of_candidate", exam, candidate)
        return [as_entry(row) for row in rows]

    async def page(
        self,
        exam: str,
        after: int,
        limit: int,
        *,
        states: Sequence[EntryState] | None = None,
        candidate: str | None = None,
    ) -> list[Entry]:
        """Return at most `limit` entries beyond a number, by number; None for all of them."""
        rows = await self._ledger.fetch(
            "select_entries_page", exam, states, candidate, after, limit
        )
        return [as_entry(row) for row in rows]

    async def queue(self, exam: str) -> list[Waiting]:
        """Return what those who wait want, in their order."""
        rows = await self._ledger.fetch("select_queue", exam)
        return [
            Waiting(
                (row["draw_window"], row["rank"] or "", row["number"]),
                row["subjects"],
                row["venues"],
            )
            async for row in in_slices(rows)
        ]

    async def offered_by_quota(self, exam: str) -> dict[str, int]:
        """Return how many entries that wanted a quota were offered seats within a day.

        A quota, as `venue/subject`, is missing where none that wanted it ever was.
        """
        rows = await self._ledger.fetch("count_offered_by_quota", exam)
        return {f"{row['venue']}/{row['subject']}": row["within_a_day"] for row in rows}

    async def counts(self, exam: str) -> ListCounts:
        """Return how many entries a list has."""
        by_state = await self._ledger.fetch("count_entries_by_state", exam)
        by_quota = await self._ledger.fetch("count_entries_by_quota", exam)
        return ListCounts(
            {EntryState(row["state"]): row["count"] for row in by_state},
            {Quota(row["venue"], row["subject"]): row["count"] for row in by_quota},
        )

    async def end(self, entry: Entry, state: EntryState) -> Entry | None:
        """End an entry that is as it is known; None where it has changed since."""
        rows = await self._ledger.commit(
            "end_entry", entry.exam, entry.serial, entry.state, entry.reservation, state
        )
        return as_entry(rows[0]) if rows else None

    async def set(
        self,
        connection: "Connection",
        exam: str,
        *,
        is_paused: bool | None = None,
        is_suspended: bool | None = None,
    ) -> None:
        """Set what is given, where the exam has or had a list."""
        query = self._query["set_waiting_list"]
        await connection.execute(query, exam, is_paused, is_suspended)

    async def set_length(self, connection: "Connection", exam: str, length_max: int | None) -> None:
        """Set how many entries may wait for a quota; None: as many as the definition says."""
        await connection.execute(self._query["set_waiting_list_length"], exam, length_max)

    async def _commit(self, group: Sequence[NewEntry]) -> list[Joining]:
        wanted = [new.shard for new in group]
        async with fenced_transaction(self._ledger, wanted) as transaction:
            connection, opened = transaction.connection, transaction.opened
            exams = sorted({new.exam for new in group})
            rows = await connection.fetch(self._query["lock_waiting_lists"], exams)
            lists = {row["exam"]: row for row in rows}
            met = await self._met(connection, group)
            stored = await connection.fetch(self._query["select_revisions"], exams)
            revisions = {row["id"]: row["revision"] for row in stored}
            ends = []
            for new in group:
                of_list = lists.get(new.exam)
                is_stale = new.revision != revisions.get(new.exam)
                fault = _fault(is_fenced=new.shard not in opened, is_stale=is_stale)
                ends.append(_decide(new, fault, of_list, met))
            numbers = {exam: row["last_number"] for exam, row in lists.items()}
            numbered: list[tuple[NewEntry, int, int]] = []
            for new, end in zip(group, ends, strict=True):
                if end.end is JoinEnd.JOINED:
                    numbers[new.exam] += 1
                    numbered.append((new, numbers[new.exam], lists[new.exam]["draw_window"]))
            made = await self._insert(connection, numbered)
            joined = {new.exam: numbers[new.exam] for new, _, _ in numbered}
            await connection.execute(
                self._query["set_last_numbers"], list(joined), list(joined.values())
            )
        if any(end.end is JoinEnd.REPEATED for end in ends):
            await self._ledger.sync()
        return [
            Joining(JoinEnd.JOINED, made[new.exam, new.serial])
            if end.end is JoinEnd.JOINED
            else end
            for new, end in zip(group, ends, strict=True)
        ]

    async def _met(self, connection: "Connection", group: Sequence[NewEntry]) -> "_Met":
        rows = await connection.fetch(
            self._query["select_entries_of_joins"],
            [new.exam for new in group],
            [new.serial for new in group],
            [new.candidate for new in group],
        )
        return _Met(as_entry(row) for row in rows)

    async def _insert(
        self, connection: "Connection", numbered: Sequence[tuple[NewEntry, int, int]]
    ) -> Mapping[tuple[str, str], Entry]:
        columns = [_row(new, number, window) for new, number, window in numbered]
        if not columns:
            return {}
        rows = await connection.fetch(
            self._query["insert_entries"], *map(list, zip(*columns, strict=True))
        )
        return {(row["exam"], row["serial"]): as_entry(row) for row in rows}

    async def _look_up(self, group: Sequence[NewEntry]) -> list[Joining | None]:
        """Return the entries of a commit of unknown end: those that are there were made by it."""
        async with self._ledger.connection() as connection:
            met = await self._met(connection, group)
        await self._ledger.sync()
        return [
            None if made is None else Joining(JoinEnd.JOINED, made) for made in map(met.made, group)
        ]


class _Met:
    """The entries that joins meet."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._made: dict[tuple[str, str], Entry] = {}
        self._live: dict[tuple[str, str], Entry] = {}
        for entry in entries:
            self._made[entry.exam, entry.serial] = entry
            if entry.state.is_live:
                self._live[entry.exam, entry.candidate] = entry

    def made(self, new: NewEntry) -> Entry | None:
        """Return the entry that a join has made before."""
        return self._made.get((new.exam, new.serial))

    def live(self, new: NewEntry) -> Entry | None:
        """Return the live entry of its candidate."""
        return self._live.get((new.exam, new.candidate))


def _fault(*, is_fenced: bool, is_stale: bool) -> JoinEnd | None:
    if is_fenced:
        return JoinEnd.FENCED
    return JoinEnd.STALE if is_stale else None


def _decide(new: NewEntry, fault: JoinEnd | None, of_list: "Record | None", met: _Met) -> Joining:
    """Return how a join ends, by what is committed."""
    made, live = met.made(new), met.live(new)
    if made is not None:
        return Joining(JoinEnd.REPEATED, made)
    if fault is not None:
        return Joining(fault)
    if of_list is None:
        return Joining(JoinEnd.OFF)
    if live is not None:
        return Joining(JoinEnd.LISTED, live)
    length_max = of_list["length_max"] or new.length_max
    end = JoinEnd.FULL if new.longest > length_max else JoinEnd.JOINED
    return Joining(JoinEnd.SUSPENDED if of_list["is_suspended"] else end)


def _row(new: NewEntry, number: int, window: int) -> tuple[object, ...]:
    quiet = new.quiet_hours
    return (
        new.exam,
        new.serial,
        new.candidate,
        number,
        ",".join(new.subjects),
        ",".join(new.sessions),
        ",".join(new.venues),
        None if new.until_ms is None else instant(new.until_ms),
        None if quiet is None else quiet.starts,
        None if quiet is None else quiet.ends,
        window,
        new.request_hash,
        new.by.key_id,
        new.by.request_id,
    )


def as_entry(row: "Record") -> Entry:
    """Return the entry in a row of `waiting_list_entries`."""
    return Entry(
        exam=row["exam"],
        serial=row["serial"],
        candidate=row["candidate"],
        number=row["number"],
        subjects=tuple(row["subjects"]),
        sessions=tuple(row["sessions"]),
        venues=tuple(row["venues"]),
        until_ms=None if row["until"] is None else ms(row["until"]),
        quiet_hours=None
        if row["quiet_from"] is None
        else QuietHours(row["quiet_from"], row["quiet_to"]),
        window=row["draw_window"],
        rank=row["rank"],
        state=EntryState(row["state"]),
        offers=row["offers"],
        reservation=row["reservation"],
        deadline_ms=0 if row["offer_deadline"] is None else ms(row["offer_deadline"]),
        joined_ms=ms(row["joined_at"]),
        ended_ms=None if row["ended_at"] is None else ms(row["ended_at"]),
        request_hash=row["request_hash"],
    )


def _status(row: "Record") -> ListStatus:
    return ListStatus(
        row["exam"],
        row["last_number"],
        row["is_paused"],
        row["is_suspended"],
        row["length_max"],
        row["draw_window"],
    )
