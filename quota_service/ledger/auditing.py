"""What Postgres says about its own promises, for the audit."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from quota_service.domain.errors import NotReady
from quota_service.domain.exam import Quota
from quota_service.ledger.fence import ShardEpoch, fenced_transaction
from quota_service.ledger.pool import Ledger
from quota_service.slices import in_slices

_SESSIONS_MAX = 100
_TIMEOUT_S = 60.0
"""The audit reads whole tables; it may take its time."""


@dataclass(frozen=True, slots=True)
class AuditedQuota:
    """One quota: what was released, counted and booked, and seats of refunds on their way back."""

    capacity: int
    confirmed: int
    items: int
    returning: int


@dataclass(frozen=True, slots=True)
class AuditedCeiling:
    """One ceiling: its seats, what is counted under it, and what is booked in its quotas."""

    venue: str
    session: str
    seats: int
    confirmed: int
    booked: int

    def __str__(self) -> str:
        """Return the form used in messages: `venue/session`."""
        return f"{self.venue}/{self.session}"


class AuditLedger:
    """Reads, each of one moment; and the few repairs Postgres needs."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._query = ledger.query

    async def quotas(self, exam: str) -> Mapping[Quota, AuditedQuota]:
        """Return every quota of an exam."""
        async with self._ledger.connection() as connection:
            rows = await connection.fetch(self._query["audit_quotas"], exam, timeout=_TIMEOUT_S)
        return {
            Quota(row["venue"], row["subject"]): AuditedQuota(
                row["capacity"], row["confirmed"], row["items"], row["returning"]
            )
            async for row in in_slices(rows)
        }

    async def ceilings(self, exam: str) -> list[AuditedCeiling]:
        """Return every ceiling of an exam."""
        rows = await self._ledger.fetch("audit_ceilings", exam)
        return [AuditedCeiling(*row) for row in rows]

    async def payments_without_end(self, exam: str, after: dt.datetime) -> list[str]:
        """Return captured events since a time that are neither booked nor due back, at most 100."""
        async with self._ledger.connection() as connection:
            query = self._query["audit_payments"]
            rows = await connection.fetch(query, exam, after, timeout=_TIMEOUT_S)
        return [row["event"] for row in rows]

    async def ended_twice(self, exam: str) -> list[tuple[str, str]]:
        """Return (serial, step) of reservations that ended twice, at most 100."""
        async with self._ledger.connection() as connection:
            rows = await connection.fetch(self._query["audit_ends"], exam, timeout=_TIMEOUT_S)
        return [
            (row["subject"], f"{row['verb']} at {row['epoch']}-{row['version']}") for row in rows
        ]

    async def not_in_their_sessions(self, exam: str) -> list[tuple[str, str, str]]:
        """Return what P9 does not hold for by the stored definition, at most 100 of each kind.

        That is the place, what is expected there and what was found.
        """
        async with self._ledger.connection() as connection:
            query = self._query["audit_sessions"]
            rows = await connection.fetch(query, exam, _SESSIONS_MAX, timeout=_TIMEOUT_S)
        return [(row["place"], row["expected"], row["found"]) for row in rows]

    async def raise_confirmed(self, shard: ShardEpoch, quota: Quota, seats: int) -> None:
        """Count the booked seats a quota's counter has missed; Oversold when there are too many.

        Raises NotReady when the epoch of the shard is over.
        """
        exam, _ = shard
        async with fenced_transaction(self._ledger, [shard]) as transaction:
            if shard not in transaction.opened:
                raise NotReady("the shard is being recovered")
            query = self._query["raise_confirmed"]
            await transaction.connection.execute(query, exam, quota.venue, quota.subject, seats)

    async def raise_ceiling(self, shard: ShardEpoch, ceiling: AuditedCeiling) -> None:
        """Count the booked seats a ceiling's counter has missed; raises as `raise_confirmed`."""
        exam, _ = shard
        async with fenced_transaction(self._ledger, [shard]) as transaction:
            if shard not in transaction.opened:
                raise NotReady("the shard is being recovered")
            where = (exam, ceiling.venue, ceiling.session)
            query = self._query["raise_ceiling"]
            await transaction.connection.execute(query, *where, ceiling.booked)

    async def note(self, exam: str, promise: str, place: str, detail: str) -> None:
        """Write an audit entry: what was repaired, and why."""
        await self._ledger.fetch("insert_audit_entry", exam, promise, place, detail)
