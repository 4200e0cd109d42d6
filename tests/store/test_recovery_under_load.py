"""Everything at once while a shard is recovered again and again; the pools are busy meanwhile."""

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import QuotaError, Unavailable
from quota_service.domain.payment import PaymentEvent, PaymentResult
from quota_service.registration.audit import audit
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.import_exam import import_exam
from quota_service.registration.recover import recover_attempts
from quota_service.registration.recover_shard import rebuild_shard, recover_if_lost
from quota_service.registration.refund import refund, return_seats
from quota_service.registration.release import release
from quota_service.registration.reserve import Order, reserve
from quota_service.settings import Settings
from tests.support.exams import make_exam
from tests.support.lost_shards import check_after_recovery, rows, ways
from tests.support.redis_clients import redis_of
from tests.support.use_cases import (
    expire_due_holds,
    payment,
)
from tests.support.waiting import eventually

EXAM = "exam-f"
VENUES = ("tianjin", "jinan", "beijing")
SUBJECTS = ("general", "qms", "service")
CANDIDATES = 24
RECOVERIES = 14
TELLINGS_MAX = 60


@pytest.fixture
async def worker(settings: Settings, service: Service) -> AsyncIterator[Service]:
    """The workers' process."""
    seats = {venue: dict.fromkeys(SUBJECTS, 30) for venue in VENUES}
    await import_exam(service.stores.maintenance, make_exam(EXAM, seats=seats, ttl_s=60))
    async with open_service(settings) as opened:
        await refresh_memory(opened)
        yield opened


@dataclasses.dataclass
class Load:
    """Candidates at an API process, and what the provider was answered."""

    api: Service
    is_running: bool = True
    answers: dict[str, PaymentResult] = dataclasses.field(default_factory=dict)

    async def candidate(self, number: int) -> None:
        """Be one person after the other, until the load ends."""
        chance, life = random.Random(number), 0  # noqa: S311
        while self.is_running:
            life += 1
            with suppress(QuotaError):
                await self.live(f"candidate-{number}-{life}", chance)
            await asyncio.sleep(0.005)

    async def live(self, candidate: str, chance: random.Random) -> None:
        stores = self.api.stores
        subjects = tuple(chance.sample(SUBJECTS, chance.randint(1, 2)))
        order = Order(candidate, subjects, tuple(chance.sample(VENUES, 2)), accepted_notice=True)
        held = (await reserve(stores.reservations, EXAM, order, "key-1")).reservation
        if chance.random() < 0.2:
            await release(stores, held.id)
            return
        event = payment(held, f"event-{held.id}", held.amount)
        await self.until_answered(lambda: self.tell(event))
        if chance.random() < 0.4:
            await change_venue(stores.payments, held.id, chance.choice(VENUES))
        if chance.random() < 0.7:
            await self.until_answered(lambda: refund(stores.payments, held.id))

    async def tell(self, event: PaymentEvent) -> None:
        self.answers[event.event] = await confirm(self.api.stores.payments, event)

    async def until_answered(self, call: Callable[[], Awaitable[object]]) -> None:
        for _ in range(TELLINGS_MAX):
            try:
                await call()
            except Unavailable:
                await asyncio.sleep(0.03)
            else:
                return

    async def has_had_answers(self) -> bool:
        return len(self.answers) > 50

    async def keep_the_pool_busy(self) -> None:
        while self.is_running:
            with suppress(QuotaError):
                async with self.api.stores.ledger.connection() as connection:
                    await connection.fetch("SELECT pg_sleep(0.05)")

    async def refresh(self) -> None:
        while self.is_running:
            with suppress(QuotaError):
                await self.api.stores.registry.refresh()
            await asyncio.sleep(0.05)

    async def work(self, worker: Service) -> None:
        while self.is_running:
            with suppress(QuotaError):
                await round_of_all(worker, age_ms=500)
            await asyncio.sleep(0.03)


async def round_of_all(worker: Service, age_ms: int) -> None:
    await worker.stores.registry.refresh()
    shard = worker.stores.registry.shard(EXAM)
    await expire_due_holds(worker.stores, shard, 100)
    await recover_attempts(worker.stores.payments, shard, age_ms, 100)
    await return_seats(worker.stores.payments, shard, 100)
    await drain_journal(worker.stores.maintenance, shard, 500, 3)


async def recover_again_and_again(worker: Service, chance: random.Random) -> None:
    """Rebuild the shard, or let it be of another run and recover it, in turns."""
    registry = worker.stores.registry
    for turn in range(RECOVERIES):
        await asyncio.sleep(chance.uniform(0.05, 0.3))
        with suppress(QuotaError):
            await registry.refresh()
            if turn % 2:
                await rebuild_shard(worker.stores.maintenance, EXAM, "as ordered")
                continue
            key = registry.used_shard(EXAM).shard.key("epoch")
            fence = await redis_of(worker).get(key)
            await redis_of(worker).set(key, fence.partition("@")[0] + "@a run before")
            await recover_if_lost(worker.stores.maintenance, EXAM)


async def test_nothing_is_lost_or_leaks_while_a_shard_is_recovered_again_and_again(
    settings: Settings, worker: Service
) -> None:
    chance = random.Random(20230314)  # noqa: S311
    async with open_service(dataclasses.replace(settings, postgres_pool_max=4)) as api:
        await refresh_memory(api)
        load = Load(api)
        tasks = [
            asyncio.create_task(each)
            for each in (
                *(load.candidate(number) for number in range(CANDIDATES)),
                *(load.keep_the_pool_busy() for _ in range(4)),
                load.refresh(),
                load.work(worker),
            )
        ]
        await recover_again_and_again(worker, chance)
        await eventually(load.has_had_answers)
        load.is_running = False
        await asyncio.gather(*tasks)
        for _ in range(4):
            await worker.stores.registry.refresh()
            await recover_if_lost(worker.stores.maintenance, EXAM)
            await round_of_all(worker, age_ms=0)

        told = dict(await rows(api, "SELECT event, outcome FROM payment_events"))
        assert {e: a.outcome.value for e, a in load.answers.items() if told[e] != a.outcome} == {}
        done = set(await ways(api, EXAM))
        assert "rebuilt" in done
        assert done & {"reopened", "reconciled"}
        assert (await audit(worker.stores.maintenance, EXAM)).differences == ()
        await check_after_recovery(worker, EXAM)
