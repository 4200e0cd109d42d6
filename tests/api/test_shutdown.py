"""Ends in order: a shutdown lets everything finish, and a client that leaves stops nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest
import redis.asyncio

from quota_service.app.opening import Service
from quota_service.ledger.api_keys import Scope
from quota_service.registration.in_flight import UseCaseLimits
from quota_service.registration.registry import ExamRegistry
from quota_service.settings import Settings
from tests.conftest import Running
from tests.support.client import PAYMENT_SECRET, ApiClient
from tests.support.evidence import Evidence
from tests.support.ledger_locks import bookings_held
from tests.support.patience import LIMIT_S
from tests.support.raw_http import connect, order, send_and_leave
from tests.support.redis_clients import writes_held
from tests.support.serving import NOTICE_S, Serving, notice_given, serving
from tests.support.use_cases import hold
from tests.support.waiting import eventually

pytestmark = pytest.mark.settings(shutdown_drain_s=LIMIT_S)


@pytest.fixture
async def run(service: Service) -> AsyncIterator[Serving]:
    """A service whose end is in the test's hands."""
    frontend = await service.key_ledger.create("frontend", frozenset({Scope.FRONTEND}))
    ops = await service.key_ledger.create("ops", frozenset({Scope.OPS}))
    async with serving(service, frontend, ops) as started:
        yield started


def order_of(candidate: str, key: str, api: ApiClient) -> bytes:
    wish = {"subjects": ["general", "service"], "venues": ["tianjin"]}
    return order(api.frontend_key, candidate, idempotency_key=key, keeps=False, **wish)


async def admin_status(run: Serving, path: str) -> int:
    url = f"{run.addresses.admin}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status


async def refuses_connections(url: str) -> bool:
    try:
        _, writer = await connect(url)
    except ConnectionError:
        return True
    writer.close()
    return False


async def is_draining(run: Serving) -> bool:
    return await admin_status(run, "/readyz") == 503


async def is_quiet(service: Service) -> bool:
    return service.in_flight.count == len(service.context.queue) == 0


async def test_a_shutdown_says_so_first_and_lets_a_reservation_finish(
    run: Serving, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    api = run.client
    assert await admin_status(run, "/readyz") == 200

    async with writes_held(redis_client):
        reserving = asyncio.create_task(api.reserve("candidate-1"))

        async def is_in_flight() -> bool:
            return run.service.in_flight.count == 1

        await eventually(is_in_flight)
        run.stop.set()
        await eventually(lambda: is_draining(run))
        alive = await admin_status(run, "/livez")
        assert not reserving.done()
    reply = await reserving
    await asyncio.wait_for(run.ended, LIMIT_S)

    assert alive == 200
    assert reply.status == 201
    assert [r.id for r in await evidence.reservations()] == [reply.json["id"]]
    assert await refuses_connections(run.addresses.api)
    assert await refuses_connections(run.addresses.admin)
    await evidence.assert_books_balance()


@pytest.mark.settings(shutdown_notice_s=NOTICE_S, shutdown_drain_s=LIMIT_S)
async def test_a_balancer_that_asks_the_public_port_hears_of_the_shutdown_and_is_served_till_then(
    run: Serving, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = run.client

    with notice_given(monkeypatch):
        run.stop.set()
        await eventually(lambda: is_draining(run))
        told = await api.get("/readyz", key=None)
        still_served = await api.reserve("candidate-1")
    await asyncio.wait_for(run.ended, LIMIT_S)

    assert (told.status, told.slug) == (503, "not-ready")
    assert still_served.status == 201
    assert await refuses_connections(run.addresses.api)
    await evidence.assert_books_balance()


async def test_a_shutdown_lets_a_payment_finish(
    run: Serving, settings: Settings, evidence: Evidence
) -> None:
    api = run.client
    held = (await api.reserve()).json

    async with bookings_held(settings):
        paying = asyncio.create_task(api.pay(held))

        async def is_under_attempt() -> bool:
            return [r.state for r in await evidence.reservations()] == ["confirming"]

        await eventually(is_under_attempt)
        run.stop.set()
        await eventually(lambda: is_draining(run))
        assert not paying.done()
    reply = await paying
    await asyncio.wait_for(run.ended, LIMIT_S)

    assert reply.json["outcome"] == "confirmed"
    assert [r.state for r in await evidence.reservations()] == ["confirmed"]
    assert await evidence.bookings() == [held["id"]]
    await evidence.assert_books_balance()


@pytest.mark.settings(request_timeout_s=0.2, shutdown_drain_s=LIMIT_S)
async def test_a_shutdown_waits_for_protocols_that_nobody_waits_for_any_more(
    run: Serving, settings: Settings, evidence: Evidence
) -> None:
    held = await hold(run.service)

    async with bookings_held(settings):
        given_up = await run.client.pay(held.id)
        run.stop.set()
        await eventually(lambda: refuses_connections(run.addresses.admin))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(run.ended), 0.3)
    await asyncio.wait_for(run.ended, LIMIT_S)

    assert given_up.status == 503
    assert [r.state for r in await evidence.reservations()] == ["confirmed"]
    assert await evidence.bookings() == [held.id]
    await evidence.assert_books_balance()


@pytest.mark.settings(idle_timeout_s=3600, head_timeout_s=3600, shutdown_drain_s=3600)
async def test_an_idle_connection_does_not_hold_up_a_shutdown(run: Serving) -> None:
    _, idle = await connect(run.addresses.api)
    _, half_sent = await connect(run.addresses.api)
    half_sent.write(b"POST /v1/payment-callbacks HTTP/1.1\r\nHost: quota\r\n")
    await half_sent.drain()
    assert (await run.client.get("/livez")).status == 200

    run.stop.set()
    await asyncio.wait_for(run.ended, LIMIT_S)

    for writer in (idle, half_sent):
        writer.close()


async def test_a_background_task_that_misses_its_cancellation_does_not_hold_up_a_shutdown(
    run: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = asyncio.Event()

    async def swallow_a_cancellation(_: ExamRegistry) -> None:
        waiting.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    monkeypatch.setattr(ExamRegistry, "refresh", swallow_a_cancellation)
    await asyncio.wait_for(waiting.wait(), LIMIT_S)

    run.stop.set()

    await asyncio.wait_for(asyncio.shield(run.ended), LIMIT_S)


@pytest.mark.settings(shutdown_drain_s=0.1)  # the halves of requests are waited for otherwise
async def test_a_client_that_leaves_right_after_its_order_has_it_whole_or_not_at_all(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    orders = {f"candidate-{i}": f"key-{i}" for i in range(40)}

    await asyncio.gather(
        *(send_and_leave(api.url, order_of(name, key, api)) for name, key in orders.items())
    )
    cut = [order_of(f"cut-{i}", f"cut-{i}", api)[: -(i + 1) * 5] for i in range(10)]
    await asyncio.gather(*(send_and_leave(api.url, sent) for sent in cut))
    # A request that is answered after them: what they sent has been read by then.
    assert (await api.get("/livez")).status == 200
    await eventually(lambda: is_quiet(running.service))

    await evidence.assert_books_balance()
    made = {r.candidate: r.id for r in await evidence.reservations()}
    assert len(made) <= 5
    assert not any(candidate.startswith("cut") for candidate in made)
    for candidate, reservation in made.items():
        again = await api.reserve(
            candidate,
            ("general", "service"),
            ("tianjin",),
            idempotency_key=orders[candidate],
        )
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.json["id"] == reservation


async def test_a_client_that_leaves_while_redis_works_does_not_stop_its_order(
    running: Running, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    api = running.client

    async with writes_held(redis_client):
        reserving = asyncio.create_task(api.reserve("candidate-1", idempotency_key="key-a"))

        async def is_in_flight() -> bool:
            return running.service.in_flight.count == 1

        await eventually(is_in_flight)
        reserving.cancel()
        await asyncio.wait({reserving})
    await eventually(lambda: is_quiet(running.service))

    assert [r.candidate for r in await evidence.reservations()] == ["candidate-1"]
    again = await api.reserve("candidate-1", idempotency_key="key-a")
    assert again.headers["Idempotency-Replayed"] == "true"
    await evidence.assert_books_balance()


async def test_a_provider_that_leaves_while_postgres_works_does_not_stop_the_booking(
    running: Running, settings: Settings, evidence: Evidence
) -> None:
    api = running.client
    held = (await api.reserve()).json

    async with bookings_held(settings):
        paying = asyncio.create_task(api.pay(held, event="e-1", secret=PAYMENT_SECRET))

        async def is_under_attempt() -> bool:
            return [r.state for r in await evidence.reservations()] == ["confirming"]

        await eventually(is_under_attempt)
        paying.cancel()
        await asyncio.wait({paying})
    await eventually(lambda: is_quiet(running.service))
    again = await api.pay(held, event="e-1")

    assert again.json["outcome"] == "confirmed"
    assert await evidence.payments() == {"e-1": ("confirmed", None)}
    assert await evidence.bookings() == [held["id"]]
    await evidence.assert_books_balance()


@pytest.mark.settings(UseCaseLimits(at_once_max=3))
async def test_what_is_beyond_the_limit_of_requests_at_work_is_refused_at_once(
    running: Running, redis_client: "redis.asyncio.Redis", evidence: Evidence
) -> None:
    api = running.client

    async with writes_held(redis_client):
        first = [
            asyncio.create_task(api.reserve(f"candidate-{i}", venues=("tianjin",)))
            for i in range(3)
        ]

        async def is_full() -> bool:
            return running.service.in_flight.count == 3

        await eventually(is_full)
        beyond = await api.reserve("candidate-9", venues=("tianjin",))
        public = await api.get("/v1/exams")
    replies = await asyncio.gather(*first)

    assert (beyond.status, beyond.slug) == (503, "overloaded")
    assert 1 <= int(beyond.headers["Retry-After"]) <= 3
    assert public.status == 200
    assert [reply.status for reply in replies] == [201] * 3
    assert len(await evidence.reservations()) == 3
