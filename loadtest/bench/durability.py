"""The rows of durability: what it costs to sync every write of Redis, and to wait for a replica.

Both sides of a row use one Redis, with the same memory and the same keys: `appendfsync` is changed
by CONFIG SET between turns, and the replica is attached while either side of its row is measured.
What is written while a payment's holds are prepared is synced by the same policy and not measured.
"""

import dataclasses
import os
import tempfile
import time
from pathlib import Path

from loadtest.bench.candidates import Candidate, Orders, Payments, Sample
from loadtest.bench.errors import BenchError
from loadtest.bench.replica import follow
from loadtest.bench.rounds import rows_in_turns
from loadtest.bench.stage import Stage, serving_api
from loadtest.bench.table import Row, Spread, at_least
from loadtest.bench.throughput import new_exam
from quota_service.embedded import EmbeddedRedis

_ALWAYS, _EVERY_SECOND = "always", "everysec"
_REACH = at_least(0.95)
_SYNCS = 200
_SYNCED_BYTES = 8_192
"""About what one batch of reservations adds to the append-only file."""


class Synced(Candidate):
    """Another candidate, measured while Redis syncs its append-only file by one policy."""

    def __init__(self, stage: Stage, policy: str, measured: Candidate) -> None:
        super().__init__(stage, f"{measured.name}, {policy}")
        self._policy = policy
        self._measured = measured

    async def measure(self, connections: int, seconds: int) -> Sample:
        """Set the policy, measure, and set the policy back to that of the stage."""
        redis = self.stage.redis
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
        commands = await self.stage.redis.info("commandstats")
        return int(commands.get("cmdstat_wait", {}).get("calls", 0))


async def fsync_rows(stage: Stage) -> list[Row]:
    """Return the rows of reserve and confirm with every write synced, against once a second."""
    exam = await new_exam(stage)
    sync_ms = Spread.of(_sync_times_ms(stage.folder))
    orders = Orders(stage, "reserve", exam)
    pairs = [
        ("reserve, appendfsync always ÷ everysec", orders, orders),
        (
            "confirm, appendfsync always ÷ everysec",
            # Either prepares as many payments as it was told of in its own last turn.
            Payments(stage, "confirm", exam),
            Payments(stage, "confirm", exam),
        ),
    ]
    rows = await rows_in_turns(
        stage,
        [
            (name, _REACH, Synced(stage, _ALWAYS, always), Synced(stage, _EVERY_SECOND, every))
            for name, always, every in pairs
        ],
    )
    return [row.with_figures(fdatasync_alone_ms=sync_ms) for row in rows]


async def replica_rows(stage: Stage) -> list[Row]:
    """Return the row of reservations that wait for a replica, against those that do not."""
    exam = await new_exam(stage)
    settings = dataclasses.replace(stage.settings, redis_wait_replicas=1)
    with EmbeddedRedis(stage.folder / "replica") as replica:
        await follow(replica, stage.settings.redis_url)
        async with serving_api(settings, stage.folder, "waits-for-replica") as api:
            waited = WaitedOrders(stage, "WAIT for one replica", exam, api=api)
            at_once = Orders(stage, "no WAIT", exam)
            pair = ("reserve, WAIT for one replica ÷ none", None, waited, at_once)
            return await rows_in_turns(stage, [pair], stage.plan.connections[:1])


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
