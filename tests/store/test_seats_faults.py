"""Redis full, read-only, busy, slow or gone: unavailable, with what is known of the effect."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis.asyncio

from quota_service.domain.errors import SeatsUnavailable
from quota_service.domain.reservation import State
from quota_service.observability.metrics import Metrics
from quota_service.seats.codes import Code
from quota_service.seats.connection import ScriptRunner, open_redis, server_warnings
from quota_service.seats.scripts import load_scripts
from quota_service.seats.store import SeatStore
from quota_service.settings import Settings
from tests.support.books import check_books
from tests.support.records import move_due
from tests.support.seats import SeatsUnderTest


@asynccontextmanager
async def server_setting(
    client: "redis.asyncio.Redis", name: str, value: str
) -> AsyncIterator[None]:
    """Change a setting of the server for a while."""
    before = (await client.config_get(name))[name]
    await client.config_set(name, value)
    try:
        yield
    finally:
        await client.config_set(name, before)


@asynccontextmanager
async def away_from_its_master(client: "redis.asyncio.Redis") -> AsyncIterator[None]:
    """Let the server be a replica of a master that is not there."""
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        await client.execute_command("REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def paused(client: "redis.asyncio.Redis") -> AsyncIterator[None]:
    """Let the server answer no call that may write, for a while."""
    await client.client_pause(60_000, all=False)
    try:
        yield
    finally:
        await client.client_unpause()


@asynccontextmanager
async def hasty(seats: SeatsUnderTest, settings: Settings) -> AsyncIterator[SeatStore]:
    """Lend a store that waits for Redis a tenth of a second at most."""
    hasty_settings = dataclasses.replace(settings, redis_command_timeout_s=0.1)
    client = open_redis(hasty_settings)
    runner = ScriptRunner(client, load_scripts(), hasty_settings, seats.metrics)
    try:
        yield SeatStore(runner)
    finally:
        await runner.aclose()
        await client.aclose()


async def test_a_full_redis_takes_no_hold_and_says_that_nothing_happened(
    seats: SeatsUnderTest,
) -> None:
    async with server_setting(seats.client, "maxmemory", "1"):
        with pytest.raises(SeatsUnavailable) as raised:
            await seats.reserve()

    assert raised.value.applied is False
    assert await seats.verbs() == []


async def test_a_full_redis_still_records_payments_and_gives_seats_back(
    seats: SeatsUnderTest,
) -> None:
    paying, unpaid, given_back, lost = [
        await seats.hold(f"candidate-{i}", ("general",), ("tianjin",)) for i in range(4)
    ]
    await move_due(seats.client, seats.shard, unpaid)
    async with server_setting(seats.client, "maxmemory", "1"):
        await seats.pin(paying)
        await seats.store.confirm(seats.shard, paying)
        await seats.store.expire(seats.shard, [unpaid])
        await seats.store.release(seats.shard, given_back)
        await seats.pin(lost)
        await seats.store.unpin(seats.shard, lost, "pin-1", grace_ms=0)
        await seats.snapshot()

    states = [(await seats.record(s)).state for s in (paying, unpaid, given_back, lost)]
    assert states == [State.CONFIRMED, State.EXPIRED, State.RELEASED, State.HELD]


async def test_a_read_only_replica_is_unavailable(seats: SeatsUnderTest) -> None:
    serial = await seats.hold()

    async with away_from_its_master(seats.client):
        with pytest.raises(SeatsUnavailable, match="refused") as raised:
            await seats.store.release(seats.shard, serial)

    assert raised.value.applied is False
    assert (await seats.record(serial)).state is State.HELD


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


async def test_a_server_busy_with_a_script_that_never_ends_is_unavailable(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    blocker = open_redis(redis_settings)
    async with server_setting(seats.client, "busy-reply-threshold", "1"):
        endless = asyncio.create_task(blocker.eval("while true do end", 0))
        refusal: SeatsUnavailable | None = None
        while refusal is None:
            try:
                await seats.store.read(seats.shard, "a" * 24)
            except SeatsUnavailable as error:
                refusal = error
        await seats.client.script_kill()
        await asyncio.wait([endless])
    await blocker.aclose()

    assert refusal.applied is False
    assert endless.exception() is not None
    assert (await seats.reserve()).code is Code.DONE


async def test_a_call_that_redis_does_not_answer_in_time_may_have_run(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    request = seats.request()
    async with hasty(seats, redis_settings) as store:
        async with paused(seats.client):
            with pytest.raises(SeatsUnavailable) as raised:
                await store.reserve(seats.shard, seats.exam, request)

        again = await store.reserve(seats.shard, seats.exam, request)

    assert raised.value.applied is None
    assert again.code in {Code.DONE, Code.DONE_BEFORE}
    assert await seats.remaining("jinan", "general") == 2


async def test_an_answer_that_comes_too_late_is_never_taken_for_that_of_another_call(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    serials = [await seats.hold(f"candidate-{i}") for i in range(3)]
    async with hasty(seats, redis_settings) as store:
        await store.read(seats.shard, serials[0])
        async with paused(seats.client):
            late = await asyncio.gather(
                *(store.checkout(seats.shard, serial, 1000) for serial in serials),
                return_exceptions=True,
            )

        found = [await store.read(seats.shard, serial) for serial in serials * 3]

    assert [type(error) for error in late] == [SeatsUnavailable] * 3
    assert [r and r.candidate for r in found] == [f"candidate-{i}" for i in range(3)] * 3


async def test_a_closed_connection_costs_one_call_at_most(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    store = seats.store
    await store.read(seats.shard, "a" * 24)
    killer = redis.asyncio.Redis.from_url(redis_settings.redis_url)
    await killer.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await killer.aclose()

    results = []
    for _ in range(4):
        try:
            results.append(await store.read(seats.shard, "a" * 24))
        except SeatsUnavailable as error:
            results.append(error)

    await seats.client.connection_pool.disconnect()  # the test's own were closed too
    assert [result for result in results[1:] if result is not None] == []


async def test_a_redis_that_is_away_is_unavailable_and_no_fault_of_ours() -> None:
    settings = Settings(redis_url="redis://127.0.0.1:1/0", redis_connect_timeout_s=0.5)
    client = open_redis(settings)
    runner = ScriptRunner(client, load_scripts(), settings, Metrics())

    for call in (runner.load, runner.check_scripts, runner.clock_ms):
        with pytest.raises(SeatsUnavailable):
            await call()
    with pytest.raises(SeatsUnavailable):
        await server_warnings(client)
    await client.aclose()


async def test_more_calls_at_once_than_connections_all_get_their_turn(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    settings = dataclasses.replace(
        redis_settings, redis_connections_max=2, redis_batch_max=1, redis_batches_in_flight_max=8
    )
    client = open_redis(settings)
    runner = ScriptRunner(client, load_scripts(), settings, seats.metrics)
    store = SeatStore(runner)

    found = await asyncio.gather(
        *(
            store.reserve(seats.shard, seats.exam, seats.request(f"candidate-{i}"))
            for i in range(50)
        )
    )
    await runner.aclose()
    await client.aclose()

    assert [answer.code for answer in found].count(Code.DONE) == 3


async def test_settings_the_promises_do_not_rest_on_are_reported(seats: SeatsUnderTest) -> None:
    async with server_setting(seats.client, "maxmemory-policy", "allkeys-lru"):
        warned = await server_warnings(seats.client)

    assert any("maxmemory-policy is 'allkeys-lru'" in warning for warning in warned)


async def test_a_client_that_gives_up_a_batch_leaves_balanced_books(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    async with hasty(seats, redis_settings) as store:
        calls = [
            asyncio.create_task(
                store.reserve(seats.shard, seats.exam, seats.request(f"candidate-{i}"))
            )
            for i in range(30)
        ]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(result) for result in results[::2]] == [asyncio.CancelledError] * 15
    await check_books(seats.client, seats.shard)
