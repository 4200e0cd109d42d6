"""The connection: opened as redis-py would, replies in order, and left when the server changed.

Over 400 lines because it follows one connection through all of its ends.
"""

import asyncio
import dataclasses
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from quota_service.embedded import EmbeddedRedis
from quota_service.seats.pipelined import Command, PipelinedConnection, UnsupportedServerError
from quota_service.seats.servers import redis_pool
from quota_service.settings import Settings
from tests.support.mortal_redis import restart
from tests.support.patience import LIMIT_S
from tests.support.scripted_redis import ScriptReply, scripted_redis, told
from tests.support.waiting import eventually, insisting

PASSWORD = "only tests know"
VALKEY_7 = told(redis_version="7.2.4", valkey_version="7.2.9")


@pytest.fixture(scope="module")
def redis_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("mortal-redis"), binary=request.param) as server:
        yield server


@asynccontextmanager
async def opened(
    settings: Settings, *, timeout_s: float = LIMIT_S
) -> AsyncIterator[PipelinedConnection]:
    connection = PipelinedConnection(redis_pool(settings), timeout_s=timeout_s)
    try:
        yield connection
    finally:
        await connection.aclose()


@pytest.fixture
async def other(redis_settings: Settings) -> AsyncIterator["redis.asyncio.Redis"]:
    """A client apart from the connection."""
    async with redis.asyncio.Redis.from_url(
        redis_settings.redis_url, decode_responses=True
    ) as client:
        yield client


async def send(connection: PipelinedConnection, *commands: Command) -> list[object]:
    """Send commands that are the same whatever run of the server they go to."""
    return await connection.send(lambda _run: commands)


async def run_of(connection: PipelinedConnection) -> str:
    """Return the run of the server as the commands are told of it."""
    (run,) = await connection.send(lambda run: [("ECHO", run)])
    return str(run)


async def connected(other: "redis.asyncio.Redis") -> list[str]:
    return [c["id"] for c in await other.client_list() if c["name"] == "quota-service"]


async def test_replies_come_back_in_the_order_of_their_commands(redis_settings: Settings) -> None:
    async with opened(redis_settings) as connection:
        batches = [
            send(connection, *(("ECHO", f"{batch}-{n}") for n in range(batch % 7 + 1)))
            for batch in range(50)
        ]
        replies = await asyncio.gather(*batches)

    assert replies == [[f"{b}-{n}" for n in range(b % 7 + 1)] for b in range(50)]


async def test_an_error_is_the_reply_of_its_own_command(redis_settings: Settings) -> None:
    async with opened(redis_settings) as connection:
        first, wrong, last = await send(
            connection, ("SET", "k", "1"), ("LPUSH", "k", "x"), ("GET", "k")
        )

    assert (first, last) == ("OK", "1")
    assert isinstance(wrong, ResponseError)


async def test_password_and_database_of_the_url_are_in_force(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    await other.config_set("requirepass", PASSWORD)
    place = urlsplit(redis_settings.redis_url)
    url = f"redis://:{PASSWORD.replace(' ', '%20')}@{place.hostname}:{place.port}/3"
    try:
        async with opened(dataclasses.replace(redis_settings, redis_url=url)) as connection:
            await send(connection, ("SET", "where", "here"))
    finally:
        await other.config_set("requirepass", "")

    assert await other.get("where") is None
    await other.select(3)
    assert await other.get("where") == "here"


async def test_everything_of_a_process_travels_on_one_connection(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with opened(redis_settings) as connection:
        await asyncio.gather(
            *(send(connection, ("ECHO", str(n))) for n in range(20)), connection.check()
        )
        count = len(await connected(other))

    assert count == 1


async def test_calls_in_flight_fail_with_their_connection_and_the_next_opens_another(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with opened(redis_settings) as connection:
        await send(connection, ("PING",))
        (before,) = await connected(other)
        waiting = [asyncio.create_task(send(connection, ("BLPOP", "nothing", 0))) for _ in range(3)]
        await asyncio.sleep(0)
        await other.client_kill_filter(_id=before)
        lost = await asyncio.gather(*waiting, return_exceptions=True)
        again = await send(connection, ("PING",))
        (after,) = await connected(other)

    assert [type(error) for error in lost] == [RedisConnectionError] * 3
    assert again == ["PONG"]
    assert before != after


async def test_calls_in_flight_fail_when_the_connection_is_closed(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with opened(redis_settings) as connection:
        await send(connection, ("PING",))
        waiting = asyncio.create_task(send(connection, ("BLPOP", "nothing", 0)))
        await asyncio.sleep(0)

    async def is_closed() -> bool:
        return await connected(other) == []

    with pytest.raises(RedisConnectionError):
        await waiting
    await eventually(is_closed)


async def test_calls_that_wait_for_a_connection_fail_when_it_is_closed(
    redis_settings: Settings,
) -> None:
    is_asked = asyncio.Event()

    def silent(_words: list[str]) -> None:
        is_asked.set()

    async with scripted_redis(silent) as url:
        settings = dataclasses.replace(redis_settings, redis_url=url)
        async with opened(settings) as connection:
            waiting = asyncio.create_task(send(connection, ("PING",)))
            await is_asked.wait()

        with pytest.raises(RedisConnectionError):
            await waiting


async def test_a_connection_that_was_closed_is_not_opened_again(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with opened(redis_settings) as connection:
        await send(connection, ("PING",))

    with pytest.raises(RedisConnectionError, match="was closed"):
        await send(connection, ("PING",))

    async def is_closed() -> bool:
        return await connected(other) == []

    await eventually(is_closed)


async def test_a_failure_that_is_told_again_and_again_takes_no_more_memory(
    redis_settings: Settings,
) -> None:
    depths = []

    async with scripted_redis(lambda _words: None) as url:
        settings = dataclasses.replace(redis_settings, redis_url=url)
        async with opened(settings, timeout_s=0.2) as connection:
            for _ in range(100):
                with pytest.raises((TimeoutError, RedisTimeoutError)) as failed:
                    await send(connection, ("PING",))
                depths.append(len(list(traceback.walk_tb(failed.value.__traceback__))))

    assert max(depths) < len(depths)  # each call would add its own frames, three of them


async def test_a_server_that_does_not_answer_in_time_is_left(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with opened(redis_settings, timeout_s=0.3) as connection:
        await insisting(lambda: send(connection, ("PING",)), TimeoutError, RedisError)
        (slow, behind) = await asyncio.gather(
            send(connection, ("BLPOP", "nothing", 0)),
            send(connection, ("PING",)),
            return_exceptions=True,
        )
        again = await insisting(lambda: send(connection, ("PING",)), TimeoutError, RedisError)

    assert isinstance(slow, RedisTimeoutError)
    assert isinstance(behind, RedisTimeoutError)
    assert again == ["PONG"]
    assert await other.ping()


@pytest.mark.parametrize("silent", ["HELLO", "INFO"])
async def test_a_server_that_does_not_greet_in_time_is_left(
    redis_settings: Settings, silent: str
) -> None:
    def answer(words: list[str]) -> bytes | None:
        return None if words[0] == silent else told()(words)

    async with scripted_redis(answer) as url:
        settings = dataclasses.replace(redis_settings, redis_url=url)
        async with opened(settings, timeout_s=0.1) as connection:
            with pytest.raises((TimeoutError, RedisTimeoutError)):
                await send(connection, ("PING",))


async def test_all_who_wait_for_a_connection_share_one_attempt_and_its_failure(
    redis_settings: Settings,
) -> None:
    healthy, asked = told(), []

    def silent(words: list[str]) -> bytes | None:
        if words[0].upper() != "INFO":
            return healthy(words)
        asked.append(words)
        return None

    async with scripted_redis(silent) as url:
        settings = dataclasses.replace(redis_settings, redis_url=url)
        async with opened(settings, timeout_s=0.2) as connection:
            waiting = (send(connection, ("PING",)) for _ in range(15))
            failed = await asyncio.gather(*waiting, return_exceptions=True)

    assert [isinstance(error, TimeoutError | RedisError) for error in failed] == [True] * 15
    assert len(asked) == 1


async def test_commands_are_made_for_the_run_of_the_server_they_go_to(
    redis_settings: Settings, redis_server: EmbeddedRedis
) -> None:
    async with opened(redis_settings) as connection, opened(redis_settings) as beside:
        first = [await run_of(connection), await run_of(connection), await run_of(beside)]
        restart(redis_server)
        with suppress(RedisError):
            await run_of(connection)  # the end of the connection may not have been heard of
        second = [await run_of(connection), await run_of(connection)]

    assert len(set(first)) == 1
    assert len(set(second)) == 1
    assert first[0] != second[0]


async def test_a_master_that_became_a_replica_is_left_for_whoever_is_master_now(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with opened(redis_settings) as connection:
        before = await run_of(connection)
        (link,) = await connected(other)
        await other.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            (refused,) = await send(connection, ("SET", "k", "2"))

            async def is_left() -> bool:
                return link not in await connected(other)

            await eventually(is_left)
        finally:
            await other.execute_command("REPLICAOF", "NO", "ONE")
        after = await run_of(connection)

    assert "read only" in str(refused)
    assert before != after


async def test_what_is_in_flight_behind_the_reply_of_a_replica_fails(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with opened(redis_settings) as connection:
        await send(connection, ("PING",))
        await other.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            (refused,), behind = await asyncio.gather(
                send(connection, ("SET", "k", "2")),
                send(connection, ("BLPOP", "nothing", 0)),
                return_exceptions=True,
            )
        finally:
            await other.execute_command("REPLICAOF", "NO", "ONE")

    assert isinstance(refused, ReadOnlyError)
    assert isinstance(behind, RedisConnectionError)


async def test_the_check_of_a_server_that_is_the_same_changes_nothing(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with opened(redis_settings) as connection:
        await connection.check()
        before = await connected(other)
        await connection.check()
        after = await connected(other)

    assert before == after
    assert len(before) == 1


async def test_the_check_leaves_a_server_that_was_a_replica_meanwhile(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with opened(redis_settings) as connection:
        before = await run_of(connection)
        await other.execute_command("REPLICAOF", "127.0.0.1", "1")
        await other.execute_command("REPLICAOF", "NO", "ONE")
        unnoticed = await run_of(connection)

        await connection.check()
        after = await run_of(connection)

    assert before == unnoticed
    assert before != after


async def test_the_check_leaves_a_server_that_is_a_replica(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with opened(redis_settings) as connection:
        before = await run_of(connection)
        await other.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            with pytest.raises(ReadOnlyError):
                await connection.check()
            with pytest.raises(ReadOnlyError):
                await run_of(connection)
        finally:
            await other.execute_command("REPLICAOF", "NO", "ONE")

        assert await run_of(connection) != before


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (told(redis_version="6.2.14"), UnsupportedServerError, "6.2.14; it takes 7.0 or newer"),
        (told(redis_version="5.0"), UnsupportedServerError, "5.0; it takes 7.0 or newer"),
        (VALKEY_7, UnsupportedServerError, "valkey is version 7.2.9; it takes 8.0 or newer"),
        (told(role="slave", master_host="10.0.0.7"), ReadOnlyError, "replica of 10.0.0.7"),
        (told(loading="1"), RedisConnectionError, "loading"),
    ],
)
async def test_a_server_that_cannot_serve_us_is_not_connected_to(
    redis_settings: Settings, answer: ScriptReply, error: type[RedisError], words: str
) -> None:
    asked: list[str] = []

    def listening(command: list[str]) -> bytes | None:
        asked.append(command[0])
        return answer(command)

    async with scripted_redis(listening) as url:
        settings = dataclasses.replace(redis_settings, redis_url=url)
        async with opened(settings) as connection:
            with pytest.raises(error, match=words):
                await send(connection, ("SET", "k", "1"))

    assert "SET" not in asked


@pytest.mark.parametrize(
    "versions",
    [
        {"redis_version": "7.0.0"},
        {"redis_version": "7.2.5"},
        {"redis_version": "8.2.1"},
        {"redis_version": "10.0.0"},
        {"redis_version": "7.2.4", "valkey_version": "8.0.0"},
        {"redis_version": "7.2.4", "valkey_version": "9.1.2"},
    ],
    ids=lambda versions: "-".join(versions.values()),
)
async def test_a_server_that_is_new_enough_is_served_by(
    redis_settings: Settings, versions: dict[str, str]
) -> None:
    async with scripted_redis(told(**versions)) as url:
        settings = dataclasses.replace(redis_settings, redis_url=url)
        async with opened(settings) as connection:
            assert await send(connection, ("SET", "k", "1")) == ["OK"]


@pytest.mark.parametrize("changed", ["run_id", "master_replid2"])
async def test_a_run_is_another_after_a_start_and_after_a_promotion(
    redis_settings: Settings, changed: str
) -> None:
    runs = []
    for answer in (told(), told(), told(**{changed: "1" * 40})):
        async with scripted_redis(answer) as url:
            settings = dataclasses.replace(redis_settings, redis_url=url)
            async with opened(settings) as connection:
                made: list[str] = []
                await connection.send(lambda run, made=made: [("SET", made.append(run) or run, 1)])
                runs += made

    assert runs[0] == runs[1]
    assert runs[1] != runs[2]


async def test_what_is_said_unasked_answers_nobody(
    redis_settings: Settings, other: "redis.asyncio.Redis"
) -> None:
    async with opened(redis_settings) as connection:
        tracking, _ = await send(connection, ("CLIENT", "TRACKING", "ON"), ("GET", "watched"))
        await other.set("watched", "changed")
        replies = [await send(connection, ("ECHO", str(n))) for n in range(5)]

    assert tracking == "OK"
    assert replies == [[str(n)] for n in range(5)]


async def test_a_caller_who_leaves_does_not_put_the_replies_out_of_step(
    redis_settings: Settings,
) -> None:
    async with opened(redis_settings) as connection:
        await send(connection, ("PING",))
        leaving = asyncio.create_task(send(connection, ("ECHO", "left")))
        staying = asyncio.create_task(send(connection, ("ECHO", "stayed")))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)

        assert await staying == ["stayed"]
