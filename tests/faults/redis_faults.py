"""Faults in which Redis is started again, goes back, is emptied or gives way to another server."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.injection import Injection
from tests.support.proxy import Proxy
from tests.support.servers import kill

_RECOVERED_LIMIT_S = 8.0
_POLL_S = 0.01
_REBUILDS = 4
_RECOVERED = """
SELECT count(DISTINCT exam) FROM recoveries WHERE exam = ANY ($1::text[]) AND opened_at IS NOT NULL
"""


async def redis_flushed(injection: Injection) -> None:
    async with injection.cluster.seats() as seats:
        await seats.flushall()


async def redis_killed(injection: Injection) -> None:
    """Kill Redis; it comes back on its own disk, which has every write that was acknowledged."""
    redis = injection.cluster.redis
    await asyncio.to_thread(kill, redis)
    await injection.last(0.1, 0.6)
    await asyncio.to_thread(redis.start)


async def redis_killed_everysec(injection: Injection) -> None:
    """Kill a Redis that syncs its log once a second only."""
    async with injection.cluster.seats() as seats:
        await seats.config_set("appendfsync", "everysec")
    await injection.last(1.2, 2.0)
    await redis_killed(injection)


async def redis_older(injection: Injection) -> None:
    """Restore an older copy of the append-only directory: the last seconds never happened."""
    copy = await injection.cluster.copy_append_only_files()
    await injection.last(1.5, 2.5)
    await injection.cluster.restart_redis_from(copy)


async def redis_older_twice(injection: Injection) -> None:
    """Restore an older copy, and one older still before what came after the first was drained."""
    cluster = injection.cluster
    worker, other = cluster.workers
    oldest = await cluster.copy_append_only_files()
    await injection.last(0.8, 1.5)
    older = await cluster.copy_append_only_files()
    await injection.last(0.8, 1.2)
    await asyncio.gather(worker.kill(), other.kill())
    await injection.last(0.2, 0.4)  # nobody drains what comes here
    await cluster.restart_redis_from(older)
    await worker.start()
    await _await_recoveries(injection)
    worker.pause()
    try:
        await injection.last(0.5, 0.8)
        await cluster.restart_redis_from(oldest)
    finally:
        worker.resume()
    await other.start()


async def rebuilt_again_and_again(injection: Injection) -> None:
    """Empty Redis again and again while each commit of the API takes its time.

    A commit is seven questions or more: one that began before a loss may be decided between the
    pages of the rebuild, or after it.
    """
    cluster, rng = injection.cluster, injection.rng
    for _ in range(_REBUILDS):
        for api in cluster.apis:
            cluster.slow_postgres(api, rng.uniform(0.1, 0.3))
        for worker in cluster.workers:
            cluster.slow_postgres(worker, rng.uniform(0.0, 0.03))
        await injection.last(0.8, 1.2)
        await redis_flushed(injection)
        await injection.last(0.8, 1.2)


async def replica_promoted(injection: Injection) -> None:
    """Promote a replica that heard nothing of the last seconds before the first one died."""
    cluster = injection.cluster
    async with _line_between() as line:
        replica = await cluster.add_replica(line)
        _cut_off(line)
        await injection.last(1.5, 2.5)
        await asyncio.to_thread(kill, cluster.redis)
        await cluster.promote(replica)


async def handed_over(injection: Injection) -> None:
    """Let a replica take over in order; connections to the server before it stay open."""
    cluster = injection.cluster
    replica = await cluster.add_replica()
    await injection.last(0.3, 0.8)
    await cluster.hand_over(replica)
    await injection.last(1.5, 2.5)


async def failed_back(injection: Injection) -> None:
    """Fail over, and back to the former primary, which was not in step any more.

    It has followed the new primary, was cut off before the last steps, and never restarted.
    """
    cluster, former = injection.cluster, injection.cluster.redis
    async with _line_between() as line:
        replica = await cluster.add_replica()
        await injection.last(0.2, 0.5)
        await cluster.promote(replica)
        await cluster.follow(former, line)
        await _await_recoveries(injection)
        await injection.last(0.8, 1.2)
        _cut_off(line)
        await injection.last(0.8, 1.5)
        await asyncio.to_thread(kill, replica)
        await cluster.promote(former)


async def failed_back_with_own_steps(injection: Injection) -> None:
    """Fail over to a replica that lags, and back to a former primary that never followed it.

    Its last steps are in no ledger: no worker runs when it takes them.
    """
    cluster, former = injection.cluster, injection.cluster.redis
    async with _line_between() as line:
        replica = await cluster.add_replica(line)
        _cut_off(line)
        await injection.last(0.8, 1.2)
        await asyncio.gather(*(worker.kill() for worker in cluster.workers))
        await injection.last(0.5, 0.8)
        await cluster.promote(replica)
        await asyncio.gather(*(worker.start() for worker in cluster.workers))
        await _await_recoveries(injection)
        await injection.last(0.8, 1.5)
        await cluster.promote(former)


async def _await_recoveries(injection: Injection) -> None:
    """Wait until each exam was recovered, but not for ever: a break may keep it from coming."""
    exams = [frontend.exam for frontend in injection.frontends]
    deadline = time.monotonic() + _RECOVERED_LIMIT_S
    async with injection.cluster.ledger() as ledger:
        while await ledger.fetchval(_RECOVERED, exams) < len(exams):
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def _line_between() -> AsyncIterator[Proxy]:
    """Lend a line between two servers that can be cut."""
    line = Proxy(0)
    await line.open()
    try:
        yield line
    finally:
        line.close()


def _cut_off(line: Proxy) -> None:
    """Let nothing pass any more, and tell neither side."""
    line.freezes_new = True
    line.pull_cable()
