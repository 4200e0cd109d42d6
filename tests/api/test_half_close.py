"""A client may say that it sends no more and still reads: it gets every answer, then the end."""

import asyncio

import pytest
import redis.asyncio

from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.event_streams import PATH, has_open
from tests.support.patience import LIMIT_S
from tests.support.raw_http import connect, exchange, order, parsed, request
from tests.support.redis_clients import writes_held
from tests.support.waiting import eventually


@pytest.mark.parametrize("path", ["/livez", "/v1/exams", "/v1/exams/exam-1/availability"])
async def test_a_read_is_answered(api: ApiClient, path: str) -> None:
    answer = parsed(await exchange(api.url, request("GET", path, keeps=True), half_close=True))

    assert answer.status == 200
    assert len(answer.body) == int(answer.headers["Content-Length"])


async def test_all_requests_that_were_sent_ahead_are_answered(api: ApiClient) -> None:
    hot = request("GET", "/v1/exams/exam-1/availability", keeps=True)
    plain, key = request("GET", "/livez", keeps=True), api.frontend_key
    sent = [plain, order(key), hot, plain, hot, order(key, chunked=True)]

    answers = await exchange(api.url, b"".join(sent), half_close=True)

    statuses = [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"201", b"200", b"200", b"200", b"201"]


@pytest.mark.parametrize("chunked", [False, True], ids=["plain", "aiohttp"])
async def test_a_request_at_work_when_its_client_sends_no_more_is_answered(
    running: Running, redis_client: "redis.asyncio.Redis", chunked: bool
) -> None:
    api = running.client

    async def is_in_flight() -> bool:
        return running.service.in_flight.count == 1

    reader, writer = await connect(api.url)
    async with writes_held(redis_client):
        writer.write(order(api.frontend_key, chunked=chunked))
        await eventually(is_in_flight)
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
        sent = order(running.client.frontend_key)[:kept]
        answer = await exchange(running.client.url, sent, half_close=True)

    assert answer == b""
    assert running.service.context.limiter.at_work() == 0


async def test_a_stream_has_no_end_to_wait_for(running: Running) -> None:
    reader, writer = await connect(running.client.url)
    writer.write(request("GET", PATH, keeps=True))
    await reader.readuntil(b"event: snapshot")
    writer.write_eof()

    await eventually(lambda: has_open(running, 0))
    writer.close()
