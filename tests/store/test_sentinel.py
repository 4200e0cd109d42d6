"""The primary that Sentinels name: asked for again after each loss, and left when it is former."""

import asyncio
import dataclasses
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import NotReady, SeatsUnavailable
from quota_service.domain.reservation import State
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings
from tests.support.bookings import book, now
from tests.support.exams import make_exam
from tests.support.lost_shards import first_answer, recover_shards
from tests.support.patience import LIMIT_S
from tests.support.redis_sentinel import Watched, service_client, watched_redis
from tests.support.servers import kill
from tests.support.use_cases import hold
from tests.support.waiting import eventually, insisting


@dataclasses.dataclass(frozen=True, slots=True)
class Guarded:
    """A service on a primary that Sentinels watch, with the test exam."""

    redis: Watched
    service: Service

    async def steps(self) -> dict[str, int]:
        """Return how many scripts each server was asked to run."""
        counts = {}
        for name, server in (("one", self.redis.one), ("two", self.redis.two)):
            async with service_client(server) as client:
                stats = await client.info("commandstats")
            counts[name] = int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])
        return counts


@pytest.fixture
async def guarded(settings: Settings, tmp_path: Path) -> AsyncIterator[Guarded]:
    async with (
        watched_redis(tmp_path / "watched") as watched,
        open_service(dataclasses.replace(settings, redis_url=watched.url)) as service,
    ):
        await refresh_memory(service)
        await import_exam(service.stores.maintenance, make_exam())
        yield Guarded(watched, service)


async def test_a_promoted_replica_is_found_fenced_and_recovered(guarded: Guarded) -> None:
    service = guarded.service
    booked = await book(service, "booked")
    kill(guarded.redis.one)
    await guarded.redis.promoted()

    refused = await first_answer(lambda: hold(service, "later"))
    recovered = await recover_shards(service)
    held = await hold(service, "later")

    assert isinstance(refused, NotReady)
    assert (recovered, held.state) == (1, State.HELD)
    assert (await now(service, booked)).state is State.CONFIRMED


async def test_a_former_primary_that_answers_is_left_and_never_written_to(guarded: Guarded) -> None:
    service = guarded.service
    await hold(service, "first")
    await guarded.redis.cut_off(guarded.redis.one)
    await guarded.redis.promoted()
    await service.stores.runners.check()  # as each process does once a second
    before = await guarded.steps()

    refused = await first_answer(lambda: hold(service, "later"))
    recovered = await recover_shards(service)
    held = await hold(service, "later")
    after = await guarded.steps()
    await guarded.redis.cut_off(guarded.redis.one, is_cut=False)

    async def follows() -> bool:
        async with service_client(guarded.redis.one) as client:
            return (await client.role())[0] == "slave"

    await eventually(follows)

    assert isinstance(refused, NotReady)
    assert (recovered, held.state) == (1, State.HELD)
    assert after["one"] == before["one"]
    assert after["two"] > before["two"]
    assert (await hold(service, "after that")).state is State.HELD


async def test_a_process_that_knows_of_no_failover_recovers_nothing_on_the_former_primary(
    guarded: Guarded,
) -> None:
    service, key = guarded.service, "{exam-1:0}:epoch"
    await hold(service, "first")
    await guarded.redis.cut_off(guarded.redis.one)
    await guarded.redis.promoted()
    async with open_service(service.settings) as other:
        await refresh_memory(other)
        assert await recover_shards(other) == 1
        async with service_client(guarded.redis.one) as client:
            before = await client.get(key)
            await service.stores.registry.refresh()
            recovered = await recover_shards(service)
            after = await client.get(key)
        answered = await hold(other, "second")

    assert (recovered, after) == (0, before)
    assert answered.state is State.HELD


async def test_without_a_majority_of_sentinels_a_server_that_may_be_former_is_not_recovered(
    guarded: Guarded,
) -> None:
    service, key = guarded.service, "{exam-1:0}:epoch"
    await hold(service, "first")
    await guarded.redis.cut_off(guarded.redis.one)
    await guarded.redis.promoted()
    async with open_service(service.settings) as other:
        await refresh_memory(other)
        assert await recover_shards(other) == 1
        for sentinel in guarded.redis.sentinels[:2]:
            sentinel.stop()
        async with service_client(guarded.redis.one) as client:
            before = await client.get(key)
            await service.stores.registry.refresh()
            with pytest.raises(SeatsUnavailable, match="1 of 3 Sentinels know a primary"):
                await recover_shards(service)
            after = await client.get(key)
        answered = await hold(other, "second")

    assert after == before
    assert answered.state is State.HELD


async def test_a_sentinel_without_an_answer_holds_up_no_connection(guarded: Guarded) -> None:
    limits = {"redis_connect_timeout_s": LIMIT_S, "redis_command_timeout_s": LIMIT_S}
    settings = dataclasses.replace(guarded.service.settings, **limits)
    guarded.redis.sentinels[0].process.send_signal(signal.SIGSTOP)

    async with open_service(settings) as service:
        await refresh_memory(service)
        held = await hold(service, "first")

    assert held.state is State.HELD


async def test_recoveries_that_look_for_the_primary_at_once_ask_the_sentinels_once(
    guarded: Guarded,
) -> None:
    stores = guarded.service.stores
    shard = stores.registry.shard("exam-1")
    await hold(guarded.service, "first")

    await asyncio.gather(*(stores.maintenance.recovery.find(shard) for _ in range(20)))

    assert (await hold(guarded.service, "second")).state is State.HELD


async def test_a_minority_of_sentinels_names_no_primary(guarded: Guarded) -> None:
    service = guarded.service
    await hold(service, "first")
    for sentinel in guarded.redis.sentinels[:2]:
        sentinel.stop()
    await service.stores.runners.check()  # the primary that answers is kept
    held = await hold(service, "second")
    kill(guarded.redis.one)
    guarded.redis.one.start()

    with pytest.raises(SeatsUnavailable):
        await hold(service, "third")  # the connection that was lost
    with pytest.raises(SeatsUnavailable, match="1 of 3 Sentinels know a primary"):
        await hold(service, "third")

    assert held.state is State.HELD


async def test_a_primary_that_no_sentinel_knows_is_named(guarded: Guarded) -> None:
    url = guarded.redis.url.replace("/seats/", "/chairs/")
    settings = dataclasses.replace(guarded.service.settings, redis_url=url)

    async with open_service(settings) as service:
        await refresh_memory(service)
        with pytest.raises(SeatsUnavailable) as unavailable:
            await hold(service, "first")

    told = str(unavailable.value)
    assert "0 of 3 Sentinels know a primary called 'chairs': it knows none" in told


async def test_of_the_sentinels_a_replica_is_never_the_primary(guarded: Guarded) -> None:
    """A Sentinel names a server that has become a replica meanwhile: nothing is written to it."""
    hasty = dataclasses.replace(
        guarded.service.settings, redis_connect_timeout_s=1, redis_command_timeout_s=2
    )
    async with open_service(hasty) as service:
        await refresh_memory(service)
        await insisting(lambda: hold(service, "first"), SeatsUnavailable)
        for sentinel in guarded.redis.sentinels:
            sentinel.process.send_signal(signal.SIGSTOP)  # what they said last stays
        async with service_client(guarded.redis.one) as client:
            await client.execute_command("REPLICAOF", "127.0.0.1", "1")

        with pytest.raises(SeatsUnavailable):
            await hold(service, "second")
        with pytest.raises(SeatsUnavailable):
            await service.stores.runners.check()
