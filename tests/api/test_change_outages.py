"""A store goes away or hangs while bookings move and are refunded: each stays whole or ends once.

The servers of this module are its own, because they are killed.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from quota_service.app.opening import open_service
from quota_service.domain.errors import QuotaError
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.ledger.migrations import migrate
from quota_service.settings import Settings
from quota_service.workers.recovery import RecoveryWorker
from quota_service.workers.shard_recovery import ShardRecoveryWorker
from tests.conftest import Running
from tests.support.bookings import check_agreement
from tests.support.client import ApiClient, Reply
from tests.support.patience import LIMIT_S
from tests.support.servers import killed, paused
from tests.support.serving import hasty
from tests.support.waiting import eventually

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
    async with open_service(Settings(postgres_dsn=postgres_server.url)) as service:
        await migrate(service.stores.ledger)
    return urlsplit(postgres_server.url).path[1:]


async def booked(api: ApiClient, candidate: str = "candidate-1") -> Any:
    held = (await api.reserve(candidate)).json
    assert (await api.pay(held)).json["outcome"] == "confirmed"
    return held


async def move(api: ApiClient, reservation: Mapping[str, Any], venue: str) -> Reply:
    path = f"/v1/reservations/{reservation['id']}/venue"
    return await api.call("PUT", path, json={"venue": venue})


async def pay_back(api: ApiClient, reservation: Mapping[str, Any]) -> Reply:
    return await api.call("POST", f"/v1/reservations/{reservation['id']}/refund")


def assert_unavailable(reply: Reply, part: str) -> None:
    assert (reply.status, reply.slug, reply.json["part"]) == (503, "not-ready", part), reply
    assert 1 <= int(reply.headers["Retry-After"]) <= 3


async def in_redis(running: Running, reservation: Mapping[str, Any]) -> tuple[str, str]:
    """Return state and venue as Redis has them, whatever Postgres does."""
    stores = running.service.stores
    found = await stores.seats.read(*stores.registry.locate(reservation["id"]))
    assert found is not None
    return found.state, found.venue


async def test_without_postgres_a_change_is_refused_and_the_booking_is_usable_at_once(
    running: Running, postgres_server: EmbeddedPostgres
) -> None:
    api = running.client
    booking, other = await booked(api), await booked(api, "candidate-2")
    held = (await api.reserve("candidate-3")).json

    with killed(postgres_server):
        started = time.monotonic()
        refused = [await move(api, booking, "beijing") for _ in range(2)]
        refund = await pay_back(api, other)
        moved = await move(api, held, "tianjin")
        elapsed_s = time.monotonic() - started
        seen = [await in_redis(running, r) for r in (booking, other)]

    for reply in (*refused, refund):
        assert_unavailable(reply, "ledger")
    assert (moved.status, moved.json["venue"]) == (200, "tianjin")
    assert elapsed_s < PROMPT_S
    assert seen == [("confirmed", "jinan")] * 2

    async def moves() -> bool:
        return (await move(api, booking, "beijing")).status == 200

    async def is_refunded() -> bool:
        return (await pay_back(api, other)).status == 200

    await eventually(moves)
    await eventually(is_refunded)
    assert await in_redis(running, booking) == ("confirmed", "beijing")
    await check_agreement(running.service, booked=1)


async def test_while_postgres_hangs_a_change_is_answered_in_time_and_leaves_the_booking_whole(
    running: Running, postgres_server: EmbeddedPostgres
) -> None:
    api = running.client
    booking, other = await booked(api), await booked(api, "candidate-2")

    async with hasty(
        running,
        postgres_command_timeout_s=0.4,
        postgres_acquire_timeout_s=0.4,
        postgres_connect_timeout_s=0.4,
    ) as beside:
        with paused(postgres_server):
            started = time.monotonic()
            replies = [await move(beside, booking, "tianjin"), await pay_back(beside, other)]
            elapsed_s = time.monotonic() - started
            seen = [await in_redis(running, r) for r in (booking, other)]

    for reply in replies:
        assert_unavailable(reply, "ledger")
    assert elapsed_s < PROMPT_S
    assert seen == [("confirmed", "jinan")] * 2

    async def moves() -> bool:
        return (await move(api, booking, "tianjin")).status == 200

    await eventually(moves)
    worker = RecoveryWorker(running.service.stores.payments, running.service.settings)
    await worker.run_once()
    assert (await pay_back(api, other)).status == 200
    await check_agreement(running.service, booked=1)


async def test_a_request_that_gives_up_on_a_hanging_postgres_leaves_a_change_that_ends(
    running: Running, postgres_server: EmbeddedPostgres
) -> None:
    booking = await booked(running.client)

    async def has_moved() -> bool:
        return await in_redis(running, booking) == ("confirmed", "tianjin")

    async with hasty(running, request_timeout_s=0.4) as beside:
        with paused(postgres_server):
            reply = await move(beside, booking, "tianjin")
            seen = await in_redis(running, booking)
        await eventually(has_moved)

    assert (reply.status, reply.slug) == (503, "not-ready")
    assert seen == ("changing_venue", "jinan")
    await check_agreement(running.service, booked=1)


async def test_without_redis_both_are_refused_and_nothing_is_written(
    running: Running, redis_server: EmbeddedRedis
) -> None:
    api = running.client
    booking = await booked(api)

    with killed(redis_server):
        replies = [await move(api, booking, "tianjin"), await pay_back(api, booking)]

    for reply in replies:
        assert_unavailable(reply, "seats")

    rebuild = ShardRecoveryWorker(running.service.stores.maintenance, running.service.settings)

    async def moves() -> bool:
        with suppress(QuotaError):
            await rebuild.run_once()
        return (await move(api, booking, "tianjin")).status == 200

    await eventually(moves)
    await check_agreement(running.service, booked=1)
