"""Shards that Redis lost: who rebuilds them, and what has to hold after."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import QuotaError, SeatsUnavailable
from quota_service.registration.drain_journal import drain_journal
from quota_service.workers.shard_recovery import ShardRecoveryWorker
from tests.support.bookings import check_agreement
from tests.support.books import check_books, read_records
from tests.support.patience import LIMIT_S
from tests.support.redis_clients import redis_of


async def drain(service: Service) -> None:
    """Drain what is in the journal of the test exam."""
    shard = service.stores.registry.shard("exam-1")
    while not (await drain_journal(service.stores.maintenance, shard, 1000, 3)).is_idle:
        pass


async def lose_everything(service: Service) -> None:
    """Empty Redis."""
    await redis_of(service).flushall()


async def another_run(service: Service, exam: str = "exam-1") -> None:
    """Let a shard have been opened in a run of the server that is over; nothing is lost."""
    key = f"{{{exam}:0}}:epoch"
    fence = await redis_of(service).get(key)
    await redis_of(service).set(key, fence.partition("@")[0] + "@a run before")


async def recover_shards(service: Service) -> int:
    """Do a worker's round; return how many shards it recovered."""
    worker = ShardRecoveryWorker(service.stores.maintenance, service.settings)
    return (await worker.run_once())["recovered"]


async def ways(service: Service, exam: str = "exam-1") -> list[str]:
    """Return how a shard was recovered each time, oldest first."""
    query = "SELECT way FROM recoveries WHERE exam = $1 AND way IS NOT NULL ORDER BY epoch"
    return [way for (way,) in await rows(service, query, exam)]


async def first_answer(call: Callable[[], Awaitable[Any]]) -> Any:
    """Return what a server answers at first; connections that died with another do not count."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                return await call()
            except SeatsUnavailable:
                await asyncio.sleep(0.01)
            except QuotaError as refusal:
                return refusal


async def rows(service: Service, query: str, *args: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a query to Postgres."""
    async with service.stores.ledger.connection() as connection:
        return [tuple(row) for row in await connection.fetch(query, *args)]


async def check_after(service: Service, booked: int) -> None:
    """Fail unless the stores agree, and the journal in Postgres tells of Redis as it is."""
    await check_agreement(service, booked)
    await drain(service)
    shard = service.stores.registry.shard("exam-1")
    records = await read_records(redis_of(service), shard)
    told = dict(
        await rows(service, "SELECT id, state FROM reservations WHERE epoch = $1", shard.epoch)
    )
    for record in records.values():
        if record.id in told:
            assert told[record.id] == record.state.value
    assert await rows(service, "SELECT * FROM journal_quarantine") == []


async def check_after_recovery(service: Service, exam: str) -> None:
    """Fail unless everything Redis has of an exam agrees, whatever is booked."""
    await check_books(redis_of(service), service.stores.registry.shard(exam))


class Stall:
    """Holds a method up at its first call, until it is let go."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: type[Any], method: str) -> None:
        self.begun = asyncio.Event()
        self.may_go = asyncio.Event()
        real = getattr(owner, method)

        async def stalled(it: object, *args: object, **options: object) -> object:
            if not self.begun.is_set():
                self.begun.set()
                await self.may_go.wait()
            return await real(it, *args, **options)

        patch.setattr(owner, method, stalled)


async def cut_idle_transactions(dsn: str) -> None:
    """Cut every connection that sits in a transaction, so that its locks are lost."""
    connection = await asyncpg.connect(dsn)
    try:
        cut = await connection.fetch(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state = 'idle in transaction'"
        )
    finally:
        await connection.close()
    assert len(cut) == 1


async def ended(task: "asyncio.Task[Any]") -> BaseException | None:
    """Return the error a task ends with."""
    with suppress(BaseException):
        await task
    return task.exception()
