"""The rows of durability: what it costs to sync every write of Redis, and to wait for a replica.

Both sides of a row use one Redis, with the same memory and the same keys: `appendfsync` is changed
by CONFIG SET between measurements, and the replica is attached while both sides of its row are
measured.
What is written while a payment's holds are prepared is synced by the same policy and not measured.
"""

import dataclasses
import os
import tempfile
import time
from pathlib import Path

from loadtest.bench.errors import BenchError
from loadtest.bench.replica import follow
from loadtest.bench.rounds import alternating_rows
from loadtest.bench.table import Row, Spread, at_least
from loadtest.bench.targets import Orders, Payments, Sample, Target
from loadtest.bench.testbed import Testbed, serving_api
from loadtest.bench.throughput import new_exam
from quota_service.embedded import EmbeddedRedis

_ALWAYS, _EVERY_SECOND = "always", "everysec"
_REACH = at_least(0.95)
_SYNCS = 200
_SYNCED_BYTES = 8_192
"""About what one batch of reservations adds to the append-only file."""


class Synced(Target):
    """Another candidate, measured while Redis syncs its append-only file by one policy."""

    def __init__(self, testbed: Testbed, policy: str, measured: Target) -> None:
        super().__init__(testbed, f"{measured.name}, {policy}")
        self._policy = policy
        self._measured = measured

    async def measure(self, connections: int, seconds: int) -> Sample:
        """Set the policy, measure, and set the policy back to that of the testbed."""
        redis = self.testbed.redis
        await redis.config_set("appendfsync", self._policy)
        try:
            sample = await self._measured.measure(connections, seconds)
            standing = (await redis.config_get("appendfsync"))["appendfsync"]
        finally:
            await redis.config_set("appendfsync", _ALWAYS)
        if standing != self._policy:
            raise BenchError(f"{self.name}: appendfsync was {standing}")
        return sample


class WaitedOrders(Orders):
    """Orders through an API whose commands to Redis are followed by WAIT."""

    async def measure(self, connections: int, seconds: int) -> Sample:
        """Order, and see in Redis's statistics that replicas were waited for."""
        before = await self._waits()
        sample = await super().measure(connections, seconds)
        waits = await self._waits() - before
        if waits < 1:
            raise BenchError(f"{self.name}: no replica was waited for")
        return sample

    async def _waits(self) -> int:
        commands = await self.testbed.redis.info("commandstats")
        return int(commands.get("cmdstat_wait", {}).get("calls", 0))


async def fsync_rows(testbed: Testbed) -> list[Row]:
    """Return the rows of reserve and confirm with every write synced, against once a second."""
    exam = await new_exam(testbed)
    sync_ms = Spread.of(_sync_times_ms(testbed.folder))
    orders = Orders(testbed, "reserve", exam)
    pairs = [
        ("reserve, appendfsync always ÷ everysec", orders, orders),
        (
            "confirm, appendfsync always ÷ everysec",
            # Each prepares as many payments as it was paid in its own last measurement.
            Payments(testbed, "confirm", exam),
            Payments(testbed, "confirm", exam),
        ),
    ]
    rows = await alternating_rows(
        testbed,
        [
            (name, _REACH, Synced(testbed, _ALWAYS, always), Synced(testbed, _EVERY_SECOND, every))
            for name, always, every in pairs
        ],
    )
    return [row.with_figures(fdatasync_alone_ms=sync_ms) for row in rows]


async def replica_rows(testbed: Testbed) -> list[Row]:
    """Return the row of reservations that wait for a replica, against those that do not."""
    exam = await new_exam(testbed)
    settings = dataclasses.replace(testbed.settings, redis_wait_replicas=1)
    with EmbeddedRedis(testbed.folder / "replica") as replica:
        await follow(replica, testbed.settings.redis_url)
        async with serving_api(settings, testbed.folder, "waits-for-replica") as api:
            waited = WaitedOrders(testbed, "WAIT for one replica", exam, api=api)
            at_once = Orders(testbed, "no WAIT", exam)
            pair = ("reserve, WAIT for one replica ÷ none", None, waited, at_once)
            return await alternating_rows(testbed, [pair], testbed.plan.connections[:1])


def _sync_times_ms(folder: Path) -> list[float]:
    """Return how long the disk takes to sync a small write at the end of a file, several times."""
    times_ms = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            file.write(bytes(_SYNCED_BYTES))
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times_ms.append((time.perf_counter() - started) * 1e3)
    return times_ms
