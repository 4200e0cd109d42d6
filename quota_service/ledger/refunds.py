"""Refunds, group-committed, and the seats of refunds that Redis has to get back.

A group writes in the order every group takes: shards, bookings, refunds, money due, items, then
counters.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from quota_service.domain.payment import RefundReason
from quota_service.ledger.fence import FencedTransaction, ShardEpoch, fenced_transaction
from quota_service.ledger.group_commit import GroupCommit
from quota_service.ledger.pool import Ledger
from quota_service.ledger.quotas import count_seats
from quota_service.ledger.times import ms
from quota_service.observability.caller import Caller
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings

if TYPE_CHECKING:
    from asyncpg import Record


class RefundEnd(Enum):
    """How a refund ended in Postgres."""

    REFUNDED = auto()
    NOT_BOOKED = auto()
    """There is no booking any more, or none yet."""
    FENCED = auto()
    """The shard is being recovered, and the booking remains."""


@dataclass(frozen=True, slots=True)
class Refund:
    """A booking to refund, the shard it is in under the epoch it was looked at, and who asked.

    One `by_ops` is beside the one refund that its candidate has.
    """

    reservation: str
    shard: ShardEpoch
    by: Caller
    by_ops: bool = False


@dataclass(frozen=True, slots=True)
class RecordedRefund:
    """A refund a candidate had; times in ms since the Unix epoch, money in minor units."""

    reservation: str
    amount: int
    currency: str
    refunded_ms: int
    settled_ms: int | None
    by_ops: bool = False


class RefundLedger:
    """Refunds bookings."""

    def __init__(self, ledger: Ledger, settings: Settings, metrics: Metrics) -> None:
        self._ledger = ledger
        self._query = ledger.query
        self._group: GroupCommit[Refund, RefundEnd] = GroupCommit(
            settings,
            metrics,
            names_of=lambda refund: [refund.reservation],
            commit=self._commit,
            look_up=self._look_up,
        )

    async def refund(self, refund: Refund) -> RefundEnd:
        """Commit a refund.

        Raises RefundTaken when the candidate had one for the exam and it is not by ops,
        LedgerUnavailable.
        """
        return await self._group.submit(refund)

    async def of_candidate(self, exam: str, candidate: str) -> list[RecordedRefund]:
        """Return the refunds a candidate had for an exam, oldest first; one at most not by ops."""
        rows = await self._ledger.fetch("select_refunds_of_candidate", exam, candidate)
        return [_recorded(row) for row in rows]

    async def to_return(self, exam: str, limit: int) -> list[str]:
        """Return reservations of an exam whose seats Redis may not have back yet, oldest first.

        Their refunds are as durable as those that were answered.
        """
        rows = await self._ledger.fetch("select_refunds_to_return", exam, limit)
        if rows:
            await self._ledger.sync()
        return [row["reservation"] for row in rows]

    async def exams_to_return(self) -> list[str]:
        """Return the exams that have refunds whose seats Redis may not have back yet."""
        rows = await self._ledger.fetch("select_exams_to_return")
        return [row["exam"] for row in rows]

    async def mark_returned(self, returned: Mapping[str, int], epoch: int) -> None:
        """Remember that Redis has the seats of refunds back, at which version at the latest."""
        await self._ledger.fetch(
            "mark_refunds_returned", list(returned), epoch, list(returned.values())
        )

    async def _commit(self, group: Sequence[Refund]) -> list[RefundEnd]:
        shards = [refund.shard for refund in group]
        async with fenced_transaction(self._ledger, shards) as transaction:
            return await self._write(transaction, group)

    async def _write(
        self, transaction: FencedTransaction, group: Sequence[Refund]
    ) -> list[RefundEnd]:
        connection, opened = transaction.connection, transaction.opened
        wanted = [refund.reservation for refund in group if refund.shard in opened]
        ended = await connection.fetch(self._query["refund_bookings"], wanted)
        ids = [row["reservation"] for row in ended]
        asked = {refund.reservation: refund for refund in group}
        await connection.execute(
            self._query["insert_refunds"],
            ids,
            [row["exam"] for row in ended],
            [row["candidate"] for row in ended],
            [asked[reservation].by.key_id for reservation in ids],
            [asked[reservation].by.request_id for reservation in ids],
            [asked[reservation].by_ops for reservation in ids],
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
        return [_end(refund, opened, set(ids)) for refund in group]

    async def _look_up(self, group: Sequence[Refund]) -> list[RefundEnd | None]:
        ids = [refund.reservation for refund in group]
        rows = await self._ledger.fetch("select_refunded", ids)
        if rows:
            await self._ledger.sync()
        refunded = {row["reservation"] for row in rows}
        return [RefundEnd.REFUNDED if id_ in refunded else None for id_ in ids]


def _end(refund: Refund, opened: frozenset[ShardEpoch], refunded: set[str]) -> RefundEnd:
    if refund.shard not in opened:
        return RefundEnd.FENCED
    return RefundEnd.REFUNDED if refund.reservation in refunded else RefundEnd.NOT_BOOKED


def _recorded(row: "Record") -> RecordedRefund:
    return RecordedRefund(
        row["reservation"],
        row["amount"],
        row["currency"],
        ms(row["refunded_at"]),
        None if row["settled_at"] is None else ms(row["settled_at"]),
        row["by_ops"],
    )
