"""Redis read-only, busy or full: what is refused, what goes on, and what is whole afterwards.

The Redis of this module is its own, because its settings are changed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import redis.asyncio

from quota_service.domain.errors import SeatsUnavailable
from quota_service.domain.payment import PaymentOutcome
from quota_service.domain.reservation import State
from quota_service.embedded import EmbeddedRedis
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.recover import Recovered
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.recovery import RecoveryWorker
from tests.conftest import Running
from tests.support.bookings import book, check_agreement, left, now, recover
from tests.support.client import Reply
from tests.support.lost_shards import check_after, lose_everything, recover_shards, ways
from tests.support.patience import LIMIT_S
from tests.support.records import move_due
from tests.support.use_cases import DiedError, dying, hold, payment, state
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("sick-redis")) as server:
        yield server


@pytest.fixture
async def doctor(redis_server: EmbeddedRedis) -> AsyncIterator["redis.asyncio.Redis"]:
    """A client apart from the service's."""
    async with redis.asyncio.Redis.from_url(redis_server.url, decode_responses=True) as client:
        yield client


@asynccontextmanager
async def full(doctor: "redis.asyncio.Redis") -> AsyncIterator[None]:
    """Let Redis have no memory left for anything new."""
    await doctor.config_set("maxmemory", "1")
    try:
        yield
    finally:
        await doctor.config_set("maxmemory", "0")


@asynccontextmanager
async def read_only(doctor: "redis.asyncio.Redis") -> AsyncIterator[None]:
    """Let Redis be a replica, as the old master is after a failover that clients missed."""
    await doctor.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        await doctor.execute_command("REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def busy(doctor: "redis.asyncio.Redis") -> AsyncIterator[None]:
    """Let Redis be at work on a script that does not end."""
    await doctor.config_set("busy-reply-threshold", "1")
    async with redis.asyncio.Redis.from_url(
        "redis://{host}:{port}".format(**doctor.connection_pool.connection_kwargs)
    ) as blocker:
        endless = asyncio.create_task(blocker.eval("while true do end", 0))

        async def is_busy() -> bool:
            try:
                await doctor.ping()
            except redis.asyncio.RedisError as error:
                return "BUSY" in str(error)
            return False

        await eventually(is_busy)
        try:
            yield
        finally:
            await doctor.script_kill()
            await asyncio.wait([endless])
            assert endless.exception() is not None


def assert_not_ready(reply: Reply, part: str = "seats") -> None:
    assert (reply.status, reply.slug) == (503, "not-ready"), reply
    assert reply.json["part"] == part
    assert 1 <= int(reply.headers["Retry-After"]) <= 3


async def test_a_full_redis_takes_no_hold_and_everything_in_flight_goes_on(
    running: Running, doctor: "redis.asyncio.Redis"
) -> None:
    api, service = running.client, running.service
    paid, given_back, overdue = [
        (await api.reserve(f"candidate-{n}", venues=("tianjin",))).json for n in range(3)
    ]
    refunded = (await api.reserve("candidate-3", venues=("tianjin",))).json
    await api.pay(refunded, event="event-3")
    await move_due(doctor, *service.stores.registry.locate(overdue["id"]))

    async with full(doctor):
        refused = await api.reserve("candidate-4")
        outcome = await api.pay(paid, event="event-0")
        released = await api.call("DELETE", f"/v1/reservations/{given_back['id']}")
        back = await api.call("POST", f"/v1/reservations/{refunded['id']}/refund")
        expired = await ExpiryWorker(service.stores, service.settings).run_once()
        seen = await api.get(f"/v1/reservations/{paid['id']}")

    assert_not_ready(refused)
    assert outcome.json["outcome"] == "confirmed"
    assert (released.status, back.status, seen.json["state"]) == (200, 200, "confirmed")
    assert expired["expired"] == 1
    assert (await api.reserve("candidate-4")).status == 201
    await check_after(service, booked=1)


async def test_with_a_full_redis_recovery_settles_what_died(
    running: Running, doctor: "redis.asyncio.Redis"
) -> None:
    service = running.service
    for n, line in enumerate(("confirm: after attempt", "confirm: after commit")):
        held = await hold(service, f"candidate-{n}", "tianjin")
        with pytest.raises(DiedError):
            await confirm(dying(service.stores, line).payments, payment(held, f"event-{n}"))

    async with full(doctor):
        done = await RecoveryWorker(service.stores.payments, service.settings).run_once()

    assert (done["finished"], done["abandoned"]) == (1, 1)
    await check_agreement(service, booked=1)


async def test_a_shard_lost_by_a_full_redis_is_recovered_and_sells_when_there_is_room(
    running: Running, doctor: "redis.asyncio.Redis"
) -> None:
    api, service = running.client, running.service
    booked = await book(service)
    await lose_everything(service)

    async with full(doctor):
        assert await recover_shards(service) == 1
        seen = await state(service, booked)
        refused = await api.reserve("candidate-2")

    assert seen is State.CONFIRMED
    assert_not_ready(refused)
    assert (await api.reserve("candidate-2")).status == 201
    await check_after(service, booked=1)


async def test_a_read_only_redis_is_answered_503_and_nothing_happens(
    running: Running, doctor: "redis.asyncio.Redis"
) -> None:
    api, service = running.client, running.service
    held = (await api.reserve("candidate-1")).json
    path = f"/v1/reservations/{held['id']}"
    overdue = (await api.reserve("candidate-3", venues=("tianjin",))).json
    await move_due(doctor, *service.stores.registry.locate(overdue["id"]))

    async with read_only(doctor):
        replies = [
            await api.reserve("candidate-2"),
            await api.call("DELETE", path),
            await api.call("POST", f"{path}/checkout"),
            await api.call("PUT", f"{path}/venue", json={"venue": "tianjin"}),
            await api.pay(held, event="event-1"),
        ]
        with pytest.raises(SeatsUnavailable):
            await ExpiryWorker(service.stores, service.settings).run_once()

    for reply in replies:
        assert_not_ready(reply)
    # It was a replica meanwhile, and may have followed another history.
    assert_not_ready(await api.get(path), "shard")
    assert await recover_shards(service) == 1
    assert await ways(service) == ["reopened"]
    assert await left(service, "jinan/general") == 2
    assert (await api.get(path)).json["state"] == "held"
    assert (await ExpiryWorker(service.stores, service.settings).run_once())["expired"] == 1
    assert (await api.pay(held, event="event-1")).json["outcome"] == "confirmed"
    await check_after(service, booked=1)


async def test_a_refund_that_met_a_read_only_redis_gets_its_seats_back_from_recovery(
    running: Running, doctor: "redis.asyncio.Redis"
) -> None:
    service = running.service
    booked = await book(service)

    async with read_only(doctor):
        outcome = await asyncio.gather(
            refund(service.stores.payments, booked.id), return_exceptions=True
        )
    assert await recover_shards(service) == 1
    await recover(service)

    (end,) = outcome
    if isinstance(end, SeatsUnavailable):
        await refund(service.stores.payments, booked.id)
    assert await left(service, "jinan/general") == 3
    await check_after(service, booked=0)


async def test_a_change_that_met_a_read_only_redis_after_its_decision_is_finished_by_recovery(
    running: Running, doctor: "redis.asyncio.Redis"
) -> None:
    service = running.service
    booked = await book(service)
    with pytest.raises(DiedError):
        await change_venue(
            dying(service.stores, "change: after commit").payments, booked.id, "tianjin"
        )

    async with read_only(doctor):
        with pytest.raises(SeatsUnavailable):
            await recover(service)
    assert await recover_shards(service) == 1
    moved = await now(service, booked)

    assert (moved.state, moved.venue) == (State.CONFIRMED, "tianjin")
    assert await recover(service) == (Recovered(), 0)
    await check_after(service, booked=1)


async def test_a_busy_redis_is_answered_503_at_once_and_works_when_the_script_is_killed(
    running: Running, doctor: "redis.asyncio.Redis"
) -> None:
    api, service = running.client, running.service
    held = (await api.reserve("candidate-1")).json

    async with busy(doctor):
        started = time.monotonic()
        replies = [
            await api.reserve("candidate-2"),
            await api.call("DELETE", f"/v1/reservations/{held['id']}"),
            await api.pay(held, event="event-1"),
        ]
        elapsed_s = time.monotonic() - started

    for reply in replies:
        assert_not_ready(reply)
    assert elapsed_s < LIMIT_S / 2
    assert (await api.reserve("candidate-2")).status == 201
    paid = await confirm(service.stores.payments, payment(await hold(service, "candidate-3")))
    assert paid.outcome is PaymentOutcome.CONFIRMED
    assert (await release(service.stores, held["id"])).state is State.RELEASED
    assert await recover_shards(service) == 0
    await check_after(service, booked=1)
