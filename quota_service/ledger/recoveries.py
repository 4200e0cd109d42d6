"""What Postgres knows of a shard that is recovered in Redis: all of it, or what came after a step.

A step is an epoch of the shard and its version. Versions never start anew: an epoch goes on from
the one before, and `branch` is the step it started from.
"""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.domain.errors import UnknownExam
from quota_service.ledger.pool import Ledger

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection

Step = tuple[int, int]
"""An epoch of a shard, and its version after a step."""

Records = list[tuple[str, str]]
"""Pairs of a reservation's id and its record."""

_EARLIEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ENDED_WITHIN = dt.timedelta(days=2)
"""A record ends within a day of its hold's beginning, or little more, and is kept for a day."""
_PATIENCE_MS = "1000"
_SIGN_OF_LIFE_S = 2.0
"""Well below the time after which Postgres ends a transaction that says nothing."""


@dataclass(frozen=True, slots=True)
class Fenced:
    """A shard that was closed: its new epoch, and what a recovery has to know of it.

    `is_retired` when it has left Redis but for its counters; bookings of epochs before
    `steps_since` do not tell the step they were made under.
    """

    epoch: int
    is_retired: bool
    steps_since: int


class RecoveryLedger:
    """Fences shards in Postgres, reads what is to be in Redis, and opens them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @asynccontextmanager
    async def alone(self, exam: str) -> AsyncIterator[bool]:
        """Keep imports and other recoveries of an exam out; False when one is running."""
        async with self._ledger.transaction() as connection:
            locked = await connection.fetchval(self._ledger.query["try_lock_exam"], exam)
            keeping = asyncio.get_running_loop().create_task(_keep(connection))
            try:
                yield bool(locked)
            finally:
                keeping.cancel()
                await asyncio.wait({keeping})  # if it has failed, so will the commit

    async def fence(
        self, exam: str, reason: str, *, beyond: int = 0, retired: bool | None = None
    ) -> Fenced:
        """Close a shard and give it a new epoch, which lies `beyond` one that Redis has.

        From then on nothing is committed under the old epoch. With `retired` it leaves Redis but
        for its counters, or comes back whole. Raises LedgerLocked when a transaction that holds the
        old epoch does not end.
        """
        async with self._ledger.transaction() as connection:
            await connection.execute(self._ledger.query["set_lock_timeout"], _PATIENCE_MS)
            return await self.fence_in(connection, exam, reason, beyond=beyond, retired=retired)

    async def fence_in(
        self,
        connection: "Connection",
        exam: str,
        reason: str,
        *,
        beyond: int = 0,
        retired: bool | None = None,
    ) -> Fenced:
        """Do the same in the caller's transaction."""
        query = self._ledger.query
        row = await connection.fetchrow(query["fence_shard"], exam, beyond, retired)
        if row is None:
            raise UnknownExam(exam)
        await connection.execute(query["insert_recovery"], exam, row["epoch"], reason)
        return Fenced(row["epoch"], row["retired"], row["steps_since"])

    async def position(self, exam: str) -> Step:
        """Return the last drained step."""
        rows = await self._ledger.fetch("select_journal_position", exam)
        return rows[0]["drained_epoch"], rows[0]["drained_version"]

    async def positions(self, exams: Collection[str]) -> dict[str, int]:
        """Return the version the shards of some exams were drained up to, by exam."""
        rows = await self._ledger.fetch("select_journal_positions", list(exams))
        return {row["exam"]: row["drained_version"] for row in rows}

    async def returned_seats(self, exam: str) -> dict[str, int]:
        """Return the seats that wait for the next allocation, by `venue/subject`, as drained."""
        rows = await self._ledger.fetch("select_returned_seats", exam)
        return {f"{row['venue']}/{row['subject']}": row["seats"] for row in rows}

    async def branch(self, exam: str, epoch: int) -> Step | None:
        """Return the step at which an epoch was left for good; None while it is the last one."""
        rows = await self._ledger.fetch("select_branch", exam, epoch)
        return (rows[0]["recovered_epoch"], rows[0]["recovered_version"]) if rows else None

    async def entries_between(self, exam: str, after: Step, through: Step) -> int:
        """Return how many journal entries there are between two steps."""
        rows = await self._ledger.fetch("count_journal_between", exam, *after, *through)
        return int(rows[0]["entries"])

    async def bookings(self, exam: str, page_max: int) -> AsyncIterator[Records]:
        """Yield every booking of a shard."""
        after = ""
        while rows := await self._ledger.fetch("select_rebuild_bookings", exam, after, page_max):
            yield [(row["reservation"], row["record"]) for row in rows]
            after = rows[-1]["reservation"]

    async def holds(self, exam: str, page_max: int) -> AsyncIterator[Records]:
        """Yield every hold of a shard that is not booked, oldest first."""
        moment, after = _EARLIEST, ""
        while rows := await self._ledger.fetch(
            "select_rebuild_holds", exam, moment, after, page_max
        ):
            yield [(row["reservation"], row["record"]) for row in rows]
            moment, after = rows[-1]["created_at"], rows[-1]["reservation"]

    async def ended(self, exam: str, page_max: int) -> AsyncIterator[Records]:
        """Yield what ended in a shard lately."""
        rows = await self._ledger.fetch("select_rebuild_refunded", exam)
        for start in range(0, len(rows), page_max):
            page = rows[start : start + page_max]
            yield [(row["reservation"], row["record"]) for row in page]
        moment, after = dt.datetime.now(dt.UTC) - _ENDED_WITHIN, ""
        while rows := await self._ledger.fetch(
            "select_rebuild_ended", exam, moment, after, page_max
        ):
            yield [(row["reservation"], row["record"]) for row in rows]
            moment, after = rows[-1]["created_at"], rows[-1]["reservation"]

    async def unpaid(self, exam: str, page_max: int) -> AsyncIterator[list[tuple[str, int, int]]]:
        """Yield the candidates of holds that ended unpaid: how many, and the last end in ms."""
        after = ""
        while rows := await self._ledger.fetch("select_rebuild_unpaid", exam, after, page_max):
            yield [(row["candidate"], row["holds"], row["last_ms"]) for row in rows]
            after = rows[-1]["candidate"]

    async def spent(self, exam: str, page_max: int) -> AsyncIterator[list[str]]:
        """Yield the ids of all that has ended in a shard, however long ago."""
        after = ""
        while rows := await self._ledger.fetch("select_rebuild_spent", exam, after, page_max):
            yield [row["reservation"] for row in rows]
            after = rows[-1]["reservation"]

    async def holds_after(self, exam: str, step: Step, page_max: int) -> AsyncIterator[Records]:
        """Yield what is not booked and had a step after this one, as its last step left it."""
        while rows := await self._ledger.fetch("select_touched_holds", exam, *step, page_max):
            yield [(row["reservation"], row["record"]) for row in rows if row["record"]]
            step = rows[-1]["epoch"], rows[-1]["version"]

    async def bookings_after(self, exam: str, step: Step, page_max: int) -> AsyncIterator[Records]:
        """Yield the bookings that were paid or moved under a step after this one."""
        step, after = (step[0], step[1] + 1), ""
        while rows := await self._ledger.fetch(
            "select_touched_bookings", exam, *step, after, page_max
        ):
            yield [(row["reservation"], row["record"]) for row in rows]
            step, after = (rows[-1]["epoch"], rows[-1]["version"]), rows[-1]["reservation"]

    async def refunds_after(self, exam: str, step: Step, page_max: int) -> AsyncIterator[Records]:
        """Yield the refunded bookings whose seats may not be back as of a step."""
        rows = await self._ledger.fetch("select_touched_refunds", exam, *step)
        for start in range(0, len(rows), page_max):
            ids = [row["reservation"] for row in rows[start : start + page_max]]
            yield list((await self.booked(ids)).items())

    async def booked(self, reservations: Sequence[str]) -> dict[str, str]:
        """Return the records of those that have a booking, also one that was refunded."""
        rows = await self._ledger.fetch("select_bookings_as_records", list(reservations))
        return {row["reservation"]: row["record"] for row in rows}

    async def reopen(
        self,
        exam: str,
        epoch: int,
        *,
        way: str,
        recovered: Step,
        bookings: int,
        holds: int,
        left_out: int,
    ) -> bool:
        """Let a recovered shard be served, and write down how it was done, in one step.

        False when another recovery has taken over.
        """
        counts = (bookings, holds, left_out)
        return bool(await self._ledger.fetch("reopen_shard", exam, epoch, way, *recovered, *counts))


async def _keep(connection: "Connection") -> None:
    """Say something from time to time, so that Postgres does not end the transaction."""
    while True:
        await asyncio.sleep(_SIGN_OF_LIFE_S)
        await connection.execute("SELECT 1")
