"""Plain requests, answered beside aiohttp, and the others, which are left to it.

Whichever lane a request takes, its answer is the same but for the headers of the moment.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
import redis.asyncio

from quota_service.api.json_calls import JsonCalls
from quota_service.http.application import PlainRequest
from quota_service.http.protocol import Connection
from tests.conftest import Running
from tests.support.patience import LIMIT_S
from tests.support.raw_http import connect, reset
from tests.support.redis_clients import writes_held
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


def get(path: str = HOT, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: quota", *headers, "", ""]).encode()


def reservation(running: Running, candidate: str, *headers: str, key: str = "k") -> bytes:
    body = json.dumps(
        {
            "candidate": candidate,
            "subjects": ["general"],
            "venues": ["tianjin"],
            "accepted_notice": "2023-1",
        }
    )
    lines = [
        "POST /v1/exams/exam-1/reservations HTTP/1.1",
        "Host: quota",
        f"Authorization: Bearer {running.client.frontend_key}",
        f"Idempotency-Key: {key}",
        *headers,
    ]
    if not headers:
        lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
    chunked = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n" if "chunked" in headers[0] else body
    return ("\r\n".join(lines) + "\r\n\r\n" + chunked).encode()


class Answers:
    """Reads the answers of one connection, one after the other."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def next(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(LIMIT_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.strip().split("\r\n")
            headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return int(status.split(" ")[1]), headers, body


@asynccontextmanager
async def connection(running: Running) -> AsyncIterator[tuple[Answers, asyncio.StreamWriter]]:
    reader, writer = await connect(running.addresses.api)
    try:
        yield Answers(reader), writer
    finally:
        writer.close()


async def sent(running: Running, pieces: Iterable[bytes]) -> tuple[int, dict[str, str], bytes]:
    """Send a request in pieces that arrive apart, and return its answer."""
    async with connection(running) as (answers, writer):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        return await answers.next()


async def test_a_plain_request_is_answered_beside_aiohttp(
    running: Running, taken: list[str]
) -> None:
    status, headers, body = await sent(running, [get()])

    assert (status, json.loads(body)["exam"]) == (200, "exam-1")
    assert headers["x-request-id"]
    assert taken == ["/v1/exams/{exam}/availability"]


@pytest.mark.parametrize(
    "unusual",
    [
        get(HOT, "Connection: close"),
        get(HOT, version="1.0"),
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
    async with connection(running) as (answers, writer):
        writer.write(unusual)
        answer = await answers.next()
        if b"Expect" in unusual:
            assert answer[0] == 100
            answer = await answers.next()

    same = ("content-type", "etag", "cache-control", "content-length")
    assert (answer[0], [answer[1][name] for name in same]) == (
        usual[0],
        [usual[1][name] for name in same],
    )
    assert len(taken) == 1


async def test_an_order_in_pieces_or_chunks_is_taken_like_a_whole_one(
    running: Running, taken: list[str]
) -> None:
    whole = reservation(running, "candidate-1")
    status, _, first = await sent(running, [whole])
    pieces = await sent(running, [whole[:50], whole[50:-20], whole[-20:]])
    chunks = await sent(
        running, [reservation(running, "candidate-1", "Transfer-Encoding: chunked")]
    )

    assert status == 201
    assert [answer[0] for answer in (pieces, chunks)] == [201, 201]
    assert [answer[1]["idempotency-replayed"] for answer in (pieces, chunks)] == ["true", "true"]
    assert [json.loads(answer[2]) for answer in (pieces, chunks)] == [json.loads(first)] * 2
    assert taken == ["/v1/exams/{exam}/reservations"] * 2


async def test_requests_sent_without_waiting_are_answered_in_order(running: Running) -> None:
    requests = [get(), reservation(running, "candidate-1"), get("/livez"), get()]
    async with connection(running) as (answers, writer):
        writer.write(b"".join(requests))
        together = [await answers.next() for _ in requests]
    async with connection(running) as (answers, writer):
        for request in [reservation(running, "candidate-2"), *requests]:
            writer.write(request)
            await asyncio.sleep(0.002)
        apart = [await answers.next() for _ in range(5)]

    assert [answer[0] for answer in together] == [200, 201, 200, 200]
    assert [answer[0] for answer in apart] == [201, 200, 201, 200, 200]
    assert json.loads(apart[0][2])["candidate"] == "candidate-2"
    assert json.loads(apart[2][2])["candidate"] == "candidate-1"
    assert [json.loads(answers[2])["status"] for answers in (together[2], apart[3])] == ["ok", "ok"]


async def test_what_comes_while_an_order_waits_for_redis_is_held_and_then_answered(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    async with connection(running) as (answers, writer):
        async with writes_held(redis_client):
            writer.write(reservation(running, "candidate-1"))
            await eventually(lambda: _under_way(running, 1))
            for _ in range(3):
                writer.write(get())
                await writer.drain()
                await asyncio.sleep(0.01)
        statuses = [(await answers.next())[0] for _ in range(4)]

    assert statuses == [201, 200, 200, 200]


async def test_a_client_that_leaves_before_its_answer_has_its_seat_and_is_counted(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    async with connection(running) as (_, writer), writes_held(redis_client):
        writer.write(reservation(running, "candidate-1"))
        await eventually(lambda: _under_way(running, 1))
        reset(writer)
    await eventually(lambda: _under_way(running, 0))

    status, headers, _ = await sent(running, [reservation(running, "candidate-1")])
    assert (status, headers["idempotency-replayed"]) == (201, "true")
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
    async with connection(running) as (answers, writer):

        async def ask() -> None:
            for _ in range(asked):
                writer.write(get())
                await writer.drain()

        asking = asyncio.create_task(ask())

        async def is_stalled() -> bool:
            return bool(transports) and not transports[0].is_reading()

        await eventually(is_stalled)
        assert transports[0].get_write_buffer_size() < 1_000_000
        statuses = [(await answers.next())[0] for _ in range(asked)]
        await asking

    assert statuses == [200] * asked


async def test_a_refusal_of_the_lane_is_a_problem_like_any_other(
    running: Running, taken: list[str]
) -> None:
    wrong = reservation(running, "candidate-1").replace(b'"general"', b'"alchemy"')
    status, headers, body = await sent(running, [wrong])
    nobody = reservation(running, "candidate-1").replace(b"Bearer ", b"Bearer x")
    refused = await sent(running, [nobody])

    assert (status, headers["content-type"]) == (422, "application/problem+json")
    assert json.loads(body)["errors"][0]["field"] == "subjects[0]"
    assert (refused[0], refused[1]["www-authenticate"]) == (401, "Bearer")
    assert len(taken) == 2


async def test_an_error_nobody_foresaw_is_a_500_that_says_nothing(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(running.service.context.board, "fresh", broken)
    status, _, body = await sent(running, [get()])

    assert (status, json.loads(body)["type"]) == (500, "/problems/internal-error")
    assert b"secret" not in body
    assert "secret" in caplog.text


async def _under_way(running: Running, count: int) -> bool:
    return running.service.under_way.count == count
