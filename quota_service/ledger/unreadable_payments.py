"""Payment events that are signed as they should be and cannot be understood.

The provider is answered 422, and may never send the payment again: its body is kept byte by
byte, so that no money is lost sight of (P6). An entry is open until a person settles it, or until
the same event has come later in a form that can be parsed. An event that comes under the id of
another one is kept as well: which of the two the provider means only a person can find out.
"""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import ms

if TYPE_CHECKING:
    from asyncpg import Record

_EVENT_MAX = 255
_PROBLEM_MAX = 1000


@dataclass(frozen=True, slots=True)
class UnreadablePayment:
    """One such event, what is wrong with it and how often it came; times in ms since the epoch."""

    id: int
    event: str
    body: bytes
    problem: str
    deliveries: int
    received_ms: int
    last_received_ms: int
    settled_ms: int | None


class UnreadablePayments:
    """The list ops work through."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def keep(self, event: str, body: bytes, problem: str) -> None:
        """Commit an event as it came; one that comes again is counted. LedgerUnavailable."""
        name = event.encode(errors="backslashreplace")
        digest = hashlib.blake2b(name + b"\n" + body, digest_size=16).hexdigest()
        await self._ledger.fetch(
            "keep_unreadable_payment",
            digest,
            name.decode()[:_EVENT_MAX],
            body,
            _storable(problem)[:_PROBLEM_MAX],
        )

    async def page(self, after: int, limit: int) -> list[UnreadablePayment]:
        """Return at most `limit` open ones after an id."""
        rows = await self._ledger.fetch("select_unreadable_payments", after, limit)
        return [_unreadable(row) for row in rows]

    async def settle(self, unreadable: int, by: str) -> UnreadablePayment | None:
        """Remember that a person has dealt with one; None when there is none of this id."""
        rows = await self._ledger.fetch("settle_unreadable_payment", unreadable, by)
        return _unreadable(rows[0]) if rows else None

    async def warning(self) -> dict[str, str]:
        """Return {"payments": how many are open}; nothing when there are none."""
        rows = await self._ledger.fetch("count_unreadable_payments")
        count = int(rows[0]["count"])
        return {"payments": f"{count} payment events could not be understood"} if count else {}


def _storable(text: str) -> str:
    """Return a text as Postgres takes it: no zero bytes, no halves of characters."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\ufffd")


def _unreadable(row: "Record") -> UnreadablePayment:
    return UnreadablePayment(
        id=row["id"],
        event=row["event"],
        body=row["body"],
        problem=row["problem"],
        deliveries=row["deliveries"],
        received_ms=ms(row["received_at"]),
        last_received_ms=ms(row["last_received_at"]),
        settled_ms=None if row["settled_at"] is None else ms(row["settled_at"]),
    )
