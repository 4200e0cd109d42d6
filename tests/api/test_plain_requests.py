"""Plain requests, answered beside aiohttp, and the others, which are left to it.

Whichever lane a request takes, its answer is the same but for the headers of the moment.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
import redis.asyncio

from quota_service.api.json_calls import JsonCalls
from quota_service.http.application import PlainRequest
from quota_service.http.protocol import Connection
from tests.conftest import Running
from tests.support.client import Reply
from tests.support.raw_http import Connection as Connected
from tests.support.raw_http import connect, next_reply, order, request, reset
from tests.support.redis_clients import writes_held
from tests.support.refusals import assert_refused
from tests.support.waiting import eventually

HOT = "/v1/exams/exam-1/availability"


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The routes of the requests that were plain, in order."""
    routes: list[str] = []
    take = JsonCalls.take

    def watched(calls: JsonCalls, connection: Connection, plain: PlainRequest) -> None:
        routes.append(plain.found.call.route.path)
        take(calls, connection, plain)

    monkeypatch.setattr(JsonCalls, "take", watched)
    return routes


def get(path: str = HOT, *headers: str) -> bytes:
    return request("GET", path, *headers, keeps=True)


def reservation(running: Running, candidate: str, *, chunked: bool = False) -> bytes:
    return order(running.client.frontend_key, candidate, venues=["tianjin"], chunked=chunked)


@asynccontextmanager
async def connection(running: Running) -> AsyncIterator[Connected]:
    reader, writer = await connect(running.addresses.api)
    try:
        yield reader, writer
    finally:
        writer.close()


async def sent(running: Running, pieces: Iterable[bytes]) -> Reply:
    """Send a request in pieces that arrive apart, and return its answer."""
    async with connection(running) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        return await next_reply(reader)


async def test_a_plain_request_is_answered_beside_aiohttp(
    running: Running, taken: list[str]
) -> None:
    reply = await sent(running, [get()])

    assert (reply.status, reply.json["exam"]) == (200, "exam-1")
    assert reply.headers["X-Request-ID"]
    assert taken == ["/v1/exams/{exam}/availability"]


@pytest.mark.parametrize(
    "unusual",
    [
        get(HOT, "Connection: close"),
        get().replace(b"HTTP/1.1", b"HTTP/1.0"),
        get(HOT, "Expect: 100-continue"),
        get("/v1/exams/exam%2D1/availability"),
    ],
    ids=["connection-close", "http-1.0", "expect", "escaped-address"],
)
async def test_what_is_unusual_goes_another_way_to_the_same_answer(
    running: Running, taken: list[str], unusual: bytes
) -> None:
    usual = await sent(running, [get()])
    assert len(taken) == 1
    async with connection(running) as (reader, writer):
        writer.write(unusual)
        answer = await next_reply(reader)
        if b"Expect" in unusual:
            assert answer.status == 100
            answer = await next_reply(reader)

    assert answer.status == usual.status
    for name in ("Content-Type", "ETag", "Cache-Control", "Content-Length"):
        assert answer.headers[name] == usual.headers[name]
    assert len(taken) == 1


async def test_an_order_in_pieces_or_chunks_is_taken_like_a_whole_one(
    running: Running, taken: list[str]
) -> None:
    whole = reservation(running, "candidate-1")
    first = await sent(running, [whole])
    pieces = await sent(running, [whole[:50], whole[50:-20], whole[-20:]])
    chunks = await sent(running, [reservation(running, "candidate-1", chunked=True)])

    assert first.status == 201
    for again in (pieces, chunks):
        assert (again.status, again.json) == (201, first.json)
        assert again.headers["Idempotency-Replayed"] == "true"
    assert taken == ["/v1/exams/{exam}/reservations"] * 2


async def test_requests_sent_without_waiting_are_answered_in_order(running: Running) -> None:
    requests = [get(), reservation(running, "candidate-1"), get("/livez"), get()]
    async with connection(running) as (reader, writer):
        writer.write(b"".join(requests))
        together = [await next_reply(reader) for _ in requests]
    async with connection(running) as (reader, writer):
        for each in [reservation(running, "candidate-2"), *requests]:
            writer.write(each)
            await asyncio.sleep(0.002)
        apart = [await next_reply(reader) for _ in range(5)]

    assert [answer.status for answer in together] == [200, 201, 200, 200]
    assert [answer.status for answer in apart] == [201, 200, 201, 200, 200]
    assert apart[0].json["candidate"] == "candidate-2"
    assert apart[2].json["candidate"] == "candidate-1"
    assert [answer.json["status"] for answer in (together[2], apart[3])] == ["ok", "ok"]


async def test_what_comes_while_an_order_waits_for_redis_is_held_and_then_answered(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    async with connection(running) as (reader, writer):
        async with writes_held(redis_client):
            writer.write(reservation(running, "candidate-1"))
            await eventually(lambda: _in_flight(running, 1))
            for _ in range(3):
                writer.write(get())
                await writer.drain()
                await asyncio.sleep(0.01)
        statuses = [(await next_reply(reader)).status for _ in range(4)]

    assert statuses == [201, 200, 200, 200]


async def test_a_client_that_leaves_before_its_answer_has_its_seat_and_is_counted(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    async with connection(running) as (_, writer), writes_held(redis_client):
        writer.write(reservation(running, "candidate-1"))
        await eventually(lambda: _in_flight(running, 1))
        reset(writer)
    await eventually(lambda: _in_flight(running, 0))

    again = await sent(running, [reservation(running, "candidate-1")])
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    labels = {"method": "POST", "route": "/v1/exams/{exam}/reservations", "status": "499"}
    count = "quota_http_request_duration_seconds_count"
    assert running.service.metrics.registry.get_sample_value(count, labels) == 1


async def test_a_client_that_does_not_read_is_not_read_from(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    transports: list[asyncio.Transport] = []
    made = Connection.connection_made

    def remember(protocol: Connection, transport: asyncio.Transport) -> None:
        made(protocol, transport)
        transport.set_write_buffer_limits(high=1024)
        transports.append(transport)

    monkeypatch.setattr(Connection, "connection_made", remember)
    asked = 16_000
    async with connection(running) as (reader, writer):

        async def ask() -> None:
            for _ in range(asked):
                writer.write(get())
                await writer.drain()

        asking = asyncio.create_task(ask())

        async def is_stalled() -> bool:
            return bool(transports) and not transports[0].is_reading()

        await eventually(is_stalled)
        assert transports[0].get_write_buffer_size() < 1_000_000
        statuses = [(await next_reply(reader)).status for _ in range(asked)]
        await asking

    assert statuses == [200] * asked


async def test_a_refusal_of_the_lane_is_a_problem_like_any_other(
    running: Running, taken: list[str]
) -> None:
    wrong = reservation(running, "candidate-1").replace(b'"general"', b'"alchemy"')
    refused = await sent(running, [wrong])
    nobody = reservation(running, "candidate-1").replace(b"Bearer ", b"Bearer x")
    unknown = await sent(running, [nobody])

    assert_refused(refused, 422, "unknown-subject", "subjects[0]")
    assert_refused(unknown, 401, "unauthorized")
    assert unknown.headers["WWW-Authenticate"] == "Bearer"
    assert len(taken) == 2


async def test_an_error_nobody_foresaw_is_a_500_that_says_nothing(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(running.service.context.availability, "fresh", broken)
    reply = await sent(running, [get()])

    assert_refused(reply, 500, "internal-error")
    assert b"secret" not in reply.body
    assert "secret" in caplog.text


async def _in_flight(running: Running, count: int) -> bool:
    return running.service.in_flight.count == count
