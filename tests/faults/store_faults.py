"""Faults of Redis and Postgres, and of the network before them."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.faults.injection import Injection
from tests.faults.proxy import FaultyProxy

Inject = Callable[[Injection], Awaitable[None]]

_RESETS = 8
_POISON = """
local version = redis.call('INCR', KEYS[1])
return redis.call('XADD', KEYS[2], ARGV[1] .. '-' .. version,
  'verb', 'no such verb', 'subject', '?', 'at', 'never', 'body', 'no record')
"""


async def redis_flushed(injection: Injection) -> None:
    async with injection.cluster.seats() as seats:
        await seats.flushall()


async def redis_killed(injection: Injection) -> None:
    redis = injection.cluster.redis
    await asyncio.to_thread(redis.kill)
    await injection.last(0.1, 0.6)
    await asyncio.to_thread(redis.start)


async def redis_older(injection: Injection) -> None:
    """Restore an older copy of the append-only directory: the last seconds never happened."""
    copy = await injection.cluster.copy_append_only_files()
    await injection.last(1.5, 2.5)
    await asyncio.to_thread(injection.cluster.redis.kill)
    await injection.cluster.restart_redis_from(copy)


async def replica_promoted(injection: Injection) -> None:
    """Promote a replica that heard nothing of the last seconds before the first one died."""
    cluster, between = injection.cluster, FaultyProxy(0)
    await between.open()
    try:
        replica = await cluster.add_replica(between)
        between.freezes_new = True
        between.freeze_open()
        await injection.last(1.5, 2.5)
        await asyncio.to_thread(cluster.redis.kill)
        await cluster.promote(replica)
    finally:
        between.close()


async def redis_scripts_flushed(injection: Injection) -> None:
    for _ in range(3):
        async with injection.cluster.seats() as seats:
            await seats.script_flush()
        await injection.last(0.2, 0.5)


async def redis_full(injection: Injection) -> None:
    """Let Redis refuse every write that needs memory, for a while."""
    async with injection.cluster.seats() as seats:
        await seats.config_set("maxmemory", 1)
        try:
            await injection.last(1.5, 2.5)
        finally:
            await seats.config_set("maxmemory", 0)


async def journal_poisoned(injection: Injection) -> None:
    """Put an entry into each journal that can never be stored, in step with the scripts."""
    async with injection.cluster.seats() as seats:
        for frontend in injection.frontends:
            tag = f"{{{frontend.exam}:0}}"
            epoch = str(await seats.get(f"{tag}:epoch"))
            await seats.eval(_POISON, 2, f"{tag}:version", f"{tag}:journal", epoch)
            injection.poisoned.append(frontend.exam)
    await injection.last(1.0)


def postgres_killed(low_s: float, high_s: float) -> Inject:
    async def inject(injection: Injection) -> None:
        postgres = injection.cluster.postgres
        await asyncio.to_thread(postgres.kill)
        await injection.last(low_s, high_s)
        await asyncio.to_thread(postgres.start)

    return inject


def postgres_paused(low_s: float, high_s: float) -> Inject:
    async def inject(injection: Injection) -> None:
        postgres = injection.cluster.postgres
        await asyncio.to_thread(postgres.pause)
        try:
            await injection.last(low_s, high_s)
        finally:
            await asyncio.to_thread(postgres.resume)

    return inject


def answers_dropped(store: str) -> Inject:
    """Let requests reach a store and be executed, lose the answers, then cut the connections."""

    async def inject(injection: Injection) -> None:
        proxy = _proxy(injection, store)
        for _ in range(3):
            proxy.drops_answers = True
            await injection.last(0.1, 0.5)
            proxy.drops_answers = False
            proxy.reset_those_that_lost()
            await injection.last(0.1, 0.4)

    return inject


def connections_reset(store: str) -> Inject:
    async def inject(injection: Injection) -> None:
        for _ in range(_RESETS):
            _proxy(injection, store).reset()
            await injection.last(0.02, 0.4)

    return inject


def network_slow(store: str) -> Inject:
    async def inject(injection: Injection) -> None:
        proxy = _proxy(injection, store)
        for _ in range(4):
            proxy.delay_s = injection.rng.uniform(0.02, 0.5)
            await injection.last(0.5)
        proxy.delay_s = 0.0

    return inject


def half_open(store: str) -> Inject:
    """Let nothing pass and tell nobody; what was open then stays dead, new connections work."""

    async def inject(injection: Injection) -> None:
        proxy = _proxy(injection, store)
        proxy.freezes_new = True
        proxy.freeze_open()
        await injection.last(0.5, 1.5)
        proxy.freezes_new = False

    return inject


def _proxy(injection: Injection, store: str) -> FaultyProxy:
    cluster = injection.cluster
    return {"redis": cluster.redis_proxy, "postgres": cluster.postgres_proxy}[store]
