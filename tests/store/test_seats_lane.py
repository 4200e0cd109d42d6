"""The connection of scripts: opened as redis-py would, replies in order, and replaced when lost."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from quota_service.embedded import EmbeddedRedis
from quota_service.seats.connection import open_redis
from quota_service.seats.lane import ScriptLane
from quota_service.settings import Settings

PASSWORD = "only tests know"


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("lane-redis")) as server:
        yield server


@asynccontextmanager
async def lane_of(settings: Settings, *, timeout_s: float = 5) -> AsyncIterator[ScriptLane]:
    client = open_redis(settings)
    lane = ScriptLane(client.connection_pool, timeout_s=timeout_s)
    try:
        yield lane
    finally:
        await lane.aclose()
        await client.aclose()


@pytest.fixture
async def other(redis_settings: Settings) -> AsyncIterator["redis.asyncio.Redis"]:
    """A client apart from the lane."""
    async with redis.asyncio.Redis.from_url(
        redis_settings.redis_url, decode_responses=True
    ) as client:
        yield client


async def lanes_connected(other: "redis.asyncio.Redis") -> list[str]:
    return [c["id"] for c in await other.client_list() if c["name"] == "quota-service"]


async def test_replies_come_back_in_the_order_of_their_commands(redis_settings: Settings) -> None:
    async with lane_of(redis_settings) as lane:
        batches = [
            lane.send([("ECHO", f"{batch}-{n}") for n in range(batch % 7 + 1)])
            for batch in range(50)
        ]
        replies = await asyncio.gather(*batches)

    assert replies == [[f"{b}-{n}" for n in range(b % 7 + 1)] for b in range(50)]


async def test_an_error_is_the_reply_of_its_own_command(redis_settings: Settings) -> None:
    async with lane_of(redis_settings) as lane:
        first, wrong, last = await lane.send([("SET", "k", "1"), ("LPUSH", "k", "x"), ("GET", "k")])

    assert (first, last) == ("OK", "1")
    assert isinstance(wrong, ResponseError)


async def test_password_and_database_of_the_url_are_in_force(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    await other.config_set("requirepass", PASSWORD)
    place = urlsplit(redis_settings.redis_url)
    url = f"redis://:{PASSWORD.replace(' ', '%20')}@{place.hostname}:{place.port}/3"
    try:
        async with lane_of(dataclasses.replace(redis_settings, redis_url=url)) as lane:
            await lane.send([("SET", "where", "here")])
    finally:
        await other.config_set("requirepass", "")

    assert await other.get("where") is None
    await other.select(3)
    assert await other.get("where") == "here"


async def test_calls_under_way_fail_with_their_connection_and_the_next_opens_another(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with lane_of(redis_settings) as lane:
        await lane.send([("PING",)])
        (before,) = await lanes_connected(other)
        waiting = [asyncio.create_task(lane.send([("BLPOP", "nothing", 0)])) for _ in range(3)]
        await asyncio.sleep(0)
        await other.client_kill_filter(_id=before)
        lost = await asyncio.gather(*waiting, return_exceptions=True)
        again = await lane.send([("PING",)])
        (after,) = await lanes_connected(other)

    assert [type(error) for error in lost] == [RedisConnectionError] * 3
    assert again == ["PONG"]
    assert before != after


async def test_a_server_that_does_not_answer_in_time_is_left(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with lane_of(redis_settings, timeout_s=0.1) as lane:
        (slow, behind) = await asyncio.gather(
            lane.send([("BLPOP", "nothing", 0)]), lane.send([("PING",)]), return_exceptions=True
        )
        again = await lane.send([("PING",)])

    assert isinstance(slow, RedisTimeoutError)
    assert isinstance(behind, RedisTimeoutError)
    assert again == ["PONG"]
    assert await other.ping()


async def test_a_master_that_became_a_replica_is_left_for_whoever_is_master_now(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with lane_of(redis_settings) as lane:
        await lane.send([("PING",)])
        (before,) = await lanes_connected(other)
        await other.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            (refused,) = await lane.send([("SET", "k", "2")])
        finally:
            await other.execute_command("REPLICAOF", "NO", "ONE")
        await lane.send([("PING",)])
        (after,) = await lanes_connected(other)

    assert "read only" in str(refused)
    assert before != after


async def test_what_is_said_unasked_answers_nobody(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with lane_of(redis_settings) as lane:
        tracking, _ = await lane.send([("CLIENT", "TRACKING", "ON"), ("GET", "watched")])
        await other.set("watched", "changed")
        replies = [await lane.send([("ECHO", str(n))]) for n in range(5)]

    assert tracking == "OK"
    assert replies == [[str(n)] for n in range(5)]


async def test_a_caller_who_leaves_does_not_put_the_replies_out_of_step(
    redis_settings: Settings,
) -> None:
    async with lane_of(redis_settings) as lane:
        await lane.send([("PING",)])
        leaving = asyncio.create_task(lane.send([("ECHO", "left")]))
        staying = asyncio.create_task(lane.send([("ECHO", "stayed")]))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)

        assert await staying == ["stayed"]
