"""Money that has to go back, until ops say that it has (P6)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.domain.payment import RefundReason
from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import ms

if TYPE_CHECKING:
    from asyncpg import Record

    from quota_service.ledger.pool import Connection


@dataclass(frozen=True, slots=True)
class RefundDue:
    """One captured payment that has to go back; times in ms since the Unix epoch.

    `exam` is None when the payment named a reservation of no exam we know. When the provider says
    that it sent the money back, or that it is disputed, is shown with it. `settled_before_ms` are
    settlements whose money did not arrive.
    """

    id: int
    event: str
    exam: str | None
    reservation: str
    reason: RefundReason
    amount: int
    currency: str
    provider_reference: str
    due_ms: int
    settled_ms: int | None
    refunded_ms: int | None
    disputed_ms: int | None
    settled_before_ms: tuple[int, ...]


class RefundsDue:
    """The list ops work through."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def page(self, exam: str | None, after: int, limit: int) -> list[RefundDue]:
        """Return at most `limit` open ones after an id: of an exam, of none ('') or all (None)."""
        rows = await self._ledger.fetch("select_refunds_due", exam, after, limit)
        return [_due(row) for row in rows]

    async def of_reservation(
        self, reservation: str, exam: str | None, after: int, limit: int
    ) -> list[RefundDue]:
        """Return those of a reservation as `page` does, the settled ones too."""
        rows = await self._ledger.fetch(
            "select_refunds_due_of_reservation", reservation, exam, after, limit
        )
        return [_due(row) for row in rows]

    async def count(self) -> int:
        """Return how many are open, of all exams and of none."""
        rows = await self._ledger.fetch("count_refunds_due")
        return int(rows[0]["count"])

    async def settle(self, exam: str | None, refund: int, by: str) -> RefundDue | None:
        """Remember that the money was sent back; None when there is no such refund.

        `exam` None takes one of whatever exam, or of none.
        """
        async with self._ledger.transaction() as connection:
            return await self.settle_within(connection, exam, refund, by)

    async def settle_within(
        self, connection: "Connection", exam: str | None, refund: int, by: str
    ) -> RefundDue | None:
        """Do so in the caller's transaction."""
        await connection.execute(self._ledger.query["settle_refund_due"], exam, refund, by)
        return await self._read(connection, exam, refund)

    async def lock(
        self, connection: "Connection", exam: str | None, refund: int
    ) -> RefundDue | None:
        """Return one as it stays until the caller's transaction ends; None when there is none."""
        await connection.execute(self._ledger.query["lock_refund_due"], refund)
        return await self._read(connection, exam, refund)

    async def reopen(self, connection: "Connection", refund: int) -> None:
        """Keep the settlement of one as history, and let its money be due again."""
        await connection.execute(self._ledger.query["reopen_refund_due"], refund)

    async def _read(
        self, connection: "Connection", exam: str | None, refund: int
    ) -> RefundDue | None:
        row = await connection.fetchrow(self._ledger.query["select_refund_due"], exam, refund)
        return None if row is None else _due(row)


def _due(row: "Record") -> RefundDue:
    return RefundDue(
        id=row["id"],
        event=row["event"],
        exam=row["exam"],
        reservation=row["reservation"],
        reason=RefundReason(row["reason"]),
        amount=row["amount"],
        currency=row["currency"],
        provider_reference=row["provider_reference"],
        due_ms=ms(row["due_at"]),
        settled_ms=None if row["settled_at"] is None else ms(row["settled_at"]),
        refunded_ms=None if row["refunded_at"] is None else ms(row["refunded_at"]),
        disputed_ms=None if row["disputed_at"] is None else ms(row["disputed_at"]),
        settled_before_ms=tuple(map(ms, row["settled_before"])),
    )
