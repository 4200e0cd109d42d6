"""Refunds, group-committed, and the seats of refunds that Redis has to get back.

A group writes in the order every group takes: bookings, refunds, money due, items, counters.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from quota_service.domain.payment import RefundReason
from quota_service.ledger.group_commit import GroupCommit
from quota_service.ledger.pool import Ledger
from quota_service.ledger.quotas import count_seats
from quota_service.ledger.times import ms
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings

if TYPE_CHECKING:
    from asyncpg import Record

    from quota_service.ledger.pool import Connection


class RefundEnd(Enum):
    """How a refund ended in Postgres."""

    REFUNDED = auto()
    NOT_BOOKED = auto()
    """There is no booking any more, or none yet."""


@dataclass(frozen=True, slots=True)
class RecordedRefund:
    """The refund a candidate had; times in ms since the Unix epoch, money in minor units."""

    reservation: str
    amount: int
    currency: str
    refunded_ms: int
    settled_ms: int | None


class RefundLedger:
    """Refunds bookings."""

    def __init__(self, ledger: Ledger, settings: Settings, metrics: Metrics) -> None:
        self._ledger = ledger
        self._query = ledger.query
        self._group: GroupCommit[str, RefundEnd] = GroupCommit(
            ledger,
            settings,
            metrics,
            key_of=lambda reservation: reservation,
            write=self._write,
            look_up=self._look_up,
        )

    async def refund(self, reservation: str) -> RefundEnd:
        """Commit a refund.

        Raises RefundTaken when the candidate had one for the exam, LedgerUnavailable.
        """
        return await self._group.submit(reservation)

    async def of_candidate(self, exam: str, candidate: str) -> RecordedRefund | None:
        """Return the refund a candidate had for an exam, or None."""
        rows = await self._ledger.fetch("select_refund_of_candidate", exam, candidate)
        return _recorded(rows[0]) if rows else None

    async def to_return(self, exam: str, shard: int, limit: int) -> list[str]:
        """Return reservations of a shard whose seats Redis may not have back yet, oldest first."""
        rows = await self._ledger.fetch("select_refunds_to_return", exam, shard, limit)
        return [row["reservation"] for row in rows]

    async def mark_returned(self, reservations: Sequence[str]) -> None:
        """Remember that Redis has the seats of refunds back."""
        await self._ledger.fetch("mark_refunds_returned", list(reservations))

    async def _write(self, connection: "Connection", group: Sequence[str]) -> list[RefundEnd]:
        ended = await connection.fetch(self._query["refund_bookings"], list(group))
        ids = [row["reservation"] for row in ended]
        await connection.execute(
            self._query["insert_refunds"],
            ids,
            [row["exam"] for row in ended],
            [row["candidate"] for row in ended],
        )
        await connection.execute(
            self._query["insert_refunds_due"],
            [row["event"] for row in ended],
            ids,
            [RefundReason.REFUNDED.value] * len(ended),
            [row["amount"] for row in ended],
            [row["currency"] for row in ended],
        )
        items = await connection.fetch(self._query["refund_booking_items"], ids)
        seats = Counter((item["exam"], item["venue"], item["subject"]) for item in items)
        await count_seats(
            connection, self._ledger, {quota: -taken for quota, taken in seats.items()}
        )
        done = set(ids)
        return [
            RefundEnd.REFUNDED if reservation in done else RefundEnd.NOT_BOOKED
            for reservation in group
        ]

    async def _look_up(self, group: Sequence[str]) -> Mapping[str, RefundEnd]:
        rows = await self._ledger.fetch("select_refunded", list(group))
        return {row["reservation"]: RefundEnd.REFUNDED for row in rows}


def _recorded(row: "Record") -> RecordedRefund:
    return RecordedRefund(
        row["reservation"],
        row["amount"],
        row["currency"],
        ms(row["refunded_at"]),
        None if row["settled_at"] is None else ms(row["settled_at"]),
    )
