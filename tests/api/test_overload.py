"""Under more than it bears: what matters goes on, the rest is refused early and with its reason.

Over 400 lines because all of it is about one limit and shares the ways to reach it.
"""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

import pytest
import redis.asyncio

from quota_service.overload.classes import Work
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.contract import Contract
from tests.support.raw_http import (
    connect,
    exchange,
    request,
    reset_on_close,
    send_and_leave,
    status,
)
from tests.support.waiting import eventually

RESERVATIONS = "/v1/exams/exam-1/reservations"
CALLBACKS = "/v1/payment-callbacks"
RESERVE = "POST /v1/exams/{exam}/reservations"
SMALL = {"work_limit": 16, "work_limit_min": 16, "work_limit_max": 16}
RESERVES_MAX = 10
"""Reservations at work at once under that limit: three of their own, seven borrowed."""


def order(api: ApiClient, number: int, *headers: str) -> tuple[bytes, bytes]:
    """Return head and body of a reservation that keeps its connection."""
    body = json.dumps(
        {
            "candidate": f"candidate-{number}",
            "subjects": ["general"],
            "venues": ["jinan", "tianjin", "beijing"],
            "accepted_notice": "2023-1",
        }
    ).encode()
    lines = [
        f"POST {RESERVATIONS} HTTP/1.1",
        "Host: quota",
        f"Authorization: Bearer {api.frontend_key}",
        f"Idempotency-Key: order-{number}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n", body


async def read_answer(reader: asyncio.StreamReader) -> Reply:
    """Read one answer of a connection that is kept."""
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers["Content-Length"]))
    return Reply(int(head[0].split(" ")[1]), headers, body)


Connections = list[tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]]


@asynccontextmanager
async def full_of_reservations(running: Running) -> AsyncIterator[Connections]:
    """Let in as many reservations as may be; each waits for the end of its body."""
    gate = running.service.context.gate
    connections: Connections = []
    try:
        for number in range(RESERVES_MAX):
            reader, writer = await connect(running.client.url)
            head, body = order(running.client, number)
            writer.write(head + body[:-1])
            connections.append((reader, writer, body[-1:]))

        async def is_full() -> bool:
            return gate.at_work(Work.RESERVE) == RESERVES_MAX

        await eventually(is_full)
        yield connections
    finally:
        for _, writer, _ in connections:
            writer.close()


async def is_idle(running: Running) -> bool:
    return running.service.context.gate.at_work() == 0


def handled(running: Running, status: str) -> float:
    """How many reservations went through parser and routing and were answered so."""
    labels = {"method": "POST", "route": "/v1/exams/{exam}/reservations", "status": status}
    return counted(running, "quota_http_request_duration_seconds_count", **labels)


def counted(running: Running, name: str, **labels: str) -> float:
    return running.service.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.mark.settings(**SMALL)
async def test_payments_and_releases_go_on_while_reservations_are_refused(
    running: Running,
) -> None:
    api = running.client
    paid, given_back = (await api.reserve("a")).json, (await api.reserve("b")).json

    async with full_of_reservations(running) as connections:
        refused = await api.reserve("c")
        payment = await api.pay(paid)
        release = await api.call("DELETE", f"/v1/reservations/{given_back['id']}")
        read = await api.get(f"/v1/reservations/{paid['id']}")
        health = await api.get("/readyz", key=None)
        for _, writer, rest in connections:
            writer.write(rest)
        answers = [await read_answer(reader) for reader, _, _ in connections]

    assert (refused.status, refused.slug) == (503, "overloaded")
    assert payment.json["outcome"] == "confirmed"
    assert (release.json["state"], read.json["state"]) == ("released", "confirmed")
    assert health.status == 200
    assert {answer.status for answer in answers} == {201, 409}
    assert (await api.reserve("c")).status != 503
    await eventually(lambda: is_idle(running))


@pytest.mark.settings(**SMALL)
async def test_a_refusal_comes_before_the_body_and_leaves_the_connection_usable(
    running: Running,
) -> None:
    async with full_of_reservations(running) as connections:
        head, body = order(running.client, 50, "X-Request-ID: Mine-1")
        reader, writer = await connect(running.client.url)
        writer.write(head)
        refused = await read_answer(reader)
        writer.write(body[:5])
        writer.write(body[5:] + head + body)
        refused_again = await read_answer(reader)
        for _, other, rest in connections:
            other.write(rest)
        for other_reader, _, _ in connections:
            await read_answer(other_reader)
        writer.write(head + body)
        served = await read_answer(reader)
        writer.close()

    assert (refused.status, refused.slug) == (503, "overloaded")
    assert refused.headers["X-Request-ID"] == "Mine-1"
    assert 1 <= int(refused.headers["Retry-After"]) <= 3
    assert refused_again.slug == "overloaded"
    assert served.status in {201, 409}
    assert counted(
        running, "quota_requests_refused_total", work="reserve", reason="limit"
    ) == pytest.approx(2)


@pytest.mark.settings(**SMALL)
async def test_every_way_to_refuse_gives_the_same_documented_answer(running: Running) -> None:
    api = running.client
    contract = Contract()
    head, body = order(api, 50)

    async with full_of_reservations(running):
        early = await api.reserve("c")
        reader, writer = await connect(api.url)
        writer.write(head[:20])
        await writer.drain()
        await api.get("/livez")
        writer.write(head[20:] + body)
        in_pieces = await read_answer(reader)
        writer.write(head + body + head + body)
        ahead = [await read_answer(reader) for _ in range(2)]
        writer.close()
        chunked = await exchange(
            api.url,
            request("POST", RESERVATIONS, "Transfer-Encoding: chunked") + b"0\r\n\r\n",
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

    async with full_of_reservations(running) as connections:
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
                    answers.append(await read_answer(reader))
            if connections and drawn.random() < 0.2:
                connections.pop()[1].close()  # now and then there is room
        while len(answers) < len(requests):
            answers.append(await read_answer(reader))
        writer.close()

    assert [a.headers["X-Request-ID"] for a in answers] == [f"{seed}-{n}" for n in range(24)]
    assert {a.status for a in answers} <= {200, 201, 404, 409, 503}
    await eventually(lambda: is_idle(running))


def _drawn_request(api: ApiClient, drawn: random.Random, name: str) -> bytes:
    """Return one of several requests, in one of several forms; what it is called comes back."""
    decoy = "POST /v1/exams/exam-1/reservations HTTP/1.1"
    headers = drawn.sample(["traceparent: 00-1", "Connection: keep-alive", f"X-Decoy: {decoy}"], 2)
    headers.append(f"X-Request-ID: {name}")
    drawn.shuffle(headers)
    kind = drawn.randrange(4)
    if kind == 0:
        lines = ["GET /v1/exams HTTP/1.1", "Host: q", *headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()
    head, body = order(api, drawn.randrange(10_000), *headers)
    if kind == 1:
        size = b"Content-Length: %d" % len(body)
        return head.replace(size, b"Transfer-Encoding: chunked") + (
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        )
    return head + body


@pytest.mark.settings(**SMALL)
async def test_a_refused_request_touches_nothing(
    running: Running, nothing_changes: NothingChanges
) -> None:
    async with full_of_reservations(running), nothing_changes():
        for number in range(20):
            reply = await running.client.reserve(f"flood-{number}")
            assert reply.slug == "overloaded"


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
            running.service.context.gate.is_alert = True
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
async def test_a_request_the_parser_answers_keeps_no_place_on_its_connection(
    running: Running,
) -> None:
    gate = running.service.context.gate
    reader, writer = await connect(running.client.url)
    for _ in range(5):
        gate.is_alert = True
        writer.write(b"GET /v1/exams HTTP/1.1\r\nHost: q\r\nExpect: a miracle\r\n\r\n")
        assert (await read_answer(reader)).status == 417
    writer.write(b"GET /v1/exams HTTP/1.1\r\nHost: q\r\n\r\n")
    served = await read_answer(reader)
    at_work = gate.at_work()
    writer.close()

    assert served.status == 200
    assert at_work <= 1
    await eventually(lambda: is_idle(running))


@pytest.mark.settings(**SMALL)
@pytest.mark.parametrize("is_alert", [False, True])
async def test_what_looks_like_a_request_inside_of_another_is_not_answered(
    running: Running, *, is_alert: bool
) -> None:
    api = running.client
    decoy = b"POST /v1/exams/exam-1/reservations HTTP/1.1\r\nX-Request-ID: decoy\r\n\r\n"

    async with full_of_reservations(running):
        running.service.context.gate.is_alert = is_alert
        reader, writer = await connect(api.url)
        writer.write(b"GET /v1/exams HTTP/1.1\r\nHost: q\r\nX-Decoy: ")
        await writer.drain()
        await api.get("/livez", key=None)
        running.service.context.gate.is_alert = True
        writer.write(decoy)
        first = await read_answer(reader)
        writer.write(b"GET /v1/exams/exam-1 HTTP/1.1\r\nHost: q\r\nX-Request-ID: next\r\n\r\n")
        second = await read_answer(reader)
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
async def test_a_head_that_can_be_read_in_two_ways_ends_its_connection_when_all_is_full(
    running: Running, mistakable: bytes
) -> None:
    """Refused with its connection kept, its body would be served as somebody's next request."""
    hidden = request("GET", "/v1/exams", "X-Request-ID: hidden")
    head = f"POST {RESERVATIONS} HTTP/1.1\r\n".encode() + mistakable % len(hidden)

    async with full_of_reservations(running):
        reader, writer = await connect(running.client.url)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: q\r\n\r\n")
        assert (await read_answer(reader)).status == 200
        running.service.context.gate.is_alert = True
        writer.write(head)
        answer = await read_answer(reader)
        writer.write(hidden)
        behind = b""
        async with asyncio.timeout(10):
            with suppress(ConnectionError):  # it is closed already
                behind = await reader.read()
        writer.close()

    assert (answer.status, behind) == (400, b"")
    assert counted(running, "quota_requests_refused_total", work="reserve", reason="limit") == 0


@pytest.mark.settings(**SMALL)
@pytest.mark.parametrize("is_alert", [False, True])
async def test_a_client_that_sends_head_and_body_apart_is_still_refused_before_the_parser(
    running: Running, *, is_alert: bool
) -> None:
    api = running.client
    reader, writer = await connect(api.url)
    for number in range(3):
        running.service.context.gate.is_alert = is_alert
        head, body = order(api, number)
        writer.write(head)
        await writer.drain()
        await api.get("/livez", key=None)
        writer.write(body)
        assert (await read_answer(reader)).status in {201, 409}

    async with full_of_reservations(running):
        writer.write(head)
        refused = await read_answer(reader)
        writer.write(body)
    writer.close()

    assert refused.slug == "overloaded"
    assert handled(running, "503") == 0


@pytest.mark.settings(**SMALL, request_timeout_s=0.1)
async def test_nobody_keeps_a_place_by_a_body_that_does_not_come(running: Running) -> None:
    async with full_of_reservations(running) as connections:
        answers = [await read_answer(reader) for reader, _, _ in connections]
        await eventually(lambda: is_idle(running))

    assert {(answer.status, answer.slug) for answer in answers} == {(408, "body-too-slow")}
    for answer in answers:
        Contract().check(RESERVE, answer)


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
    await redis_client.client_pause(60_000, all=False)
    first = asyncio.create_task(api.reserve("first"))
    await eventually(lambda: are_under_way(1))
    for number in range(clients):
        head, body = order(api, number)
        with socket.create_connection((address.hostname, address.port)) as client:
            reset_on_close(client)
            client.sendall(head + body)
            await eventually(partial(are_under_way, 2 + number))
    await api.get("/livez")
    await redis_client.client_unpause()
    await first

    await eventually(are_dropped)
    await eventually(lambda: is_idle(running))
    assert await scripts_run() == before + 1


@pytest.mark.settings(rate_limit_per_s=2, rate_limit_burst_s=3600)
async def test_answers_to_a_key_tell_what_is_left_of_its_rate(api: ApiClient) -> None:
    first = await api.reserve()
    refusal = await api.get("/v1/reservations/exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa")
    public = await api.get("/v1/exams", key=None)

    assert first.headers["RateLimit-Policy"] == '"key";q=7200;w=3600'
    assert first.headers["RateLimit"] == '"key";r=7199;t=1'
    assert refusal.status == 404
    assert refusal.headers["RateLimit"] == '"key";r=7198;t=1'
    assert "RateLimit" not in public.headers


@pytest.mark.settings(rate_limit_per_s=1)
async def test_a_key_that_asks_too_fast_is_told_when_to_come_back(running: Running) -> None:
    api = running.client
    replies = [await api.reserve(f"candidate-{n}") for n in range(2)]
    while replies[-1].status == 201:
        replies.append(await api.reserve(f"candidate-{len(replies)}"))
    limited = await asyncio.gather(*(api.reserve(f"flood-{n}") for n in range(10)))
    other_key = await api.get("/v1/exams/exam-1/refunds-due", key=api.ops_key)

    slugs = {reply.slug for reply in limited if reply.status != 201}
    assert replies[0].status == 201
    assert slugs == {"rate-limited"}
    assert other_key.status == 200
    (reply,) = [reply for reply in replies if reply.status == 429]
    assert reply.json["policy"] == "key"
    assert reply.headers["RateLimit"] == '"key";r=0;t=1'
    assert 1 <= int(reply.headers["Retry-After"]) <= 3
    Contract().check(RESERVE, reply)
    assert counted(running, "quota_requests_rate_limited_total", caller="key") >= 9


@pytest.mark.settings(public_rate_limit_per_s=1, rate_limit_burst_s=2)
async def test_an_address_that_polls_absurdly_is_held_back_but_health_and_payments_are_not(
    running: Running,
) -> None:
    api = running.client
    polls = await asyncio.gather(*(api.get("/v1/exams", key=None) for _ in range(20)))
    health = [await api.get("/livez", key=None) for _ in range(5)]
    reserved = await api.reserve()
    paid = await api.pay(reserved.json)

    limited = [reply for reply in polls if reply.status == 429]
    assert {reply.status for reply in polls} == {200, 429}
    assert len(limited) >= 15
    assert {reply.slug for reply in limited} == {"rate-limited"}
    assert limited[0].json["policy"] == "address"
    Contract().check("GET /v1/exams", limited[0])
    assert {reply.status for reply in health} == {200}
    assert (reserved.status, paid.status) == (201, 200)


@pytest.mark.settings(public_rate_limit_per_s=1, rate_limit_burst_s=5)
@pytest.mark.parametrize(
    "failing",
    [
        request("POST", CALLBACKS, body=b"{}"),
        request("POST", CALLBACKS, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\n\r\n",
        request("POST", RESERVATIONS, "Authorization: Bearer quota_a_b", body=b"{}"),
        request("GET", "/v1/reservations/r", "Authorization: Bearer quota_a_b"),
        request("GET", "/nothing"),
        request("GET", "/livez", "Content-Encoding: gzip"),
        request("GET", "/livez#"),
    ],
    ids=["callback", "callback-in-chunks", "reserve", "read", "unknown", "encoded", "fragment"],
)
async def test_what_fails_counts_against_its_address_and_holds_back_no_valid_key_or_signature(
    running: Running, failing: bytes
) -> None:
    api = running.client
    statuses = [status(await exchange(api.url, failing)) for _ in range(20)]
    limited = await exchange(api.url, failing)
    reserved = await api.reserve()
    paid = await api.pay(reserved.json)

    assert statuses[0] in {400, 401, 404, 415}
    assert statuses.count(429) >= 5
    assert b"/problems/rate-limited" in limited
    assert b'"policy":"address"' in limited
    assert (reserved.status, paid.json["outcome"]) == (201, "confirmed")


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
    at_work = running.service.context.gate.at_work(Work.CONFIRM)
    for _, writer in crowd:
        writer.close()

    assert payment.status == 200, payment
    assert at_work == 0


@pytest.mark.settings(rate_limit_per_s=0, public_rate_limit_per_s=0)
async def test_rates_can_be_switched_off(api: ApiClient) -> None:
    reserved = await api.reserve()
    polls = await asyncio.gather(*(api.get("/v1/exams", key=None) for _ in range(50)))

    assert "RateLimit" not in reserved.headers
    assert {reply.status for reply in polls} == {200}


async def test_the_metrics_show_the_limit_and_what_is_at_work(running: Running) -> None:
    before = counted(running, "quota_work_limit")
    reader, writer = await connect(running.client.url)
    head, body = order(running.client, 1)
    writer.write(head + body[:-1])

    async def are_at_work(count: int) -> bool:
        return counted(running, "quota_requests_at_work", work="reserve") == count

    await eventually(lambda: are_at_work(1))
    writer.write(body[-1:])
    answer = await read_answer(reader)
    writer.close()

    assert before == running.service.settings.work_limit
    assert answer.status == 201
    await eventually(lambda: are_at_work(0))
