"""What the API tells while no worker runs: the ages of what waits, and a warning of readiness."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import redis.asyncio
from prometheus_client.parser import text_string_to_metric_families

from quota_service.app.opening import Service, open_service
from quota_service.app.running import run_service
from quota_service.app.upkeep import refresh_memory
from quota_service.ledger.leases import WorkerLease
from quota_service.registration.confirm import confirm
from quota_service.registration.drain_journal import drain_journal
from quota_service.settings import Settings
from quota_service.workers.lease import LeaseWorker
from tests.conftest import Running
from tests.support.exams import SEATS
from tests.support.lost_shards import rows
from tests.support.records import HOUR_MS, move_due_into_the_past, redis_now_ms
from tests.support.use_cases import (
    DiedError,
    dying,
    expire_due_holds,
    hold,
    payment,
    recover,
)

OLDEST = {
    "hold": "quota_expiry_lag_oldest_seconds",
    "payment": "quota_confirmations_pending_oldest_seconds",
    "journal": "quota_journal_lag_oldest_seconds",
}
SEATS_IN_ALL = sum(seats for quotas in SEATS.values() for seats in quotas.values())


async def series(admin: str) -> Mapping[str, list[float]]:
    """Return the values of the metrics of an admin port by name."""
    async with aiohttp.ClientSession() as session, session.get(f"{admin}/metrics") as response:
        families = text_string_to_metric_families(await response.text())
    found: dict[str, list[float]] = {}
    for sample in (sample for family in families for sample in family.samples):
        found.setdefault(sample.name, []).append(sample.value)
    return found


async def ages(running: Running) -> dict[str, float]:
    """Look at what waits; return the ages of the oldest in seconds."""
    await running.service.stores.reservations.backlog.refresh()
    found = await series(running.addresses.admin)
    return {kind: sum(found[name]) for kind, name in OLDEST.items()}


async def readiness(running: Running) -> Any:
    await running.service.health.refresh()
    reply = await running.client.get("/readyz", key=None)
    assert reply.status == 200
    return reply.json


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[str]:
    """Run another process's workers; yield the URL of its admin port."""
    listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def ready(_: Service, addresses: Any) -> None:
        listening.set_result(addresses.admin)

    stop = asyncio.Event()
    quiet = dataclasses.replace(settings, shutdown_drain_s=5.0)
    async with open_service(quiet) as service:
        task = asyncio.create_task(run_service(service, stop, api=False, workers=True, ready=ready))
        yield await listening
        stop.set()
        await task


async def test_nothing_waits_on_a_service_at_rest(running: Running) -> None:
    shard = running.service.stores.registry.shard("exam-1")
    await drain_journal(running.service.stores.maintenance, shard, 1000, 3)

    assert await ages(running) == {"hold": 0, "payment": 0, "journal": 0}


async def test_the_api_tells_for_how_long_a_hold_is_overdue(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    stores = running.service.stores
    held = (await running.client.reserve()).json
    in_time = (await ages(running))["hold"]

    await move_due_into_the_past(redis_client, held["id"])
    overdue = (await ages(running))["hold"]
    await expire_due_holds(stores, stores.registry.shard("exam-1"), 10)
    expired = (await ages(running))["hold"]

    assert (in_time, expired) == (0, 0)
    assert HOUR_MS / 1000 <= overdue < HOUR_MS / 1000 + 60


async def test_the_api_tells_the_age_of_the_oldest_journal_entry_that_is_not_drained(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    stores = running.service.stores
    shard = stores.registry.shard("exam-1")
    await drain_journal(stores.maintenance, shard, 1000, 3)
    entry = {"verb": "test", "subject": "s", "at": await redis_now_ms(redis_client) - HOUR_MS}
    await redis_client.xadd(shard.key("journal"), {**entry, "body": ""}, id="1-900000")
    await running.client.reserve()

    told = (await ages(running))["journal"]

    assert HOUR_MS / 1000 <= told < HOUR_MS / 1000 + 60


async def test_the_api_tells_the_age_of_the_oldest_payment_that_is_not_finished(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    service = running.service
    held = await hold(service)
    shard = service.stores.registry.shard("exam-1")
    with pytest.raises(DiedError):
        await confirm(dying(service.stores, "confirm: after attempt").payments, payment(held))
    ((serial, since_ms),) = await redis_client.zrange(shard.key("pinned"), 0, 0, withscores=True)
    await redis_client.zadd(shard.key("pinned"), {serial: since_ms - HOUR_MS})

    pending = (await ages(running))["payment"]
    await recover(service)
    recovered = (await ages(running))["payment"]

    assert HOUR_MS / 1000 <= pending < HOUR_MS / 1000 + 60
    assert recovered == 0


async def test_ages_of_an_exam_that_is_not_open_any_more_do_not_stay(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    held = (await running.client.reserve()).json
    await move_due_into_the_past(redis_client, held["id"])
    before = (await ages(running))["hold"]

    await rows(running.service, "UPDATE shards SET state = 'fenced'")
    await refresh_memory(running.service)
    after = (await ages(running))["hold"]

    assert before > 0
    assert after == 0


async def test_a_service_that_never_had_a_worker_warns_of_it(running: Running) -> None:
    told = await readiness(running)

    assert told == {"status": "ok", "warnings": ["worker"]}
    assert "no worker has run yet" in running.service.health.warnings["worker"]
    assert "quota-service worker" in running.service.health.warnings["worker"]


async def test_a_worker_ends_the_warning_and_one_that_is_gone_brings_it_back(
    running: Running,
) -> None:
    service = running.service
    await LeaseWorker(WorkerLease(service.stores.ledger)).run_once()
    with_worker = await readiness(running)

    await rows(service, "UPDATE leases SET until = until - interval '42 seconds'")
    without = await readiness(running)

    assert with_worker == {"status": "ok"}
    assert without == {"status": "ok", "warnings": ["worker"]}
    assert "no worker has run for 3" in service.health.warnings["worker"]


async def test_a_process_with_workers_of_its_own_never_warns_of_a_missing_worker(
    service: Service,
) -> None:
    warned = []

    async def ready(running: Service, _: Any) -> None:
        warned.append(dict(running.health.warnings))
        stop.set()

    stop = asyncio.Event()
    await run_service(service, stop, api=True, workers=True, ready=ready)

    assert warned == [{}]


async def test_one_worker_at_a_time_has_the_lease_and_another_takes_it_when_it_has_ended(
    service: Service,
) -> None:
    first, second = WorkerLease(service.stores.ledger), WorkerLease(service.stores.ledger)

    async def holders() -> Iterable[bool]:
        await first.renew()
        await second.renew()
        return first.is_held, second.is_held

    both_live = [await holders(), await holders()]
    await rows(service, "UPDATE leases SET until = clock_timestamp()")
    await second.renew()
    taken_over = await holders()

    assert both_live == [(True, False)] * 2
    assert taken_over == (False, True)


async def test_a_worker_that_stops_leaves_the_lease_to_the_next_at_once(
    running: Running, settings: Settings
) -> None:
    lease = running.service.stores.worker_lease

    async with worker(settings):
        await lease.renew()
        beside = lease.is_held
    await lease.renew()
    after = lease.is_held

    assert (beside, after) == (False, True)


async def test_a_worker_that_is_taken_over_from_is_not_warned_of(running: Running) -> None:
    service = running.service
    await LeaseWorker(WorkerLease(service.stores.ledger)).run_once()
    await rows(service, "UPDATE leases SET until = clock_timestamp() - interval '1 second'")

    assert await readiness(running) == {"status": "ok"}


async def test_the_seats_are_told_once_by_all_processes_together(
    running: Running, settings: Settings
) -> None:
    async with worker(settings) as one, worker(settings) as other:
        api, *workers = [await series(url) for url in (running.addresses.admin, one, other)]

    told = [sum(each.get("quota_seats_capacity", [])) for each in (api, *workers)]
    assert told[0] == 0
    assert sorted(told[1:]) == [0, SEATS_IN_ALL]
    for name in ("quota_holds_live", "quota_journal_lag_entries", "quota_confirmations_pending"):
        assert sum(len(each.get(name, [])) for each in (api, *workers)) == 1, name
