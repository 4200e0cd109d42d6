"""Seat releases in Postgres. Methods with a connection belong to the caller's transaction.

Writers have locked the exam (`ExamLedger.lock`), so that rows they have read do not change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from quota_service.domain.definition import seats_document
from quota_service.domain.exam import Quota, SeatRelease
from quota_service.domain.seat_release import (
    ReleaseSource,
    ReleaseState,
    StoredRelease,
    release_from,
)
from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import instant, ms
from quota_service.observability.caller import Caller
from quota_service.slices import in_slices

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection


@dataclass(frozen=True, slots=True)
class UnfinishedRelease:
    """A release that is to happen, or that has happened in Postgres and not yet in Redis."""

    exam: str
    id: str
    at_ms: int
    is_done: bool


class SeatReleaseLedger:
    """Plans, cancels and carries out seat releases."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._query = ledger.query

    async def of_exam(self, connection: "Connection", exam: str) -> list[StoredRelease]:
        """Return the releases of an exam by time, ended ones too."""
        rows = await connection.fetch(self._query["select_seat_releases"], exam)
        return [
            StoredRelease(
                release_from({**row, "at_ms": ms(row["at"]), "seats": orjson.loads(row["seats"])}),
                ReleaseSource(row["source"]),
                ReleaseState(row["state"]),
                row["reason"],
                ms(row["planned_at"]),
                None if row["ended_at"] is None else ms(row["ended_at"]),
            )
            for row in rows
        ]

    async def released(self, connection: "Connection", exam: str) -> dict[Quota, int]:
        """Return how many seats of each quota came by releases, where any did."""
        rows = await connection.fetch(self._query["select_released"], exam)
        return {
            Quota(row["venue"], row["subject"]): row["released"] async for row in in_slices(rows)
        }

    async def plan(
        self,
        connection: "Connection",
        exam: str,
        release: SeatRelease,
        by: Caller,
        reason: str | None = None,
    ) -> None:
        """Store a release, or what it is to be from now on; one with a reason is that of ops."""
        await connection.execute(
            self._query["upsert_seat_release"],
            exam,
            release.id,
            instant(release.at_ms),
            release.announce,
            orjson.dumps(seats_document(release.seats)).decode(),
            ReleaseSource.DEFINITION if reason is None else ReleaseSource.OPS,
            reason,
            by.key_id,
            by.request_id,
        )

    async def cancel(self, connection: "Connection", exam: str, ids: Sequence[str]) -> None:
        """End releases that are planned, without seats."""
        await connection.execute(self._query["cancel_seat_releases"], exam, ids)

    async def execute(self, connection: "Connection", exam: str, ids: Sequence[str]) -> None:
        """Let releases that are planned happen: raise their quotas."""
        await connection.execute(self._query["execute_seat_releases"], exam, ids)

    async def mark_applied(self, exam: str, ids: Sequence[str], *, is_dealt: bool) -> None:
        """Note that Redis has the seats of releases; where seats are dealt out, ask for that."""
        await self._ledger.fetch("mark_seat_releases_applied", exam, ids, is_dealt)

    async def unfinished(self, limit: int) -> list[UnfinishedRelease]:
        """Return at most `limit` releases that are to happen or to be applied, by time."""
        rows = await self._ledger.fetch("select_unfinished_seat_releases", limit)
        return [
            UnfinishedRelease(row["exam"], row["id"], ms(row["at"]), row["is_done"]) for row in rows
        ]
