"""What Postgres knows of a shard, in bounded pages, for the rebuild of it in Redis."""

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from quota_service.ledger.fence import ShardEpoch
from quota_service.ledger.pool import Ledger

Records = list[tuple[str, str]]
"""Pairs of a reservation's id and its record."""

_EARLIEST = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FRESH = dt.timedelta(seconds=10)
"""Every process has put back what it remembers within this time of a rebuild."""
_ENDED_WITHIN = dt.timedelta(days=2)
"""A record ends within a day of its hold's beginning, or little more, and is kept for a day."""


class RebuildLedger:
    """Fences shards in Postgres and reads what is to be in Redis."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @asynccontextmanager
    async def alone(self, exam: str) -> AsyncIterator[bool]:
        """Keep imports and other rebuilds of an exam out; False when one is at work."""
        async with self._ledger.transaction() as connection:
            locked = await connection.fetchval(self._ledger.query["try_lock_exam"], exam)
            yield bool(locked)

    async def fence(self, exam: str, shard: int, reason: str) -> int | None:
        """Close a shard and return its new epoch; None when it was never open.

        From then on nothing is committed under the old epoch.
        """
        async with self._ledger.transaction() as connection:
            query = self._ledger.query["fence_shard"]
            epoch: int | None = await connection.fetchval(query, exam, shard)
            if epoch is not None:
                query = self._ledger.query["insert_rebuild"]
                await connection.execute(query, exam, shard, epoch, reason)
            return epoch

    async def position(self, exam: str, shard: int) -> tuple[int, int]:
        """Return epoch and version of the last drained journal entry."""
        rows = await self._ledger.fetch("select_journal_position", exam, shard)
        return rows[0]["drained_epoch"], rows[0]["drained_version"]

    async def bookings(self, exam: str, shard: int, page_max: int) -> AsyncIterator[Records]:
        """Yield every booking of a shard."""
        after = ""
        while rows := await self._ledger.fetch(
            "select_rebuild_bookings", exam, shard, after, page_max
        ):
            yield [(row["reservation"], row["record"]) for row in rows]
            after = rows[-1]["reservation"]

    async def holds(self, exam: str, shard: int, page_max: int) -> AsyncIterator[Records]:
        """Yield every hold of a shard that is not booked, oldest first."""
        moment, after = _EARLIEST, ""
        while rows := await self._ledger.fetch(
            "select_rebuild_holds", exam, shard, moment, after, page_max
        ):
            yield [(row["reservation"], row["record"]) for row in rows]
            moment, after = rows[-1]["created_at"], rows[-1]["reservation"]

    async def ended(self, exam: str, shard: int, page_max: int) -> AsyncIterator[Records]:
        """Yield what ended in a shard lately."""
        rows = await self._ledger.fetch("select_rebuild_refunded", exam, shard)
        for start in range(0, len(rows), page_max):
            page = rows[start : start + page_max]
            yield [(row["reservation"], row["record"]) for row in page]
        moment, after = dt.datetime.now(dt.UTC) - _ENDED_WITHIN, ""
        while rows := await self._ledger.fetch(
            "select_rebuild_ended", exam, shard, moment, after, page_max
        ):
            yield [(row["reservation"], row["record"]) for row in rows]
            moment, after = rows[-1]["created_at"], rows[-1]["reservation"]

    async def open(self, exam: str, shard: int, epoch: int) -> bool:
        """Let a rebuilt shard be served; False when another rebuild has taken over."""
        return bool(await self._ledger.fetch("open_fenced_shard", exam, shard, epoch))

    async def finish(
        self,
        exam: str,
        shard: int,
        epoch: int,
        *,
        recovered: tuple[int, int],
        bookings: int,
        holds: int,
        left_out: int,
    ) -> None:
        """Write down what a rebuild did."""
        counts = (*recovered, bookings, holds, left_out)
        await self._ledger.fetch("finish_rebuild", exam, shard, epoch, *counts)

    async def recovered(self, exam: str, shard: int, epoch: int) -> int:
        """Return the last version of an epoch that is in Postgres."""
        rows = await self._ledger.fetch("select_recovered_version", exam, shard, epoch)
        return int(rows[0]["version"])

    async def report_lost(self, shard: ShardEpoch, lost: int, restored: int) -> None:
        """Add to the report of a rebuild what a process remembers that was lost."""
        await self._ledger.fetch("report_lost_holds", *shard, lost, restored)

    async def is_fresh(self, shard: ShardEpoch) -> bool:
        """Return whether a shard got this epoch by a rebuild that ended only seconds ago."""
        return bool(await self._ledger.fetch("select_fresh_rebuild", *shard, _FRESH))
