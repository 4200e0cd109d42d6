"""Exams that are over cost workers and API processes nothing to speak of, and are not forgotten."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.domain.payment import PaymentOutcome
from quota_service.domain.reservation import State
from quota_service.ledger.exams import ExamLedger
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.workers.audit import AuditWorker
from quota_service.workers.capacity import CapacityWorker
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.journal_drain import JournalDrainWorker
from quota_service.workers.recovery import RecoveryWorker
from quota_service.workers.shard_recovery import ShardRecoveryWorker
from tests.support.exams import make_exam
from tests.support.lost_shards import lose_everything, rows
from tests.support.records import move_due, redis_now_ms
from tests.support.redis_clients import redis_of
from tests.support.retirement import over
from tests.support.use_cases import hold, payment, state

OLD = 12


async def with_old_exams(service: Service) -> None:
    """Let there be exams that have been over for two days beside the one that goes on."""
    for number in range(OLD):
        await import_exam(service.stores.maintenance, over(make_exam(f"old-{number:02}"), 2))
    await service.health.refresh()


async def calls(service: Service, work: Callable[[], Awaitable[Any]]) -> int:
    """Return how many commands Redis served while something was done."""

    async def count() -> int:
        stats = await redis_of(service).info("commandstats")
        return sum(each["calls"] for name, each in stats.items() if name != "cmdstat_info")

    before = await count()
    await work()
    return await count() - before


@pytest.mark.parametrize(
    "kind",
    [
        *(AuditWorker, CapacityWorker, ExpiryWorker, JournalDrainWorker, RecoveryWorker),
        ShardRecoveryWorker,
    ],
)
async def test_a_round_of_a_worker_costs_no_more_for_exams_that_are_over(
    service: Service, kind: type[Any]
) -> None:
    # Audit and capacity look as often as a constant says; their second argument is another.
    settings = () if kind in {AuditWorker, CapacityWorker} else (service.settings,)
    stores = service.stores.payments if kind is RecoveryWorker else service.stores.maintenance
    alone = kind(stores, *settings)
    await alone.run_once()
    wanted = await calls(service, alone.run_once)
    await with_old_exams(service)
    worker = kind(stores, *settings)
    await worker.run_once()

    needed = await calls(service, worker.run_once)

    assert needed <= wanted + 3, (needed, wanted)


async def test_looking_for_what_waits_leaves_exams_that_are_over_alone(service: Service) -> None:
    backlog = service.stores.reservations.backlog
    wanted = await calls(service, backlog.refresh)
    await with_old_exams(service)

    assert await calls(service, backlog.refresh) <= wanted


async def test_definitions_are_read_again_when_something_has_changed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, read = service.stores.registry, 0
    real = ExamLedger.all

    async def counted(self: ExamLedger, *args: Any) -> Any:
        nonlocal read
        read += 1
        return await real(self, *args)

    await registry.refresh()
    monkeypatch.setattr(ExamLedger, "all", counted)
    for _ in range(3):
        await registry.refresh()
    unchanged = read
    await rows(service, "UPDATE shards SET epoch = epoch + 1, state = 'fenced'")
    await registry.refresh()

    assert (unchanged, read) == (0, 1)
    assert not registry.used_shard("exam-1").is_open


async def test_a_hold_is_given_back_within_a_second_of_its_time(service: Service) -> None:
    await with_old_exams(service)
    held = await hold(service)
    worker, client = ExpiryWorker(service.stores, service.settings), redis_of(service)
    await worker.run_once()
    looked_ms = in_vain_ms = await redis_now_ms(client)
    shard, serial = service.stores.registry.locate(held.id)
    await move_due(client, shard, serial, ago_ms=-300)

    began_ms = await redis_now_ms(client)
    while not (await worker.run_once())["expired"]:
        assert await state(service, held) is State.HELD
        in_vain_ms, began_ms = began_ms, await redis_now_ms(client)

    lag_s = service.metrics.registry.get_sample_value("quota_expiry_lag_seconds_sum")
    assert lag_s is not None
    assert lag_s >= 0
    # No round that began a second after the look before it has passed the hold over.
    assert in_vain_ms < looked_ms + 1000
    assert await state(service, held) is State.EXPIRED


async def test_an_exam_that_goes_on_again_is_looked_at_at_once(service: Service) -> None:
    await import_exam(service.stores.maintenance, over(make_exam(), 2))
    await service.health.refresh()
    worker = ExpiryWorker(service.stores, service.settings)
    await worker.run_once()
    await import_exam(service.stores.maintenance, make_exam())
    held = await hold(service)
    shard, serial = service.stores.registry.locate(held.id)
    await move_due(redis_of(service), shard, serial)

    assert await worker.run_once() == {"expired": 1}


async def test_what_is_left_over_in_an_exam_that_is_over_is_finished(service: Service) -> None:
    held = await hold(service)
    paid = await hold(service, "candidate-2")
    assert (
        await confirm(service.stores.payments, payment(paid))
    ).outcome is PaymentOutcome.CONFIRMED
    shard, serial = service.stores.registry.locate(held.id)
    await move_due(redis_of(service), shard, serial)
    await import_exam(service.stores.maintenance, over(make_exam(), 2))
    await service.health.refresh()
    assert service.stores.registry.progress().over == ("exam-1",)

    expired = await ExpiryWorker(service.stores, service.settings).run_once()
    drained = await JournalDrainWorker(service.stores.maintenance, service.settings).run_once()

    assert expired == {"expired": 1}
    assert drained["stored"] > 0


async def test_a_loss_is_noticed_in_exams_that_are_over_as_soon_as_in_the_others(
    service: Service,
) -> None:
    await with_old_exams(service)
    worker = ShardRecoveryWorker(service.stores.maintenance, service.settings)
    await worker.run_once()
    await lose_everything(service)

    assert (await worker.run_once())["recovered"] == OLD + 1
