"""What must not be taken for a loss, and what a loss must not leave behind."""

import asyncio
import dataclasses
from collections.abc import Collection

import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import LedgerUnavailable, NotReady, SeatsUnavailable
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.domain.reservation import State
from quota_service.ledger.recoveries import RecoveryLedger
from quota_service.ledger.refunds import RefundLedger
from quota_service.registration.audit import audit
from quota_service.registration.confirm import confirm
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.import_exam import import_exam
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.registration.reserve import Order, reserve
from quota_service.seats.recovery import RecoveryStore, ShardStatus
from quota_service.settings import Settings
from tests.support.bookings import book, left, recover
from tests.support.exams import make_exam
from tests.support.lost_shards import (
    Stall,
    another_run,
    check_after,
    drain,
    lose_everything,
    recover_shards,
    rows,
    ways,
)
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, hold, payment, state


async def test_a_drain_between_the_two_readings_is_not_taken_for_a_loss(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool was busy, so that the second reading came after a drain of what came meanwhile."""
    await hold(service, "first", "tianjin")
    positions, standing = RecoveryLedger.positions, RecoveryStore.status
    readings = []

    async def then_drained(self: RecoveryLedger, exams: Collection[str]) -> dict[str, int]:
        found = await positions(self, exams)
        await meanwhile("positions")
        return found

    async def then_drained_too(self: RecoveryStore, *args: object) -> ShardStatus:
        found = await standing(self, *args)  # type: ignore[arg-type]
        await meanwhile("status")
        return found

    async def meanwhile(reading: str) -> None:
        readings.append(reading)
        await hold(service, f"between-{len(readings)}", "tianjin")
        shard = service.stores.registry.shard("exam-1")
        await drain_journal(service.stores.maintenance, shard, 1000, 3)

    monkeypatch.setattr(RecoveryLedger, "positions", then_drained)
    monkeypatch.setattr(RecoveryStore, "status", then_drained_too)

    recovered = await recover_shards(service)

    assert readings == ["positions", "status"]
    assert recovered == 0
    assert await ways(service) == []


async def test_a_shard_that_an_earlier_release_opened_is_opened_as_it_stands(
    service: Service,
) -> None:
    held = await hold(service)
    key = service.stores.registry.shard("exam-1").key("epoch")
    await redis_of(service).set(key, "1")  # without the run of a server

    assert await recover_shards(service) == 1

    assert await ways(service) == ["reopened"]
    assert await state(service, held) is State.HELD
    await check_after(service, booked=0)


async def test_a_fenced_shard_waits_for_redis_without_using_up_epochs(service: Service) -> None:
    await lose_everything(service)
    died = dataclasses.replace(service, stores=dying(service.stores, "recover: fenced"))
    with pytest.raises(DiedError):
        await recover_shards(died)
    await service.stores.registry.refresh()
    away = dataclasses.replace(service.settings, redis_url="redis://127.0.0.1:1/0")

    async with open_service(away) as cut_off:
        await refresh_memory(cut_off)
        for _ in range(3):
            with pytest.raises(SeatsUnavailable):
                await recover_shards(cut_off)

    assert len(await rows(service, "SELECT epoch FROM recoveries")) == 1
    assert await recover_shards(service) == 1


async def test_what_was_put_back_is_there_after_the_next_loss_too(service: Service) -> None:
    held = await hold(service)
    await drain(service)

    for _ in range(3):
        await lose_everything(service)
        assert await recover_shards(service) == 1
        assert await state(service, held) is State.HELD

    await check_after(service, booked=0)


async def test_a_refund_that_would_commit_during_a_rebuild_is_refused_and_leaks_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    booked = await book(service, "candidate-1", "beijing")
    await drain(service)
    with monkeypatch.context() as patched:
        stall = Stall(patched, RefundLedger, "refund")
        refunding = asyncio.create_task(refund(service.stores.payments, booked.id))
        await stall.begun.wait()
        await lose_everything(service)
        holds = RecoveryLedger.holds

        def then_refunded(self: RecoveryLedger, *args: object) -> object:
            stall.may_go.set()
            return holds(self, *args)  # type: ignore[arg-type]

        patched.setattr(RecoveryLedger, "holds", then_refunded)
        assert await recover_shards(service) == 1
    with pytest.raises(NotReady):
        await refunding
    await recover(service)

    assert await left(service, "beijing/general") == 0
    assert (await refund(service.stores.payments, booked.id)).state is State.REFUNDED
    assert await left(service, "beijing/general") == 1
    again = Order("candidate-1", ("general",), ("tianjin",), accepted_notice=True)
    await reserve(service.stores.reservations, "exam-1", again, "key-2")
    assert (await audit(service.stores.maintenance, "exam-1")).is_clean
    await recover(service)
    await check_after(service, booked=0)


async def test_a_hold_that_was_given_back_stays_given_back(service: Service) -> None:
    given_back = await hold(service, "candidate-1", "beijing")
    await release(service.stores, given_back.id)
    order = Order("candidate-1", ("general",), ("tianjin",), accepted_notice=True)
    real = (await reserve(service.stores.reservations, "exam-1", order, "key-2")).reservation
    await drain(service)
    await lose_everything(service)

    await recover_shards(service)

    assert await state(service, given_back) is State.RELEASED
    assert await state(service, real) is State.HELD
    paid = await confirm(service.stores.payments, payment(real))
    assert paid.outcome is PaymentOutcome.CONFIRMED
    await check_after(service, booked=1)


async def test_a_recovery_that_dies_before_its_end_keeps_no_payment_waiting(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = await hold(service, "lost")
    await lose_everything(service)

    async def cut(*_: object, **__: object) -> bool:
        raise LedgerUnavailable("postgres: connection lost")

    with monkeypatch.context() as patched:
        patched.setattr(RecoveryLedger, "reopen", cut)
        with pytest.raises(LedgerUnavailable):
            await recover_shards(service)
    await service.stores.registry.refresh()
    assert await recover_shards(service) == 1

    paid = await confirm(service.stores.payments, payment(lost))

    assert (paid.outcome, paid.reason) == (
        PaymentOutcome.REFUND_DUE,
        RefundReason.UNKNOWN_RESERVATION,
    )
    told = "SELECT way, opened_at IS NOT NULL FROM recoveries ORDER BY epoch"
    assert await rows(service, told) == [(None, False), ("reopened", True)]


LINES = (
    "recover: fenced",
    "recover: claimed",
    "recover: drained",
    "recover: holds written",
    "recover: open in redis",
)


@pytest.mark.parametrize("line", LINES)
async def test_a_recovery_that_died_goes_on_from_the_same_origin(
    service: Service, line: str
) -> None:
    paying = await hold(service, "paying", "tianjin")
    with pytest.raises(DiedError):
        await confirm(dying(service.stores, "confirm: after attempt").payments, payment(paying))
    booked = await hold(service, "booked")
    with pytest.raises(DiedError):
        await confirm(
            dying(service.stores, "confirm: after commit").payments, payment(booked, "event-2")
        )
    await another_run(service)
    died = dataclasses.replace(service, stores=dying(service.stores, line))
    with pytest.raises(DiedError):
        await recover_shards(died)
    await service.stores.registry.refresh()

    with pytest.raises(NotReady):
        await hold(service, "candidate-9")
    assert await recover_shards(service) == 1

    assert await state(service, paying) is State.HELD
    assert await state(service, booked) is State.CONFIRMED
    assert (await ways(service))[-1] == "reopened"
    await check_after(service, booked=1)


async def test_a_payment_that_was_between_the_stores_is_told_again_and_booked(
    service: Service,
) -> None:
    paying = await hold(service)
    with pytest.raises(DiedError):
        await confirm(dying(service.stores, "confirm: after attempt").payments, payment(paying))
    await another_run(service)
    await recover_shards(service)

    paid = await confirm(service.stores.payments, payment(paying))

    assert paid.outcome is PaymentOutcome.CONFIRMED
    await check_after(service, booked=1)


async def test_a_gap_in_the_journal_is_told_and_its_records_are_written_again(
    service: Service,
) -> None:
    known = await hold(service, "known", "tianjin")
    await drain(service)
    missing = [await hold(service, f"missing-{n}", "tianjin") for n in range(2)]
    released = await hold(service, "released", "tianjin")
    await release(service.stores, released.id)
    client, shard = redis_of(service), service.stores.registry.shard("exam-1")
    await client.xtrim(shard.key("journal"), maxlen=0)
    after = await hold(service, "after", "tianjin")

    await drain(service)

    told = dict(await rows(service, "SELECT id, state FROM reservations"))
    assert told == {
        **{each.id: "held" for each in (known, *missing, after)},
        released.id: "released",
    }
    ((missing_steps, records),) = await rows(
        service, "SELECT to_version - from_version + 1, records FROM journal_gaps"
    )
    assert (missing_steps, records) == (4, 5)
    sample = service.metrics.registry.get_sample_value
    assert sample("quota_journal_entries_missing_total", {"exam": "exam-1"}) == 4
    await service.health.refresh()
    assert "journal" in service.health.warnings
    assert service.health.faults == {}


async def test_a_postgres_that_fell_back_by_a_drain_is_brought_level_from_redis(
    service: Service,
) -> None:
    held = await hold(service, "held", "tianjin")
    before = await rows(service, "SELECT drained_epoch, drained_version FROM journal_positions")
    await drain(service)
    await rows(service, "DELETE FROM journal WHERE verb = 'reserve'")
    await rows(service, "DELETE FROM reservations")
    ((epoch, version),) = before
    go_back = "UPDATE journal_positions SET drained_epoch = $1, drained_version = $2"
    await rows(service, go_back, epoch, version)

    await drain(service)

    assert dict(await rows(service, "SELECT id, state FROM reservations")) == {held.id: "held"}
    await lose_everything(service)
    await recover_shards(service)
    assert await state(service, held) is State.HELD
    await check_after(service, booked=0)


async def test_a_journal_that_is_not_whole_is_not_gone_on_from(
    service: Service,
) -> None:
    first = await hold(service, "first", "tianjin")
    await drain(service)
    key = service.stores.registry.shard("exam-1").key("version")
    version = await redis_of(service).get(key)
    second = await hold(service, "second", "tianjin")
    third = await hold(service, "third", "tianjin")
    await drain(service)
    await redis_of(service).set(key, version)  # it is older than what was drained from it
    await rows(service, "DELETE FROM journal WHERE version = $1", int(version) + 1)

    assert await recover_shards(service) == 1

    assert await ways(service) == ["rebuilt"]
    assert [await state(service, each) for each in (first, second, third)] == [State.HELD] * 3
    await check_after(service, booked=0)


async def test_a_server_whose_books_do_not_balance_is_rebuilt(service: Service) -> None:
    held = await hold(service)
    await drain(service)
    shard = service.stores.registry.shard("exam-1")
    await redis_of(service).hincrby(shard.key("held"), "jinan/general", 1)
    await another_run(service)

    assert await recover_shards(service) == 1

    assert await ways(service) == ["rebuilt"]
    assert await state(service, held) is State.HELD
    await check_after(service, booked=0)


async def test_the_smallest_pool_is_enough_for_a_recovery_and_an_import_at_once(
    settings: Settings, service: Service
) -> None:
    held = await hold(service)
    await drain(service)
    await lose_everything(service)
    smallest = dataclasses.replace(settings, postgres_pool_max=4)

    async with open_service(smallest) as small:
        await refresh_memory(small)
        ends = await asyncio.gather(
            *(recover_shards(small) for _ in range(2)),
            *(import_exam(small.stores.maintenance, make_exam(f"exam-{n}")) for n in range(2, 4)),
            *(small.stores.reader.ping() for _ in range(4)),
            return_exceptions=True,
        )

        assert [end for end in ends if isinstance(end, BaseException)] == []
        await service.stores.registry.refresh()
        assert await state(small, held) is State.HELD
