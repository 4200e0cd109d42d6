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
    async with injection.one_redis.client() as seats:
        await seats.flushall()


async def redis_killed(injection: Injection) -> None:
    """Kill Redis; it comes back on its own disk, which has every write that was acknowledged."""
    redis = injection.one_redis.server
    await asyncio.to_thread(kill, redis)
    await injection.last(0.1, 0.6)
    await asyncio.to_thread(redis.start)


async def redis_killed_everysec(injection: Injection) -> None:
    """Kill a Redis that syncs its log once a second only."""
    async with injection.one_redis.client() as seats:
        await seats.config_set("appendfsync", "everysec")
    await injection.last(1.2, 2.0)
    await redis_killed(injection)


async def redis_older(injection: Injection) -> None:
    """Restore an older copy of the append-only directory: the last seconds never happened."""
    copy = await injection.one_redis.copy_append_only_files()
    await injection.last(1.5, 2.5)
    await injection.one_redis.restart_from(copy)


async def redis_older_twice(injection: Injection) -> None:
    """Restore an older copy, and one older still before what came after the first was drained."""
    redis = injection.one_redis
    worker, other = injection.deployment.workers
    oldest = await redis.copy_append_only_files()
    await injection.last(0.8, 1.5)
    older = await redis.copy_append_only_files()
    await injection.last(0.8, 1.2)
    await asyncio.gather(worker.kill(), other.kill())
    await injection.last(0.2, 0.4)  # nobody drains what comes here
    await redis.restart_from(older)
    await worker.start()
    await await_recoveries(injection)
    worker.pause()
    try:
        await injection.last(0.5, 0.8)
        await redis.restart_from(oldest)
    finally:
        worker.resume()
    await other.start()


async def rebuilt_again_and_again(injection: Injection) -> None:
    """Empty Redis again and again while each commit of the API takes its time.

    A commit is seven questions or more: one that began before a loss may be decided between the
    pages of the rebuild, or after it.
    """
    deployment, rng = injection.deployment, injection.rng
    slow = injection.one_postgres.slow
    for _ in range(_REBUILDS):
        for api in deployment.apis:
            slow(api.name, rng.uniform(0.1, 0.3))
        for worker in deployment.workers:
            slow(worker.name, rng.uniform(0.0, 0.03))
        await injection.last(0.8, 1.2)
        await redis_flushed(injection)
        await injection.last(0.8, 1.2)


async def replica_promoted(injection: Injection) -> None:
    """Promote a replica that heard nothing of the last seconds before the first one died."""
    redis = injection.one_redis
    async with _line_between() as line:
        replica = await redis.add_replica(line)
        _cut_off(line)
        await injection.last(1.5, 2.5)
        await asyncio.to_thread(kill, redis.server)
        await redis.promote(replica)


async def handed_over(injection: Injection) -> None:
    """Let a replica take over in order; connections to the server before it stay open."""
    redis = injection.one_redis
    replica = await redis.add_replica()
    await injection.last(0.3, 0.8)
    await redis.hand_over(replica)
    await injection.last(1.5, 2.5)


async def failed_back(injection: Injection) -> None:
    """Fail over, and back to the former primary, which was not in step any more.

    It has followed the new primary, was cut off before the last steps, and never restarted.
    """
    redis, former = injection.one_redis, injection.one_redis.server
    async with _line_between() as line:
        replica = await redis.add_replica()
        await injection.last(0.2, 0.5)
        await redis.promote(replica)
        await redis.follow(former, line)
        await await_recoveries(injection)
        await injection.last(0.8, 1.2)
        _cut_off(line)
        await injection.last(0.8, 1.5)
        await asyncio.to_thread(kill, replica)
        await redis.promote(former)


async def failed_back_with_own_steps(injection: Injection) -> None:
    """Fail over to a replica that lags, and back to a former primary that never followed it.

    Its last steps are in no ledger: no worker runs when it takes them.
    """
    redis, former = injection.one_redis, injection.one_redis.server
    async with _line_between() as line:
        replica = await redis.add_replica(line)
        _cut_off(line)
        await injection.last(0.8, 1.2)
        await asyncio.gather(*(worker.kill() for worker in injection.deployment.workers))
        await injection.last(0.5, 0.8)
        await redis.promote(replica)
        await asyncio.gather(*(worker.start() for worker in injection.deployment.workers))
        await await_recoveries(injection)
        await injection.last(0.8, 1.5)
        await redis.promote(former)


async def await_recoveries(injection: Injection, *of: str) -> None:
    """Wait until each exam was recovered, but not for ever: a break may keep it from coming."""
    exams = of or injection.exams
    deadline = time.monotonic() + _RECOVERED_LIMIT_S
    async with injection.deployment.ledger() as ledger:
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
