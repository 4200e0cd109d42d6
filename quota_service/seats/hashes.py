"""Hashes of a shard, read in pages by plain commands: no page keeps Redis from others for long."""

from collections.abc import AsyncIterator

from quota_service.seats.keys import Shard
from quota_service.seats.servers import Runners

_SCAN_COUNT = 500
"""Fields in one page, about."""


async def scan_hash(runners: Runners, shard: Shard, name: str) -> AsyncIterator[tuple[str, str]]:
    """Yield field and value of a hash; one may come twice, as with SCAN.

    Whether the shard is open is not asked. Raises SeatsUnavailable when Redis fails.
    """
    cursor = "0"
    while True:
        cursor, flat = await runners.of(shard).command(
            "HSCAN", shard.key(name), cursor, "COUNT", _SCAN_COUNT
        )
        for pair in zip(flat[::2], flat[1::2], strict=True):
            yield pair
        if cursor == "0":
            return


async def scan_counts(runners: Runners, shard: Shard, name: str) -> dict[str, int]:
    """Return the counts of a hash of counters, by field; as `scan_hash` otherwise."""
    return {field: int(count) async for field, count in scan_hash(runners, shard, name)}
