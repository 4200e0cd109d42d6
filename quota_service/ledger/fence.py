"""The fence in Postgres: nothing is committed for a shard under an epoch that is over.

A shard that is rebuilt gets a new epoch first. That waits for transactions which hold the old one,
and every later one finds it gone, so what the rebuild reads is all there is.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from quota_service.ledger.pool import Ledger

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection

ShardEpoch = tuple[str, int, int]
"""An exam, the number of one of its shards, and an epoch of it."""


async def hold_epochs(
    connection: "Connection", ledger: Ledger, wanted: Iterable[ShardEpoch]
) -> set[ShardEpoch]:
    """Return those that are open, which they stay until the transaction ends."""
    shards = sorted({(exam, shard) for exam, shard, _ in wanted})
    if not shards:
        return set()
    rows = await connection.fetch(
        ledger.query["lock_open_epochs"],
        [exam for exam, _ in shards],
        [shard for _, shard in shards],
    )
    return {(row["exam"], row["shard"], row["epoch"]) for row in rows}
