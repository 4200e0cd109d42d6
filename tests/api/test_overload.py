"""Under more than it bears: what matters goes on, the rest is refused early and with its reason."""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

import pytest
import redis.asyncio

from quota_service.http.gradient import INITIAL
from quota_service.http.priority import Priority
from quota_service.seats.connection import BatchLimits
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.contract import Contract
from tests.support.overload import RESERVE, SMALL, counted, full_of_reservations, is_idle, order
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
from tests.support.refusals import RESERVATIONS
from tests.support.waiting import eventually

CALLBACKS = "/v1/payment-callbacks"


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


@pytest.mark.settings(BatchLimits(in_flight_max=1))
async def test_a_caller_that_has_gone_before_its_turn_costs_redis_nothing(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    async def scripts_run() -> int:
        statistics = await redis_client.info("commandstats")
        return int(statistics.get("cmdstat_evalsha", {}).get("calls", 0))

    async def are_in_flight(count: int) -> bool:
        return running.service.in_flight.count == count

    async def are_dropped() -> bool:
        reason = {"work": "reserve", "reason": "caller_left"}
        return counted(running, "quota_requests_refused_total", **reason) == clients

    api = running.client
    address = urlsplit(api.url)
    before, clients = await scripts_run(), 20
    async with writes_held(redis_client):
        first = asyncio.create_task(api.reserve("first"))
        await eventually(lambda: are_in_flight(1))
        for number in range(clients):
            head, body = order(api, number)
            with socket.create_connection((address.hostname, address.port)) as client:
                reset_on_close(client)
                client.sendall(head + body)
                await eventually(partial(are_in_flight, 2 + number))
        await api.get("/livez")
    await first

    await eventually(are_dropped)
    await eventually(lambda: is_idle(running))
    assert await scripts_run() == before + 1


async def test_the_metrics_show_the_limit_and_what_is_at_work(running: Running) -> None:
    limiter = running.service.context.limiter
    before = counted(running, "quota_work_limit")
    limiter.acquire(Priority.RESERVE)

    async def shown(count: int) -> bool:
        return counted(running, "quota_requests_at_work", work="reserve") == count

    await eventually(lambda: shown(1))
    limiter.release(Priority.RESERVE)
    await eventually(lambda: shown(0))
    assert before == INITIAL
    assert counted(running, "quota_requests_waiting") == 0
