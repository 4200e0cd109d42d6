"""Decide attempts: the writer of an attempt's row decides whether it books or is abandoned.

A transaction that books or moves under an attempt has written its row and not committed yet; it
is waited for. One that has stopped, behind a pooler perhaps, must not hold up the others: then
each attempt is tried by itself, and those that are held stay undecided until the next time.
"""

from collections.abc import Sequence

from quota_service.ledger.errors import LedgerLocked
from quota_service.ledger.pool import Ledger

_PATIENCE_MS = 1000
_PATIENCE_EACH_MS = 50


async def decide_attempts(ledger: Ledger, attempts: Sequence[tuple[str, str]]) -> set[str]:
    """Give up (reservation, attempt) pairs; return those reservations that are decided."""
    try:
        await _decide(ledger, attempts, _PATIENCE_MS)
    except LedgerLocked:
        decided = set()
        for attempt in attempts:
            try:
                await _decide(ledger, [attempt], _PATIENCE_EACH_MS)
            except LedgerLocked:
                continue
            decided.add(attempt[0])
        return decided
    return {reservation for reservation, _ in attempts}


async def _decide(ledger: Ledger, attempts: Sequence[tuple[str, str]], patience_ms: int) -> None:
    async with ledger.transaction() as connection:
        await connection.execute(ledger.query["set_lock_timeout"], str(patience_ms))
        await connection.fetch(
            ledger.query["decide_attempts"],
            [reservation for reservation, _ in attempts],
            [attempt for _, attempt in attempts],
        )
        # Where every attempt was decided before, nothing is written, and who decided may not have
        # waited for a standby.
        await connection.execute(ledger.query["sync"])
