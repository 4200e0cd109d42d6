"""A store goes away or hangs, and comes back: what is answered meanwhile, and how it all ends.

The servers of this module are its own, because they are killed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from quota_service.app.opening import Service, open_service
from quota_service.domain.errors import LedgerUnavailable, QuotaError
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.ledger.migrations import migrate
from quota_service.settings import Settings
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.recovery import RecoveryWorker
from quota_service.workers.shard_recovery import ShardRecoveryWorker
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.patience import LIMIT_S
from tests.support.servers import killed, paused
from tests.support.serving import hasty, serving
from tests.support.waiting import eventually

_DATABASE = "postgres"
AVAILABILITY = "/v1/exams/exam-1/availability"
PROMPT_S = LIMIT_S / 2
"""Less than what waits for a store that does not answer would take."""


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("mortal-redis")) as server:
        yield server


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("mortal-postgres")) as server:
        yield server


@pytest.fixture(scope="module")
async def migrated_template(postgres_server: EmbeddedPostgres) -> str:
    settings = Settings(postgres_dsn=postgres_server.url)
    async with open_service(settings) as service:
        await migrate(service.stores.ledger)
    return _DATABASE


def assert_unavailable(replies: Sequence[Reply], part: str) -> None:
    for reply in replies:
        assert (reply.status, reply.slug) == (503, "not-ready"), reply
        assert reply.json["part"] == part
        assert 1 <= int(reply.headers["Retry-After"]) <= 3


async def is_ready(api: ApiClient) -> bool:
    return (await api.get("/readyz", key=None)).status == 200


def confirms(api: ApiClient, held: Mapping[str, Any], event: str) -> Callable[[], Awaitable[bool]]:
    """Return a condition: the payment provider, sending again, is told of the booking."""

    async def condition() -> bool:
        reply = await api.pay(held, event=event)
        return reply.status == 200 and bool(reply.json["outcome"] == "confirmed")

    return condition


async def rebuild(service: Service) -> None:
    """Do a worker's round; what is not back yet is for the next."""
    with suppress(QuotaError):
        await ShardRecoveryWorker(service.stores.maintenance, service.settings).run_once()


async def is_unready(api: ApiClient) -> bool:
    return not await is_ready(api)


async def test_without_redis_every_call_that_needs_it_is_quickly_answered_503(
    running: Running, redis_server: EmbeddedRedis, evidence: Evidence
) -> None:
    api = running.client
    held = (await api.reserve("candidate-1", idempotency_key="key-a")).json
    path = f"/v1/reservations/{held['id']}"

    with killed(redis_server):
        started = time.monotonic()
        replies = [
            await api.reserve("candidate-2"),
            await api.reserve("candidate-1", idempotency_key="key-a"),
            await api.get(path),
            await api.call("DELETE", path),
            await api.call("POST", f"{path}/checkout"),
            await api.pay(held, event="e-1"),
            await api.get("/v1/exams/exam-1/candidates/candidate-1"),
        ]
        elapsed_s = time.monotonic() - started
        crowd = await asyncio.gather(*(api.reserve(f"crowd-{i}") for i in range(100)))
        await eventually(lambda: is_unready(api))
        looked = await api.get(AVAILABILITY)
        others = [await api.get(known) for known in ("/v1/exams", "/v1/exams/exam-1", "/livez")]

    assert_unavailable([*replies, *crowd, looked], "seats")
    assert elapsed_s < PROMPT_S
    assert [reply.status for reply in others] == [200, 200, 200]

    async def reserves() -> bool:
        await rebuild(running.service)
        return (await api.reserve("candidate-3", venues=("tianjin",))).status == 201

    # It serves again by itself (P8), and what was acknowledged before is still there.
    await eventually(reserves)
    await eventually(lambda: is_ready(api))
    again = await api.reserve("candidate-1", idempotency_key="key-a")
    paid = await api.pay(held, event="e-1")
    assert (again.status, again.json["id"]) == (201, held["id"])
    assert paid.json["outcome"] == "confirmed"
    assert await evidence.bookings() == [held["id"]]
    await evidence.assert_books_balance()


async def test_while_redis_hangs_requests_are_answered_in_time_and_repeats_have_one_effect(
    running: Running, redis_server: EmbeddedRedis, evidence: Evidence
) -> None:
    api = running.client
    orders = {f"candidate-{i}": f"key-{i}" for i in range(12)}

    async with hasty(running, redis_command_timeout_s=0.3, redis_connect_timeout_s=0.3) as other:
        with paused(redis_server):
            started = time.monotonic()
            replies = await asyncio.gather(
                *(
                    other.reserve(candidate, ("service",), ("tianjin",), idempotency_key=key)
                    for candidate, key in orders.items()
                )
            )
            elapsed_s = time.monotonic() - started

        async def answers() -> bool:
            return (await other.get(AVAILABILITY)).status == 200

        await eventually(answers)

    assert_unavailable(replies, "seats")
    assert elapsed_s < PROMPT_S
    again = [
        await api.reserve(candidate, ("service",), ("tianjin",), idempotency_key=key)
        for candidate, key in orders.items()
    ]
    once_more = [
        await api.reserve(candidate, ("service",), ("tianjin",), idempotency_key=key)
        for candidate, key in orders.items()
    ]
    assert sum(reply.status == 201 for reply in again) == 5
    assert [r.body for r in once_more if r.status == 201] == [
        r.body for r in again if r.status == 201
    ]
    await evidence.assert_books_balance()


async def test_without_postgres_holds_are_served_and_a_payment_waits_in_redis(
    running: Running, postgres_server: EmbeddedPostgres, evidence: Evidence
) -> None:
    api = running.client
    held = (await api.reserve("candidate-1")).json
    path = f"/v1/reservations/{held['id']}"

    with killed(postgres_server):
        started = time.monotonic()
        new = await api.reserve("candidate-2", ("service",), ("tianjin",))
        new_path = f"/v1/reservations/{new.json['id']}"
        served = [
            await api.get(path),
            await api.get(new_path),
            await api.call("POST", f"{new_path}/checkout"),
            await api.call("DELETE", new_path),
            await api.get(AVAILABILITY),
            await api.get("/v1/exams"),
        ]
        served_s = time.monotonic() - started
        payments = [await api.pay(held, event="e-1") for _ in range(2)]
        failed = await api.pay(held, event="e-2", status="failed")
        unknown = await api.pay("nobody", event="e-3")
        waiting = await api.get(path)
        deleted = await api.call("DELETE", path)
        await eventually(lambda: is_unready(api))
        alive = await api.get("/livez")

    assert (new.status, {reply.status for reply in served}) == (201, {200})
    assert served_s < PROMPT_S
    assert_unavailable([*payments, failed, unknown], "ledger")
    assert (waiting.status, waiting.json["state"]) == (200, "confirming")
    assert (deleted.status, deleted.slug) == (409, "payment-in-progress")
    assert alive.status == 200

    await eventually(confirms(api, held, "e-1"))
    await eventually(lambda: is_ready(api))
    repeated = await api.pay(held, event="e-1")
    assert repeated.json == {"outcome": "confirmed", "reservation": held["id"]}
    assert (await api.get(path)).json["state"] == "confirmed"
    assert await evidence.bookings() == [held["id"]]
    assert await evidence.payments() == {"e-1": ("confirmed", None)}
    await evidence.assert_books_balance()


async def test_a_payment_that_waits_for_postgres_keeps_its_seat_past_the_deadline(
    running: Running, postgres_server: EmbeddedPostgres, evidence: Evidence
) -> None:
    api = running.client
    await api.import_exam(exam_definition("exam-2", ttl_s=1))
    held = (await api.reserve(exam="exam-2")).json
    worker = ExpiryWorker(running.service.stores, running.service.settings)

    with killed(postgres_server):
        await api.pay(held, event="e-1")
        other = (await api.reserve("candidate-2", ("qms",), exam="exam-2")).json

        async def the_other_expires() -> bool:
            return (await worker.run_once())["expired"] == 1

        await eventually(the_other_expires)
        waiting = await api.get(f"/v1/reservations/{held['id']}")

    assert waiting.json["state"] == "confirming"
    assert (await api.get(f"/v1/reservations/{other['id']}")).json["state"] == "expired"

    # Back again, recovery is faster than the provider: the seat still waits for the payment.
    recovery = RecoveryWorker(running.service.stores.payments, running.service.settings)

    async def is_abandoned() -> bool:
        with suppress(LedgerUnavailable):
            return (await recovery.run_once())["abandoned"] == 1
        return False

    await eventually(is_abandoned)
    assert (await worker.run_once())["expired"] == 0
    assert (await api.get(f"/v1/reservations/{held['id']}")).json["state"] == "held"
    await eventually(confirms(api, held, "e-1"))
    await evidence.assert_books_balance("exam-2")


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"request_timeout_s": 0.8}, id="request gives up first"),
        pytest.param(
            {
                "postgres_command_timeout_s": 0.4,
                "postgres_acquire_timeout_s": 0.4,
                "postgres_connect_timeout_s": 0.4,
            },
            id="command gives up first",
        ),
    ],
)
async def test_while_postgres_hangs_a_callback_is_answered_503_in_time(
    running: Running,
    postgres_server: EmbeddedPostgres,
    evidence: Evidence,
    limits: Mapping[str, float],
) -> None:
    api = running.client
    held = [(await api.reserve(f"candidate-{i}", venues=("tianjin",))).json for i in range(5)]
    await api.pay(held[0], event="e-0")

    async with hasty(running, **limits) as other:
        with paused(postgres_server):
            started = time.monotonic()
            replies = await asyncio.gather(
                *(other.pay(each, event=f"e-{i}") for i, each in enumerate(held) if i)
            )
            elapsed_s = time.monotonic() - started
            shown = [(await api.get(f"/v1/reservations/{each['id']}")).json for each in held[1:]]

    for reply in replies:
        assert (reply.status, reply.slug) == (503, "not-ready"), reply
        assert 1 <= int(reply.headers["Retry-After"]) <= 3
    assert elapsed_s < PROMPT_S
    assert [each["state"] for each in shown] == ["confirming"] * 4

    for i, each in enumerate(held):
        await eventually(confirms(api, each, f"e-{i}"))
    assert sorted(h["id"] for h in held) == await evidence.bookings()
    assert len(await evidence.payments()) == 5
    await evidence.assert_books_balance()


async def test_while_postgres_hangs_a_view_is_answered_503_in_time(
    running: Running, postgres_server: EmbeddedPostgres
) -> None:
    api = running.client
    held = (await api.reserve()).json
    await api.pay(held)

    async with hasty(running, request_timeout_s=0.4) as other:
        with paused(postgres_server):
            started = time.monotonic()
            replies = [
                await other.get(f"/v1/reservations/{held['id']}"),
                await other.get("/v1/exams/exam-1/candidates/candidate-1"),
            ]
            elapsed_s = time.monotonic() - started

    assert [(reply.status, reply.slug) for reply in replies] == [(503, "not-ready")] * 2
    assert elapsed_s < PROMPT_S


async def test_an_import_that_redis_missed_is_finished_by_the_next(
    running: Running, redis_server: EmbeddedRedis, evidence: Evidence
) -> None:
    api = running.client

    with killed(redis_server):
        interrupted = await api.import_exam(exam_definition("exam-2"))
        early = await api.reserve(exam="exam-2")

    assert_unavailable([interrupted], "seats")
    assert early.status in {404, 503}

    async def is_imported() -> bool:
        return (await api.import_exam(exam_definition("exam-2"))).status == 200

    await eventually(is_imported)
    assert (await api.reserve(exam="exam-2")).status == 201
    await evidence.assert_books_balance("exam-2")


async def test_a_process_that_starts_while_both_stores_are_away_serves_when_they_are_back(
    running: Running,
    settings: Settings,
    redis_server: EmbeddedRedis,
    postgres_server: EmbeddedPostgres,
) -> None:
    keys = running.client.frontend_key, running.client.ops_key
    with ExitStack() as outage:
        outage.enter_context(killed(redis_server))
        outage.enter_context(killed(postgres_server))
        async with open_service(settings) as service, serving(service, *keys) as run:
            api = run.client
            alive = await api.get("/livez")
            early = [
                await api.get("/readyz"),
                await api.get("/v1/exams"),
                await api.reserve(),
                await api.get("/v1/exams/exam-1/candidates/candidate-1", key="nonsense"),
                await api.get(AVAILABILITY),
            ]
            outage.close()
            await eventually(lambda: is_ready(api))

            async def reserves() -> bool:
                await rebuild(service)
                return (await api.reserve()).status == 201

            await eventually(reserves)

    assert alive.status == 200
    assert [(reply.status, reply.slug) for reply in early] == [(503, "not-ready")] * len(early)
