"""A connection whose requests are refused for overload: each answer is that of its own request."""

import asyncio
import random
from contextlib import suppress

import pytest

from quota_service.http.priority import Priority
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.contract import Contract
from tests.support.overload import (
    RESERVE,
    RESERVES_MAX,
    SMALL,
    are_at_work,
    counted,
    full_of_reservations,
    is_idle,
    order,
)
from tests.support.patience import LIMIT_S
from tests.support.raw_http import connect, next_reply, request
from tests.support.refusals import RESERVATIONS
from tests.support.waiting import eventually


@pytest.mark.settings(**SMALL)
async def test_a_refusal_leaves_the_connection_usable(running: Running) -> None:
    head, body = order(running.client, 50, "X-Request-ID: Mine-1")
    reader, writer = await connect(running.client.url)
    with full_of_reservations(running):
        writer.write(head + body[:5])
        writer.write(body[5:] + head + body)
        refused = [await next_reply(reader) for _ in range(2)]
    writer.write(head + body)
    served = await next_reply(reader)
    writer.close()

    for reply in refused:
        assert (reply.status, reply.slug) == (503, "overloaded")
        assert reply.headers["X-Request-ID"] == "Mine-1"
        assert 1 <= int(reply.headers["Retry-After"]) <= 3
    assert served.status in {201, 409}
    assert counted(
        running, "quota_requests_refused_total", work="reserve", reason="limit"
    ) == pytest.approx(2)


@pytest.mark.settings(**SMALL)
@pytest.mark.parametrize("seed", range(16))
async def test_however_requests_are_cut_and_sent_ahead_each_gets_its_own_answer(
    running: Running, seed: int
) -> None:
    """A request taken for part of another would shift every answer behind it."""
    api = running.client
    drawn = random.Random(seed)  # noqa: S311
    requests = [_drawn_request(api, drawn, f"{seed}-{n}") for n in range(24)]

    with full_of_reservations(running):
        reader, writer = await connect(api.url)
        answers = []
        for number, rest in enumerate(requests):
            sent = rest
            while sent:
                cut = drawn.choice([len(sent), len(sent), drawn.randint(1, len(sent))])
                writer.write(sent[:cut])
                sent = sent[cut:]
                if drawn.random() < 0.5:
                    await api.get("/livez", key=None)
            if drawn.random() < 0.5:
                while len(answers) <= number:
                    answers.append(await next_reply(reader))
            if number == len(requests) // 2:
                running.service.context.limiter.release(Priority.RESERVE)  # there is room for one
        while len(answers) < len(requests):
            answers.append(await next_reply(reader))
        writer.close()
        await eventually(lambda: are_at_work(running, RESERVES_MAX - 1))
        assert running.service.context.limiter.acquire(Priority.RESERVE)

    assert [a.headers["X-Request-ID"] for a in answers] == [f"{seed}-{n}" for n in range(24)]
    assert {a.status for a in answers} <= {200, 201, 404, 409, 503}
    await eventually(lambda: is_idle(running))


def _drawn_request(api: ApiClient, drawn: random.Random, name: str) -> bytes:
    """Return one of several requests, in one of several forms; what it is called comes back."""
    decoy = "POST /v1/exams/exam-1/reservations HTTP/1.1"
    headers = drawn.sample(["traceparent: 00-1", "Connection: keep-alive", f"X-Decoy: {decoy}"], 2)
    headers.append(f"X-Request-ID: {name}")
    drawn.shuffle(headers)
    if drawn.random() < 0.25:
        lines = ["GET /v1/exams HTTP/1.1", "Host: q", *headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()
    head, body = order(api, drawn.randrange(10_000), *headers)
    return head + body


@pytest.mark.settings(**SMALL)
async def test_what_looks_like_a_request_inside_of_another_is_not_answered(
    running: Running,
) -> None:
    api = running.client
    decoy = b"POST /v1/exams/exam-1/reservations HTTP/1.1\r\nX-Request-ID: decoy\r\n\r\n"

    with full_of_reservations(running):
        reader, writer = await connect(api.url)
        writer.write(b"GET /v1/exams HTTP/1.1\r\nHost: q\r\nX-Decoy: ")
        await writer.drain()
        await api.get("/livez", key=None)
        writer.write(decoy)
        first = await next_reply(reader)
        writer.write(b"GET /v1/exams/exam-1 HTTP/1.1\r\nHost: q\r\nX-Request-ID: next\r\n\r\n")
        second = await next_reply(reader)
        writer.close()

    assert (first.status, first.headers["X-Request-ID"]) == (200, "decoy")
    assert (second.status, second.headers["X-Request-ID"]) == (200, "next")


@pytest.mark.settings(**SMALL)
@pytest.mark.parametrize(
    "mistakable",
    [
        b"Host: q\nContent-Length: %d\r\n\r\n",
        b"Host: q\r\nContent-Length : %d\r\n\r\n",
        b"Host: q\rContent-Length: %d\r\n\r\n",
    ],
    ids=["bare LF", "space before the colon", "bare CR"],
)
async def test_a_head_that_can_be_read_in_two_ways_ends_its_connection(
    running: Running, mistakable: bytes
) -> None:
    """Refused with its connection kept, its body would be served as somebody's next request."""
    hidden = request("GET", "/v1/exams", "X-Request-ID: hidden")
    head = f"POST {RESERVATIONS} HTTP/1.1\r\n".encode() + mistakable % len(hidden)

    with full_of_reservations(running):
        reader, writer = await connect(running.client.url)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: q\r\n\r\n")
        assert (await next_reply(reader)).status == 200
        writer.write(head)
        answer = await next_reply(reader)
        writer.write(hidden)
        behind = b""
        async with asyncio.timeout(LIMIT_S):
            with suppress(ConnectionError):  # it is closed already
                behind = await reader.read()
        writer.close()

    assert (answer.status, behind) == (400, b"")
    assert counted(running, "quota_requests_refused_total", work="reserve", reason="limit") == 0


@pytest.mark.settings(**SMALL, request_timeout_s=0.2, shutdown_drain_s=0.1)
@pytest.mark.parametrize("framing", ["", "Transfer-Encoding: chunked"], ids=["told", "chunked"])
async def test_a_body_that_does_not_come_takes_no_place_and_is_answered_in_time(
    running: Running, framing: str
) -> None:
    head, body = order(running.client, 1)
    if framing:
        head = head.replace(b"Content-Length: %d" % len(body), framing.encode())
    clients = [await connect(running.client.url) for _ in range(RESERVES_MAX + 5)]
    for _, writer in clients:
        writer.write(head + (b"400\r\n{" if framing else body[:-1]))
    answers = [await next_reply(reader) for reader, _ in clients]
    for _, writer in clients:
        writer.close()

    assert {(answer.status, answer.slug) for answer in answers} == {(408, "body-too-slow")}
    assert await is_idle(running)
    for answer in answers:
        Contract().check(RESERVE, answer)


@pytest.mark.settings(**SMALL)
async def test_callbacks_whose_body_does_not_come_keep_no_place_from_payments(
    running: Running,
) -> None:
    api = running.client
    held = (await api.reserve("paid")).json
    half = b"POST /v1/payment-callbacks HTTP/1.1\r\nHost: q\r\nContent-Length: 9\r\n\r\n{"
    crowd = [await connect(api.url) for _ in range(40)]
    for _, writer in crowd:
        writer.write(half)
    await api.get("/livez", key=None)  # whoever comes later is read later
    await api.get("/livez", key=None)

    payment = await api.pay(held)
    at_work = running.service.context.limiter.at_work(Priority.CONFIRM)
    for _, writer in crowd:
        writer.close()

    assert payment.status == 200, payment
    assert at_work == 0
