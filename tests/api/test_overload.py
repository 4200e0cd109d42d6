"""Under more than it bears: what matters goes on, the rest is refused early and with its reason.

Over 400 lines because all of it is about one limit and shares the ways to reach it.
"""

import asyncio
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

import pytest
import redis.asyncio

from quota_service.http.work import Work
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support import raw_http
from tests.support.client import ApiClient
from tests.support.contract import Contract
from tests.support.patience import LIMIT_S
from tests.support.raw_http import (
    connect,
    exchange,
    next_reply,
    request,
    reset_on_close,
    send_and_leave,
    status,
)
from tests.support.redis_clients import writes_held
from tests.support.waiting import eventually

RESERVATIONS = "/v1/exams/exam-1/reservations"
CALLBACKS = "/v1/payment-callbacks"
RESERVE = "POST /v1/exams/{exam}/reservations"
SMALL = {"work_limit": 16, "work_limit_min": 16, "work_limit_max": 16}
RESERVES_MAX = 10
"""Reservations at work at once under that limit: three of their own, seven borrowed."""


def order(api: ApiClient, number: int, *headers: str) -> tuple[bytes, bytes]:
    """Return head and body of a reservation that keeps its connection."""
    head, end, body = raw_http.order(
        api.frontend_key,
        f"candidate-{number}",
        *headers,
        idempotency_key=f"order-{number}",
        venues=["jinan", "tianjin", "beijing"],
    ).partition(b"\r\n\r\n")
    return head + end, body


@contextmanager
def full_of_reservations(running: Running) -> Iterator[None]:
    """Have as many reservations at work as may be, while the block runs."""
    limiter = running.service.context.limiter
    for _ in range(RESERVES_MAX):
        assert limiter.acquire(Work.RESERVE)
    assert not limiter.acquire(Work.RESERVE)
    try:
        yield
    finally:
        for _ in range(RESERVES_MAX):
            limiter.release(Work.RESERVE)


async def is_idle(running: Running) -> bool:
    return await are_at_work(running, 0)


async def are_at_work(running: Running, count: int) -> bool:
    return running.service.context.limiter.at_work() == count


def counted(running: Running, name: str, **labels: str) -> float:
    return running.service.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.mark.settings(**SMALL)
async def test_payments_and_releases_go_on_while_reservations_are_refused(
    running: Running,
) -> None:
    api = running.client
    paid, given_back = (await api.reserve("a")).json, (await api.reserve("b")).json

    with full_of_reservations(running):
        refused = await api.reserve("c")
        payment = await api.pay(paid)
        release = await api.call("DELETE", f"/v1/reservations/{given_back['id']}")
        read = await api.get(f"/v1/reservations/{paid['id']}")
        health = await api.get("/readyz", key=None)

    assert (refused.status, refused.slug) == (503, "overloaded")
    assert payment.json["outcome"] == "confirmed"
    assert (release.json["state"], read.json["state"]) == ("released", "confirmed")
    assert health.status == 200
    assert (await api.reserve("c")).status != 503
    await eventually(lambda: is_idle(running))


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
async def test_every_way_to_refuse_gives_the_same_documented_answer(running: Running) -> None:
    api = running.client
    contract = Contract()
    head, body = order(api, 50)
    key = f"Authorization: Bearer {api.frontend_key}"

    with full_of_reservations(running):
        early = await api.reserve("c")
        reader, writer = await connect(api.url)
        writer.write(head[:20])
        await writer.drain()
        await api.get("/livez")
        writer.write(head[20:] + body)
        in_pieces = await next_reply(reader)
        writer.write(head + body + head + body)
        ahead = [await next_reply(reader) for _ in range(2)]
        writer.close()
        chunked = await exchange(
            api.url,
            request("POST", RESERVATIONS, key, "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        )

    for reply in (early, in_pieces, *ahead):
        assert (reply.status, reply.json) == (503, early.json)
        assert reply.headers["Content-Type"] == early.headers["Content-Type"]
        contract.check(RESERVE, reply)
    assert status(chunked) == 503
    assert {"Date", "Retry-After", "X-Request-ID"} <= early.headers.keys()


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
                running.service.context.limiter.release(Work.RESERVE)  # there is room for one
        while len(answers) < len(requests):
            answers.append(await next_reply(reader))
        writer.close()
        await eventually(lambda: are_at_work(running, RESERVES_MAX - 1))
        assert running.service.context.limiter.acquire(Work.RESERVE)

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
async def test_a_refused_request_touches_nothing(
    running: Running, nothing_changes: NothingChanges
) -> None:
    with full_of_reservations(running):
        async with nothing_changes():
            replies = [await running.client.reserve(f"flood-{n}") for n in range(40)]

    assert {reply.slug for reply in replies} == {"overloaded"}
    # Drawn for each: a crowd does not come back as one.
    assert {reply.headers["Retry-After"] for reply in replies} == {"1", "2", "3"}


@pytest.mark.settings(**SMALL)
async def test_no_place_is_lost_however_a_request_ends(running: Running) -> None:
    api = running.client
    head, body = order(api, 1)
    key = f"Authorization: Bearer {api.frontend_key}"

    for sent in (
        head + b"{",
        head + b"{" * len(body),
        b"POST " + RESERVATIONS.encode() + b" HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"POST " + RESERVATIONS.encode() + b" HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST " + RESERVATIONS.encode() + b" HTTP/1.1\r\nExpect: a miracle\r\n\r\n",
        b"BREW " + RESERVATIONS.encode() + b" HTTP/1.1\r\n\r\n",
        b"GET /nowhere HTTP/1.1\r\n\r\n",
        request("POST", RESERVATIONS, key, "Idempotency-Key: a", body=b"x" * 20_000),
        head + body + head + body + head,
    ):
        for _ in range(5):
            await send_and_leave(api.url, sent)
            _, writer = await connect(api.url)
            writer.write(sent)
            writer.close()
    reserving = [asyncio.create_task(api.reserve(f"cut-{n}")) for n in range(5)]
    await asyncio.sleep(0)
    for task in reserving:
        task.cancel()
    await asyncio.wait(reserving)

    await eventually(lambda: is_idle(running))
    assert (await api.reserve("last")).status in {201, 409}


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


@pytest.mark.settings(queue_max=4)
async def test_of_a_crowd_those_that_came_last_are_refused_and_payments_go_first(
    running: Running,
) -> None:
    api = running.client
    held = (await api.reserve("paid")).json
    ready = [await connect(api.url) for _ in range(60)]
    begun: list[str] = []
    put = running.service.context.queue.put

    def watched(begin: Callable[[], None], *, goes_first: bool = False) -> None:
        put(
            lambda: (begun.append("first" if goes_first else "other"), begin()),
            goes_first=goes_first,
        )

    running.service.context.queue.put = watched  # type: ignore[method-assign]
    for number, (_, writer) in enumerate(ready):
        writer.write(b"".join(order(api, number, f"X-Request-ID: id-{number}")))
    payment = await api.pay(held)
    answers = [await next_reply(reader) for reader, _ in ready]
    for _, writer in ready:
        writer.close()
    statuses = [answer.status for answer in answers]

    assert payment.json["outcome"] == "confirmed"
    assert [answer.headers["X-Request-ID"] for answer in answers] == [f"id-{n}" for n in range(60)]
    assert set(statuses) <= {201, 409, 503}
    assert statuses.count(503) > 0
    assert "first" in begun
    assert counted(
        running, "quota_requests_refused_total", work="reserve", reason="queue"
    ) == statuses.count(503)


async def test_a_callback_that_nobody_signed_waits_for_nothing_and_takes_no_place(
    running: Running,
) -> None:
    queue = running.service.context.queue
    replies = [await running.client.callback(b"{}", secret=b"x" * 32) for _ in range(3)]

    assert {reply.status for reply in replies} == {401}
    assert len(queue) == 0
    assert await is_idle(running)


@pytest.mark.settings(request_timeout_s=1e-9)
async def test_what_waited_beyond_its_deadline_is_dropped_before_it_touches_a_store(
    running: Running, nothing_changes: NothingChanges
) -> None:
    async def is_dropped() -> bool:
        reason = {"work": "reserve", "reason": "deadline"}
        return counted(running, "quota_requests_refused_total", **reason) == 1

    async with nothing_changes():
        reply = await running.client.reserve()
        await eventually(is_dropped)

    assert reply.status == 503
    await eventually(lambda: is_idle(running))


@pytest.mark.settings(redis_batches_in_flight_max=1)
async def test_a_caller_that_has_gone_before_its_turn_costs_redis_nothing(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    async def scripts_run() -> int:
        statistics = await redis_client.info("commandstats")
        return int(statistics.get("cmdstat_evalsha", {}).get("calls", 0))

    async def are_under_way(count: int) -> bool:
        return running.service.under_way.count == count

    async def are_dropped() -> bool:
        reason = {"work": "reserve", "reason": "caller_left"}
        return counted(running, "quota_requests_refused_total", **reason) == clients

    api = running.client
    address = urlsplit(api.url)
    before, clients = await scripts_run(), 20
    async with writes_held(redis_client):
        first = asyncio.create_task(api.reserve("first"))
        await eventually(lambda: are_under_way(1))
        for number in range(clients):
            head, body = order(api, number)
            with socket.create_connection((address.hostname, address.port)) as client:
                reset_on_close(client)
                client.sendall(head + body)
                await eventually(partial(are_under_way, 2 + number))
        await api.get("/livez")
    await first

    await eventually(are_dropped)
    await eventually(lambda: is_idle(running))
    assert await scripts_run() == before + 1


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
    at_work = running.service.context.limiter.at_work(Work.CONFIRM)
    for _, writer in crowd:
        writer.close()

    assert payment.status == 200, payment
    assert at_work == 0


async def test_the_metrics_show_the_limit_and_what_is_at_work(running: Running) -> None:
    limiter = running.service.context.limiter
    before = counted(running, "quota_work_limit")
    limiter.acquire(Work.RESERVE)

    async def shown(count: int) -> bool:
        return counted(running, "quota_requests_at_work", work="reserve") == count

    await eventually(lambda: shown(1))
    limiter.release(Work.RESERVE)
    await eventually(lambda: shown(0))
    assert before == running.service.settings.work_limit
    assert counted(running, "quota_requests_waiting") == 0
