"""Failovers that leave connections open, and a former primary that takes over again."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import NotReady, QuotaError
from quota_service.domain.reservation import Reservation, State
from quota_service.embedded import EmbeddedRedis
from quota_service.registration.drain_journal import drain_journal
from quota_service.settings import Settings
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.journal_drain import JournalDrainWorker
from tests.support.bookings import book
from tests.support.lost_shards import (
    check_after,
    drain,
    first_answer,
    recover_shards,
    rows,
    ways,
)
from tests.support.mortal_redis import client_of, cut_off, follow
from tests.support.proxy import Proxy, proxied
from tests.support.servers import kill
from tests.support.use_cases import hold, state
from tests.support.waiting import eventually


@dataclasses.dataclass
class Pair:
    """Two servers, the address of the primary, and a process that knows only the address."""

    one: EmbeddedRedis
    two: EmbeddedRedis
    address: Proxy
    service: Service


@pytest.fixture
async def pair(settings: Settings, service: Service, tmp_path: Path) -> AsyncIterator[Pair]:
    assert service.stores.registry.is_loaded
    with EmbeddedRedis(tmp_path / "one") as one, EmbeddedRedis(tmp_path / "two") as two:
        async with proxied(one.url) as address, process_of(settings, address) as first:
            assert await recover_shards(first) == 1  # the exam is new to these servers
            yield Pair(one, two, address, first)


@asynccontextmanager
async def process_of(settings: Settings, address: Proxy) -> AsyncIterator[Service]:
    async with open_service(
        dataclasses.replace(settings, redis_url=address.in_front_of(settings.redis_url))
    ) as opened:
        await refresh_memory(opened)
        yield opened


async def make_primary(server: EmbeddedRedis) -> None:
    async with client_of(server) as client:
        await client.execute_command("REPLICAOF", "NO", "ONE")


async def change_over(pair: Pair) -> None:
    """Do an orderly failover: the second takes over, the first follows it, nothing is cut."""
    await follow(pair.two, pair.one)
    await make_primary(pair.two)
    pair.address.lead_to(pair.two.url)
    await follow(pair.one, pair.two)


async def test_an_orderly_failover_that_leaves_connections_open_is_followed_at_once(
    pair: Pair,
) -> None:
    booked = await book(pair.service, "booked")
    await hold(pair.service, "first", "tianjin")
    await drain(pair.service)
    await change_over(pair)

    refused = await first_answer(lambda: hold(pair.service, "later", "tianjin"))
    recovered = await recover_shards(pair.service)
    await hold(pair.service, "later", "tianjin")

    assert isinstance(refused, NotReady)
    assert recovered == 1
    assert (await ways(pair.service))[-1] == "reopened"
    assert await state(pair.service, booked) is State.CONFIRMED
    for worker in (JournalDrainWorker, ExpiryWorker):
        await worker(pair.service.stores.maintenance, pair.service.settings).run_once()
    assert await service_faults(pair.service) == {}


async def service_faults(service: Service) -> dict[str, str]:
    await service.health.refresh()
    return dict(service.health.faults)


async def test_health_asks_on_the_connection_that_calls_travel_on(pair: Pair) -> None:
    await hold(pair.service, "first", "tianjin")
    await pair.service.health.refresh()
    before = dict(pair.service.health.faults)
    async with client_of(pair.one) as client:
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")

    during = [await service_faults(pair.service) for _ in range(2)]
    await make_primary(pair.one)
    after = [await service_faults(pair.service) for _ in range(2)][-1]

    assert before == after == {}
    assert all("replica" in faults["redis"] for faults in during)


async def test_a_process_that_asks_nothing_notices_a_server_that_was_replica_meanwhile(
    pair: Pair,
) -> None:
    await hold(pair.service, "first", "tianjin")
    async with client_of(pair.one) as client:
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")
    await make_primary(pair.one)

    await pair.service.stores.runners.check()

    with pytest.raises(NotReady):
        await hold(pair.service, "later", "tianjin")


async def test_what_a_former_primary_took_alone_is_never_mixed_with_the_ledgers_history(
    pair: Pair, settings: Settings
) -> None:
    service = pair.service
    known = await hold(service, "known", "tianjin")
    await follow(pair.two, pair.one)
    await make_primary(pair.two)
    pair.address.lead_to(pair.two.url)
    pair.address.reset()
    assert await first_answer(lambda: recover_shards(service)) == 1
    on_two = await hold(service, "on-two", "tianjin")
    await follow(pair.one, pair.two)
    await cut_off(pair.one)  # from here on it lags behind
    late = [await hold(service, f"late-{n}") for n in range(3)]
    await drain(service)
    await make_primary(pair.one)
    pair.address.lead_to(pair.one.url)
    pair.address.reset()

    reserved = [
        await first_answer(lambda n=n: hold(service, f"acked-{n}", "tianjin")) for n in range(3)
    ]
    shard = service.stores.registry.shard("exam-1")
    with pytest.raises(QuotaError):
        await drain_journal(service.stores.maintenance, shard, 1000, 3)
    assert await first_answer(lambda: recover_shards(service)) == 1

    assert all(isinstance(answer, NotReady) for answer in reserved)
    assert [await state(service, each) for each in (known, on_two, *late)] == [State.HELD] * 5
    assert await ways(service) == ["rebuilt", "reopened", "reconciled"]
    await check_after(service, booked=0)
    assert settings.redis_url not in {pair.one.url, pair.two.url}


async def test_a_server_with_steps_the_ledger_never_took_over_is_rebuilt(pair: Pair) -> None:
    """It went on by itself while another one was primary: two histories, and one ledger."""
    service = pair.service
    await hold(service, "known", "tianjin")
    await drain(service)
    await follow(pair.two, pair.one)
    await cut_off(pair.two)
    alone: Reservation = await hold(service, "alone", "tianjin")
    await make_primary(pair.two)
    pair.address.lead_to(pair.two.url)
    pair.address.reset()
    assert await first_answer(lambda: recover_shards(service)) == 1
    kept = await hold(service, "kept", "tianjin")
    await drain(service)
    pair.address.lead_to(pair.one.url)
    pair.address.reset()

    assert await first_answer(lambda: recover_shards(service)) == 1

    assert (await ways(service))[-2:] == ["reopened", "rebuilt"]
    assert await state(service, kept) is State.HELD
    assert await service.stores.seats.read(*service.stores.registry.locate(alone.id)) is None
    assert await rows(service, "SELECT 1 FROM reservations WHERE id = $1", alone.id) == []
    await check_after(service, booked=0)


async def test_a_second_loss_before_the_first_was_drained_goes_on_from_the_first_origin(
    pair: Pair,
) -> None:
    service = pair.service
    await follow(pair.two, pair.one)
    await cut_off(pair.two)
    held = [await hold(service, f"held-{n}", "tianjin") for n in range(3)]
    booked = await book(service, "booked")
    await drain(service)
    kill(pair.one)
    await make_primary(pair.two)
    pair.address.lead_to(pair.two.url)
    assert await first_answer(lambda: recover_shards(service)) == 1
    kill(pair.two)
    pair.two.start()

    assert await first_answer(lambda: recover_shards(service)) == 1

    assert [await state(service, each) for each in held] == [State.HELD] * 3
    assert await state(service, booked) is State.CONFIRMED
    assert (await ways(service))[-2:] == ["reconciled", "reopened"]
    await check_after(service, booked=1)
    pair.one.start()


async def test_a_promoted_server_that_forgets_its_history_is_not_taken_for_another(
    pair: Pair,
) -> None:
    """As it does an hour after its last replica went, by default."""
    await hold(pair.service, "first", "tianjin")
    await drain(pair.service)
    await change_over(pair)
    await service_faults(pair.service)
    assert await first_answer(lambda: recover_shards(pair.service)) == 1
    async with client_of(pair.two) as client:
        before = (await client.info("replication"))["master_replid2"]
        await client.config_set("repl-backlog-ttl", 1)
        kill(pair.one)

        async def has_forgotten() -> bool:
            return bool((await client.info("replication"))["master_replid2"] != before)

        await eventually(has_forgotten)
    await service_faults(pair.service)

    held = await hold(pair.service, "second", "tianjin")

    assert await recover_shards(pair.service) == 0
    assert await state(pair.service, held) is State.HELD
    pair.one.start()
