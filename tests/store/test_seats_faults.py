"""Redis full, too old, busy, slow or gone: unavailable, with what is known of the effect."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import redis.asyncio

from quota_service.domain.errors import SeatsUnavailable
from quota_service.domain.reservation import State
from quota_service.seats.codes import Code
from quota_service.seats.connection import BatchLimits
from quota_service.seats.fitness import server_warnings
from quota_service.seats.store import SeatStore
from quota_service.settings import Settings
from tests.support.books import check_books
from tests.support.records import move_due
from tests.support.redis_clients import server_setting, writes_held
from tests.support.scripted_redis import scripted_redis, told
from tests.support.seats import SeatsUnderTest, runner_of
from tests.support.waiting import insisting


@asynccontextmanager
async def forbidden(client: "redis.asyncio.Redis", command: str) -> AsyncIterator[None]:
    """Let the server refuse a command to everybody for a while."""
    await client.execute_command("ACL", "SETUSER", "default", f"-{command}")
    try:
        yield
    finally:
        await client.execute_command("ACL", "SETUSER", "default", f"+{command}")


@asynccontextmanager
async def hasty(settings: Settings) -> AsyncIterator[SeatStore]:
    """Lend a store that waits for Redis a third of a second at most."""
    hasty_settings = dataclasses.replace(settings, redis_command_timeout_s=0.3)
    async with runner_of(hasty_settings) as runner:
        yield SeatStore(runner)


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
        await seats.begin_payment(paying)
        await seats.store.confirm(seats.shard, paying)
        await seats.store.expire(seats.shard, [unpaid])
        await seats.store.release(seats.shard, given_back)
        await seats.begin_payment(lost)
        await seats.store.abandon_payment(seats.shard, lost, "attempt-1", grace_ms=0)
        await seats.snapshot()

    states = [(await seats.record(s)).state for s in (paying, unpaid, given_back, lost)]
    assert states == [State.CONFIRMED, State.EXPIRED, State.RELEASED, State.HELD]


async def test_a_server_that_is_too_old_is_unavailable(seats: SeatsUnderTest) -> None:
    too_old = told(redis_version="6.2.14")
    async with scripted_redis(too_old) as url, runner_of(Settings(redis_url=url)) as runner:
        for call in (SeatStore(runner).read(seats.shard, "a" * 24), runner.check()):
            with pytest.raises(SeatsUnavailable, match=r"6\.2\.14") as raised:
                await call

            assert raised.value.applied is False


async def test_a_server_that_forgets_its_scripts_as_soon_as_it_has_them_is_unavailable(
    seats: SeatsUnderTest,
) -> None:
    asked: list[str] = []

    def forgetful(words: list[str]) -> bytes | None:
        asked.append(words[0])
        if words[0] == "EVALSHA":
            return b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
        return told()(words)

    async with scripted_redis(forgetful) as url, runner_of(Settings(redis_url=url)) as runner:
        with pytest.raises(SeatsUnavailable, match="No matching script") as raised:
            await SeatStore(runner).release(seats.shard, "a" * 24)

    assert raised.value.applied is False
    assert asked.count("EVALSHA") == 2
    assert asked.count("SCRIPT") == len(runner.scripts)


async def test_scripts_that_cannot_be_loaded_are_unavailable(
    seats: SeatsUnderTest,
) -> None:
    await seats.client.script_flush()
    async with forbidden(seats.client, "script|load"):
        with pytest.raises(SeatsUnavailable) as raised:
            await seats.reserve()

    assert raised.value.applied is False
    assert (await seats.reserve()).code is Code.DONE


async def test_a_server_busy_with_a_script_that_never_ends_is_unavailable(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    blocker = redis.asyncio.Redis.from_url(redis_settings.redis_url)
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
    async with hasty(redis_settings) as store:
        await insisting(lambda: store.read(seats.shard, "a" * 24), SeatsUnavailable)
        async with writes_held(seats.client):
            with pytest.raises(SeatsUnavailable) as raised:
                await store.reserve(seats.shard, seats.exam, request)

        again = await insisting(
            lambda: store.reserve(seats.shard, seats.exam, request), SeatsUnavailable
        )

    assert raised.value.applied is None
    assert again.code in {Code.DONE, Code.DONE_BEFORE}
    assert await seats.remaining("jinan", "general") == 2


async def test_an_answer_that_comes_too_late_is_never_taken_for_that_of_another_call(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    serials = [await seats.hold(f"candidate-{i}") for i in range(3)]
    async with hasty(redis_settings) as store:
        await insisting(lambda: store.read(seats.shard, serials[0]), SeatsUnavailable)
        async with writes_held(seats.client):
            late = await asyncio.gather(
                *(store.checkout(seats.shard, serial, 1000) for serial in serials),
                return_exceptions=True,
            )

        found = [
            await insisting(partial(store.read, seats.shard, serial), SeatsUnavailable)
            for serial in serials * 3
        ]

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
    async with runner_of(settings) as runner:
        for call in (runner.check, runner.clock_ms, lambda: server_warnings(runner)):
            with pytest.raises(SeatsUnavailable):
                await call()


async def test_more_batches_at_once_than_may_be_in_flight_all_get_their_turn(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    settings = redis_settings.with_limits(BatchLimits(batch_max=1, in_flight_max=8))
    async with runner_of(settings) as runner:
        store = SeatStore(runner)

        found = await asyncio.gather(
            *(
                store.reserve(seats.shard, seats.exam, seats.request(f"candidate-{i}"))
                for i in range(50)
            )
        )

    assert [answer.code for answer in found].count(Code.DONE) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxmemory-policy", "allkeys-lru"),
        ("appendonly", "no"),
        ("appendfsync", "everysec"),
        ("appendfsync", "no"),
    ],
)
async def test_settings_the_promises_do_not_rest_on_are_reported(
    seats: SeatsUnderTest, name: str, value: str
) -> None:
    before = await server_warnings(seats.runner)
    async with server_setting(seats.client, name, value):
        warned = await server_warnings(seats.runner)

    assert before == []
    assert [warning for warning in warned if f"{name} is {value!r}" in warning] == warned
    assert len(warned) == 1


async def test_a_server_that_hides_its_settings_is_reported(seats: SeatsUnderTest) -> None:
    async with forbidden(seats.client, "config|get"):
        warned = await server_warnings(seats.runner)

    assert [warning for warning in warned if "does not show its settings" in warning] == warned
    assert len(warned) == 1


async def test_a_client_that_gives_up_a_batch_leaves_balanced_books(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    async with runner_of(redis_settings) as runner:
        store = SeatStore(runner)
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
