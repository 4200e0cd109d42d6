"""The fence in Postgres: nothing is committed for a shard under an epoch that is over.

A shard that is recovered gets a new epoch first. That waits for transactions which hold the old
one, and every later one finds it gone. So what a recovery reads is all there is. Whatever writes
bookings, their subjects or the counters of booked seats does it in a `fenced_transaction`, or in
the SQL function `settle_payments`, which holds the epochs itself: there is no other door.
"""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.ledger.pool import Ledger

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection

ShardEpoch = tuple[str, int]
"""An exam, and an epoch of its shard."""

ATTEMPT_LIFE_S = 3600.0
"""An attempt to book or to move that is older does nothing: its row may be gone by then.

A process that is stopped after it has read the age cannot commit later: a transaction that is
silent for longer than Postgres waits is ended, and `settle_payments` looks at the time it was
called at.
"""


def attempt_clock_s() -> float:
    """Return the clock of the age of attempts; it goes on while a machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class FencedTransaction:
    """A transaction, and the shards that stay open under these epochs until it ends."""

    connection: "Connection"
    opened: frozenset[ShardEpoch]


@asynccontextmanager
async def fenced_transaction(
    ledger: Ledger, wanted: Iterable[ShardEpoch]
) -> AsyncIterator[FencedTransaction]:
    """Begin a transaction that holds those of the wanted epochs that are open."""
    exams = sorted({exam for exam, _ in wanted})
    async with ledger.transaction() as connection:
        rows = []
        if exams:
            rows = await connection.fetch(ledger.query["lock_open_epochs"], exams)
        opened = frozenset((row["exam"], row["epoch"]) for row in rows)
        yield FencedTransaction(connection, opened)
