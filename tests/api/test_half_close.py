"""A client may say that it sends no more and still reads: it gets every answer, then the end."""

import asyncio
import json

import pytest
import redis.asyncio

from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.event_streams import PATH, has_open
from tests.support.patience import LIMIT_S
from tests.support.raw_http import connect, exchange, parsed
from tests.support.redis_clients import writes_held
from tests.support.refusals import ORDER, RESERVATIONS
from tests.support.waiting import eventually


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: quota\r\n\r\n".encode()


def order(api: ApiClient, *, chunked: bool = False) -> bytes:
    """Return a reservation, plain or, in chunks, by way of aiohttp."""
    body = json.dumps(ORDER).encode()
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    key = f"Authorization: Bearer {api.frontend_key}"
    lines = [f"POST {RESERVATIONS} HTTP/1.1", "Host: quota", key, "Idempotency-Key: a", length]
    framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + framed


@pytest.mark.parametrize("path", ["/livez", "/v1/exams", "/v1/exams/exam-1/availability"])
async def test_a_read_is_answered(api: ApiClient, path: str) -> None:
    answer = parsed(await exchange(api.url, get(path), half_close=True))

    assert answer.status == 200
    assert len(answer.body) == int(answer.headers["Content-Length"])


async def test_all_requests_that_were_sent_ahead_are_answered(api: ApiClient) -> None:
    hot, plain = get("/v1/exams/exam-1/availability"), get("/livez")
    sent = [plain, order(api), hot, plain, hot, order(api, chunked=True)]

    answers = await exchange(api.url, b"".join(sent), half_close=True)

    statuses = [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"201", b"200", b"200", b"200", b"201"]


@pytest.mark.parametrize("chunked", [False, True], ids=["plain", "aiohttp"])
async def test_a_request_at_work_when_its_client_sends_no_more_is_answered(
    running: Running, redis_client: "redis.asyncio.Redis", chunked: bool
) -> None:
    api = running.client

    async def is_under_way() -> bool:
        return running.service.under_way.count == 1

    reader, writer = await connect(api.url)
    async with writes_held(redis_client):
        writer.write(order(api, chunked=chunked))
        await eventually(is_under_way)
        writer.write_eof()
        await api.get("/livez", key=None)  # whatever has come before is read by now
    async with asyncio.timeout(LIMIT_S):
        answer = parsed(await reader.read())
    writer.close()

    assert answer.status == 201, answer


@pytest.mark.parametrize("kept", [-1, -20], ids=["last-byte", "more"])
async def test_a_request_that_will_never_be_whole_ends_with_its_connection(
    running: Running, nothing_changes: NothingChanges, kept: int
) -> None:
    async with nothing_changes():
        answer = await exchange(running.client.url, order(running.client)[:kept], half_close=True)

    assert answer == b""
    assert running.service.context.limiter.at_work() == 0


async def test_a_stream_has_no_end_to_wait_for(running: Running) -> None:
    reader, writer = await connect(running.client.url)
    writer.write(get(PATH))
    await reader.readuntil(b"event: snapshot")
    writer.write_eof()

    await eventually(lambda: has_open(running, 0))
    writer.close()
