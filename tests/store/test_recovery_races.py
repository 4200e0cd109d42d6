"""A recovery and what goes on beside it: other recoveries, imports, drains, requests."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import LedgerUnavailable, NotReady
from quota_service.domain.exam import Quota
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger.journal import JournalDrain
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.import_exam import import_exam
from quota_service.seats.recovery import RecoveryStore
from quota_service.settings import Settings
from tests.support.bookings import book
from tests.support.exams import SEATS, make_exam
from tests.support.lost_shards import (
    Stall,
    check_after,
    cut_idle_transactions,
    drain,
    ended,
    lose_everything,
    recover_shards,
    rows,
)
from tests.support.use_cases import hold, state
from tests.support.waiting import insisting

MORE_SEATS = {**SEATS, "beijing": {"general": 4, "service": 1}}


@pytest.fixture
async def other(settings: Settings, service: Service) -> AsyncIterator[Service]:
    """Another process on the same stores, which knows what the first knows."""
    assert service.stores.registry.is_loaded
    async with open_service(settings) as opened:
        await refresh_memory(opened)
        yield opened


async def capacities(service: Service) -> tuple[dict[Quota, int], dict[Quota, int]]:
    """Return the capacities Redis has, and those Postgres has."""
    snapshot = await service.stores.seats.snapshot(service.stores.registry.shard("exam-1"))
    async with service.stores.ledger.connection() as connection:
        return dict(snapshot.capacity), await service.stores.exams.capacity(connection, "exam-1")


async def overtake(
    service: Service, other: Service, stall: Stall
) -> tuple[BaseException | None, Reservation]:
    """Let a rebuild lose its lock where it stalls, and another finish and be served from.

    Return how the first ended when it went on, and what was reserved before it did.
    """
    await book(service)
    await lose_everything(service)
    overtaken = asyncio.create_task(recover_shards(service))
    await stall.begun.wait()
    await cut_idle_transactions(service.settings.postgres_dsn)
    await other.stores.registry.refresh()
    assert await recover_shards(other) == 1
    await other.stores.registry.refresh()
    held = await hold(other, "candidate-2")
    stall.may_go.set()
    return await ended(overtaken), held


async def test_two_workers_that_see_a_loss_at_once_do_one_rebuild(
    service: Service, other: Service
) -> None:
    booked = await book(service)
    await lose_everything(service)

    done = await asyncio.gather(*(recover_shards(each) for each in (service, other) * 3))
    for each in (service, other):
        await each.stores.registry.refresh()

    assert sum(done) == 1
    assert len(await rows(service, "SELECT * FROM recoveries")) == 1
    assert await state(service, booked) is State.CONFIRMED
    await check_after(service, booked=1)


async def test_a_worker_that_waited_for_nothing_rebuilds_nothing(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await book(service)
    await lose_everything(service)
    stall = Stall(monkeypatch, RecoveryStore, "put")

    first = asyncio.create_task(recover_shards(service))
    await stall.begun.wait()
    meanwhile = [await recover_shards(other) for _ in range(3)]
    stall.may_go.set()
    finished = await first
    afterwards = await recover_shards(other)

    assert (meanwhile, finished, afterwards) == ([0, 0, 0], 1, 0)
    await check_after(service, booked=1)


@pytest.mark.parametrize("line", ["put", "reopen"])
async def test_a_rebuild_that_lost_its_lock_is_held_back_after_another_finished(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    error, held = await overtake(service, other, Stall(monkeypatch, RecoveryStore, line))
    await service.stores.registry.refresh()

    assert isinstance(error, NotReady | LedgerUnavailable)
    assert await state(service, held) is State.HELD
    assert await recover_shards(service) == 0
    await check_after(service, booked=1)


async def test_a_rebuild_that_lost_its_lock_is_held_back_while_another_is_at_work(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await book(service)
    await lose_everything(service)
    with monkeypatch.context() as first_patch:
        first_stall = Stall(first_patch, RecoveryStore, "put")
        overtaken = asyncio.create_task(recover_shards(service))
        await first_stall.begun.wait()
    await cut_idle_transactions(service.settings.postgres_dsn)
    await other.stores.registry.refresh()
    with monkeypatch.context() as second_patch:
        second_stall = Stall(second_patch, RecoveryStore, "put")
        winning = asyncio.create_task(recover_shards(other))
        await second_stall.begun.wait()

    first_stall.may_go.set()
    error = await ended(overtaken)
    second_stall.may_go.set()
    won = await winning
    await service.stores.registry.refresh()

    assert isinstance(error, NotReady | LedgerUnavailable)
    assert won == 1
    await check_after(service, booked=1)


@pytest.mark.parametrize("line", ["claim", "clear"])
async def test_a_rebuild_that_lost_its_lock_early_removes_nothing_of_what_another_built(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    error, held = await overtake(service, other, Stall(monkeypatch, RecoveryStore, line))

    assert error is not None
    assert await state(other, held) is State.HELD


async def test_an_import_during_a_rebuild_waits_and_both_stores_have_its_seats(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await book(service, "candidate-1", "beijing")
    await lose_everything(service)
    stall = Stall(monkeypatch, RecoveryStore, "put")
    rebuilding = asyncio.create_task(recover_shards(service))
    await stall.begun.wait()

    importing = asyncio.create_task(
        import_exam(other.stores.maintenance, make_exam(seats=MORE_SEATS))
    )
    asked = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while not await rows(service, asked):
        assert not importing.done()
    stall.may_go.set()

    assert await rebuilding == 1
    assert await ended(importing) is None
    await service.stores.registry.refresh()
    in_redis, in_postgres = await capacities(service)
    assert in_redis == in_postgres
    assert in_redis[Quota("beijing", "general")] == 4
    await check_after(service, booked=1)


async def test_an_import_that_cannot_wait_for_a_rebuild_is_unavailable_and_changes_nothing(
    settings: Settings, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lose_everything(service)
    before = await rows(service, "SELECT * FROM quotas ORDER BY venue, subject")
    stall = Stall(monkeypatch, RecoveryStore, "clear")
    rebuilding = asyncio.create_task(recover_shards(service))
    await stall.begun.wait()

    hasty_settings = dataclasses.replace(settings, postgres_command_timeout_s=0.2)
    async with open_service(hasty_settings) as hasty:
        await insisting(lambda: refresh_memory(hasty), LedgerUnavailable)
        with pytest.raises(LedgerUnavailable):
            await import_exam(hasty.stores.maintenance, make_exam(seats=MORE_SEATS))
    during = await rows(service, "SELECT * FROM quotas ORDER BY venue, subject")
    stall.may_go.set()
    assert await rebuilding == 1
    await import_exam(service.stores.maintenance, make_exam(seats=MORE_SEATS))

    assert during == before
    in_redis, in_postgres = await capacities(service)
    assert in_redis == in_postgres
    await check_after(service, booked=0)


async def test_an_import_before_the_rebuild_began_is_not_ready_and_changes_nothing(
    service: Service,
) -> None:
    await lose_everything(service)
    before = await rows(service, "SELECT * FROM quotas ORDER BY venue, subject")

    with pytest.raises(NotReady):
        await import_exam(service.stores.maintenance, make_exam(seats=MORE_SEATS))

    assert await rows(service, "SELECT * FROM quotas ORDER BY venue, subject") == before
    assert await recover_shards(service) == 1
    in_redis, in_postgres = await capacities(service)
    assert in_redis == in_postgres


async def test_a_drain_in_flight_in_another_worker_is_waited_for_and_counts(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await drain(service)
    held = await hold(service)
    stall = Stall(monkeypatch, JournalDrain, "store")
    shard = other.stores.registry.shard("exam-1")
    draining = asyncio.create_task(drain_journal(other.stores.maintenance, shard, 1000, 3))
    await stall.begun.wait()

    await lose_everything(service)
    rebuilding = asyncio.create_task(recover_shards(service))
    waits = (
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%fenced%'"
    )
    while not await rows(service, waits):
        assert not rebuilding.done()
    stall.may_go.set()
    drained = await ended(draining)
    rebuilt = await rebuilding

    assert isinstance(drained, NotReady)  # stored, and then held back from what took its place
    assert rebuilt == 1
    assert await state(service, held) is State.HELD
    await check_after(service, booked=0)


async def test_while_a_rebuild_is_at_work_nobody_is_served_from_half_a_shard(
    service: Service, other: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    booked = await book(service, "candidate-1", "beijing")
    await lose_everything(service)
    stall = Stall(monkeypatch, RecoveryStore, "reopen")
    rebuilding = asyncio.create_task(recover_shards(service))
    await stall.begun.wait()

    refusals = []
    for each in (service, other):
        for call in (hold(each, "candidate-2", "beijing"), state(each, booked)):
            with pytest.raises(NotReady) as raised:
                await call
            refusals.append(raised.value)
    stall.may_go.set()

    assert await rebuilding == 1
    assert len(refusals) == 4
    await check_after(service, booked=1)
