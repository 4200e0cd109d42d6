"""Giving pins up: whoever writes the row of a pin first decides what becomes of its attempt.

A transaction that is booking or moving under a pin has written its row and not committed yet; it is
waited for. One that stands still, behind a pooler perhaps, must not hold up the others: then each
pin is tried by itself, and those that are held stay undecided until the next time.
"""

from collections.abc import Sequence

from quota_service.ledger.errors import LedgerLocked
from quota_service.ledger.pool import Ledger

_PATIENCE_MS = 1000
_PATIENCE_EACH_MS = 50


async def settle_pins(ledger: Ledger, pins: Sequence[tuple[str, str]]) -> set[str]:
    """Give up (reservation, pin) pairs; return the reservations whose pin is decided now."""
    try:
        await _settle(ledger, pins, _PATIENCE_MS)
    except LedgerLocked:
        decided = set()
        for pin in pins:
            try:
                await _settle(ledger, [pin], _PATIENCE_EACH_MS)
            except LedgerLocked:
                continue
            decided.add(pin[0])
        return decided
    return {reservation for reservation, _ in pins}


async def _settle(ledger: Ledger, pins: Sequence[tuple[str, str]], patience_ms: int) -> None:
    async with ledger.transaction() as connection:
        await connection.execute(ledger.query["set_lock_timeout"], str(patience_ms))
        await connection.fetch(
            ledger.query["settle_pins"],
            [reservation for reservation, _ in pins],
            [pin for _, pin in pins],
        )
