"""Faults of Redis and Postgres, and of the network before them, in which no server is replaced."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.faults.injection import Injection
from tests.support.proxy import Proxy
from tests.support.servers import kill, pause, resume

Inject = Callable[[Injection], Awaitable[None]]

_RESETS = 8
_POISON = """
local version = redis.call('INCR', KEYS[1])
return redis.call('XADD', KEYS[2], ARGV[1] .. '-' .. version,
  'verb', 'no such verb', 'subject', '?', 'at', 'never', 'body', 'no record')
"""
_DRAINED_SINCE = """
SELECT p.*
FROM   journal_positions p
JOIN   journal_positions_before b USING (exam)
WHERE  p.drained_version > b.drained_version
"""
_FALL_BACK = """
WITH back AS (
    UPDATE journal_positions p
    SET    drained_epoch   = b.drained_epoch,
           drained_version = b.drained_version
    FROM   journal_positions_before b
    WHERE  p.exam = b.exam
    AND    p.drained_version > b.drained_version
    RETURNING b.*
)
DELETE FROM journal j
USING  back b
WHERE  j.exam = b.exam
AND    j.version > b.drained_version
"""


async def redis_scripts_flushed(injection: Injection) -> None:
    for _ in range(3):
        async with injection.one_redis.client() as seats:
            await seats.script_flush()
        await injection.last(0.2, 0.5)


async def redis_full(injection: Injection) -> None:
    """Let Redis refuse every write that needs memory, for a while."""
    async with injection.one_redis.client() as seats:
        await seats.config_set("maxmemory", 1)
        try:
            await injection.last(1.5, 2.5)
        finally:
            await seats.config_set("maxmemory", 0)


async def journal_poisoned(injection: Injection) -> None:
    """Put an entry into each journal that can never be stored, in step with the scripts."""
    async with injection.one_redis.client() as seats:
        for frontend in injection.frontends:
            tag = f"{{{frontend.exam}:0}}"
            epoch, _, _ = str(await seats.get(f"{tag}:epoch")).partition("@")
            await seats.eval(_POISON, 2, f"{tag}:version", f"{tag}:journal", epoch)
            injection.poisoned.append(frontend.exam)
    await injection.last(1.0)


def postgres_killed(low_s: float, high_s: float) -> Inject:
    async def inject(injection: Injection) -> None:
        postgres = injection.one_postgres.server
        await asyncio.to_thread(kill, postgres)
        await injection.last(low_s, high_s)
        await asyncio.to_thread(postgres.start)

    return inject


def postgres_paused(low_s: float, high_s: float) -> Inject:
    async def inject(injection: Injection) -> None:
        postgres = injection.one_postgres.server
        await asyncio.to_thread(pause, postgres)
        try:
            await injection.last(low_s, high_s)
        finally:
            await asyncio.to_thread(resume, postgres)

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
        proxy.pull_cable()
        await injection.last(0.5, 1.5)
        proxy.freezes_new = False

    return inject


async def pool_busy(injection: Injection) -> None:
    """Let questions to Postgres wait, first one worker's for what was drained, then everybody's.

    The other worker drains meanwhile. So between the first worker's question to one store and its
    question to the other there is always a drain.
    """
    postgres, rng = injection.one_postgres, injection.rng
    looking = injection.deployment.workers[1]
    await looking.kill()
    # It drains once, and sends the text of each question, so that one can be told from another.
    seldom = {"QUOTA_JOURNAL_INTERVAL_MS": "60000", "QUOTA_POSTGRES_STATEMENT_CACHE": "false"}
    await looking.start(**seldom)
    await injection.last(1.0)
    postgres.slow(looking.name, rng.uniform(0.3, 0.5), asking=b"journal_positions")
    await injection.last(5.0)
    postgres.slow(looking.name, 0.0)
    await looking.kill()
    await looking.start()
    for _ in range(2):
        postgres.proxy.delay_s = rng.uniform(0.1, 0.25)
        await injection.last(1.5)
    postgres.proxy.delay_s = 0.0


async def postgres_fell_back(injection: Injection) -> None:
    """Take back what the last drains wrote, as a Postgres does that lost the end of its log."""
    deployment = injection.deployment
    async with deployment.ledger() as ledger:
        async with ledger.transaction(isolation="repeatable_read"):
            for table in ("journal_positions", "reservations"):
                await ledger.execute(f"CREATE TEMP TABLE {table}_before AS TABLE {table}")
        await injection.last(0.6, 1.2)
        # Killed between two drains: nothing of a drain is under way when its rows go.
        await asyncio.gather(*(worker.kill() for worker in deployment.workers))
        async with ledger.transaction():
            lost = await ledger.fetch(_DRAINED_SINCE)
            await ledger.execute(_FALL_BACK)
            await ledger.execute("DELETE FROM reservations")
            await ledger.execute("INSERT INTO reservations TABLE reservations_before")
    async with injection.one_redis.client() as seats:
        for row in lost:
            # The last drain may have died before it trimmed: what it drained is nowhere, then.
            first = f"{row['drained_epoch']}-{row['drained_version'] + 1}"
            await seats.xtrim(f"{{{row['exam']}:0}}:journal", minid=first, approximate=False)
            injection.fell_back.append(row["exam"])
    await injection.last(0.1, 0.4)
    await asyncio.gather(*(worker.start() for worker in deployment.workers))
    await injection.last(0.5, 1.0)


def _proxy(injection: Injection, store: str) -> Proxy:
    return (injection.one_redis if store == "redis" else injection.one_postgres).proxy
