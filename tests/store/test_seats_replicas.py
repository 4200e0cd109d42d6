"""A Redis that is a replica, or has too few: what is read, and what a write is told."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio

from quota_service.domain.errors import NotReady, SeatsUnavailable
from quota_service.domain.reservation import State
from quota_service.embedded import EmbeddedRedis
from quota_service.seats.store import SeatStore
from quota_service.settings import Settings
from tests.support.mortal_redis import client_of, follow
from tests.support.records import read_fields
from tests.support.redis_clients import server_setting
from tests.support.seats import SeatsUnderTest, open_seats, runner_of


@asynccontextmanager
async def away_from_its_master(client: "redis.asyncio.Redis") -> AsyncIterator[None]:
    """Let the server be a replica of a master that is not there."""
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        await client.execute_command("REPLICAOF", "NO", "ONE")


async def test_a_read_only_replica_is_unavailable(seats: SeatsUnderTest) -> None:
    serial = await seats.hold()

    async with away_from_its_master(seats.client):
        with pytest.raises(SeatsUnavailable, match="refused") as raised:
            await seats.store.release(seats.shard, serial)

    assert raised.value.applied is False
    assert (await read_fields(seats.client, seats.shard, serial))["state"] == "held"


async def test_a_replica_is_unavailable_to_a_process_that_connects_to_it(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    async with runner_of(redis_settings) as runner, away_from_its_master(seats.client):
        with pytest.raises(SeatsUnavailable, match="replica") as raised:
            await SeatStore(runner).read(seats.shard, "a" * 24)

    assert raised.value.applied is False


async def test_a_server_that_was_a_replica_meanwhile_is_not_ready_until_it_is_recovered(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold()
    async with away_from_its_master(seats.client):
        with pytest.raises(SeatsUnavailable):
            await seats.store.release(seats.shard, serial)

    for _ in range(2):
        with pytest.raises(NotReady):
            await seats.record(serial)


async def test_a_write_that_too_few_replicas_have_is_not_acknowledged_and_may_have_been_made(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    settings = dataclasses.replace(redis_settings, redis_wait_replicas=1, redis_command_timeout_s=3)
    request = seats.request()
    async with runner_of(settings) as runner:
        with pytest.raises(SeatsUnavailable, match="0 replicas have it, not 1") as raised:
            await SeatStore(runner).reserve(seats.shard, seats.exam, request)

    assert raised.value.applied is None
    assert (await seats.record(request.serial)).state is State.HELD


async def test_reads_go_on_while_too_few_replicas_have_what_is_written(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    settings = dataclasses.replace(redis_settings, redis_wait_replicas=1, redis_command_timeout_s=3)
    serial = await seats.hold("reader")
    async with runner_of(settings) as runner:
        store = SeatStore(runner)
        writes = (
            store.reserve(seats.shard, seats.exam, seats.request(f"candidate-{n}"))
            for n in range(2)
        )

        *written, read, clock_ms = await asyncio.gather(
            *writes, store.read(seats.shard, serial), store.clock_ms(), return_exceptions=True
        )

    assert [type(answer) for answer in written] == [SeatsUnavailable] * 2
    assert read == await seats.record(serial)
    assert isinstance(clock_ms, int)


@pytest.fixture
def replica(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """Another server of the same program."""
    with EmbeddedRedis(tmp_path, binary=request.node.callspec.params["redis_server"]) as server:
        yield server


async def test_a_write_that_enough_replicas_have_is_acknowledged(
    redis_settings: Settings, redis_server: EmbeddedRedis, replica: EmbeddedRedis
) -> None:
    settings = dataclasses.replace(redis_settings, redis_wait_replicas=1)
    await follow(replica, redis_server)
    async with open_seats(settings) as seats, client_of(replica) as copy:
        serials = [await seats.hold(f"candidate-{i}") for i in range(3)]
        copied = [await copy.exists(seats.shard.record_key(s)) for s in serials]

    assert copied == [1, 1, 1]


async def test_a_replica_that_may_not_serve_old_data_is_unavailable(
    seats: SeatsUnderTest,
) -> None:
    async with (
        server_setting(seats.client, "replica-serve-stale-data", "no"),
        away_from_its_master(seats.client),
    ):
        with pytest.raises(SeatsUnavailable, match="refused") as raised:
            await seats.reserve()
        with pytest.raises(SeatsUnavailable):
            await seats.store.journal(seats.shard, "0-0", 1)

    assert raised.value.applied is False
