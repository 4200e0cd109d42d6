"""A shard that Redis has lost is fenced at once and put together again from Postgres."""

from typing import Any

import pytest

from quota_service.app import Service
from quota_service.domain.errors import NotReady
from quota_service.domain.exam import Quota
from quota_service.domain.payment import PaymentOutcome
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.registration.reserve import Order, reserve
from quota_service.seats.building import ShardBuilder
from quota_service.workers.shard_recovery import ShardRecoveryWorker
from tests.support.books import check_books
from tests.support.protocols import DiedError, dying, hold, payment, state
from tests.support.redis_clients import redis_of


async def drain(service: Service) -> None:
    await drain_journal(service.stores, service.stores.registry.shard("exam-1", 0), 1000, 3)


async def rebuild(service: Service) -> int:
    rebuilt = (await ShardRecoveryWorker(service.stores, service.settings).run_once())["recovered"]
    await service.stores.acknowledged.restore(service.stores)
    return rebuilt


async def check(service: Service) -> None:
    await check_books(redis_of(service), service.stores.registry.shard("exam-1", 0))


async def everything(service: Service) -> dict[str, Reservation]:
    """Make one reservation of every kind, all of them journaled."""
    made = {
        name: await hold(service, name, venue)
        for name, venue in {
            "held": "jinan",
            "paid": "jinan",
            "paying": "tianjin",
            "moved": "tianjin",
            "refunded": "tianjin",
            "released": "tianjin",
        }.items()
    }
    for name in ("paid", "moved", "refunded"):
        await confirm(service.stores, payment(made[name], f"event-{name}"))
    await change_venue(service.stores, made["moved"].id, "jinan")
    await refund(service.stores, made["refunded"].id)
    await release(service.stores, made["released"].id)
    with pytest.raises(DiedError):
        await confirm(
            dying(service.stores, "confirm: after pin"), payment(made["paying"], "event-paying")
        )
    return made


async def test_an_emptied_redis_is_fenced_and_put_together_again(service: Service) -> None:
    made = await everything(service)
    await drain(service)
    shard = service.stores.registry.shard("exam-1", 0)
    before = await service.stores.seats.snapshot(shard)
    await redis_of(service).flushall()

    with pytest.raises(NotReady):
        await hold(service, "candidate-9")
    assert await rebuild(service) == 1
    assert await rebuild(service) == 0

    again = service.stores.registry.shard("exam-1", 0)
    after = await service.stores.seats.snapshot(again)
    assert again.epoch == shard.epoch + 1
    assert (after.capacity, after.remaining, after.confirmed) == (
        before.capacity,
        before.remaining,
        before.confirmed,
    )
    assert {name: await state(service, each) for name, each in made.items()} == {
        "held": State.HELD,
        "paid": State.CONFIRMED,
        "paying": State.HELD,
        "moved": State.CONFIRMED,
        "refunded": State.REFUNDED,
        "released": State.RELEASED,
    }
    await check(service)


async def test_repeats_and_payments_go_on_after_a_rebuild_as_if_nothing_was(
    service: Service,
) -> None:
    made = await everything(service)
    await drain(service)
    await redis_of(service).flushall()
    await rebuild(service)

    for name in ("held", "paid", "moved"):
        venue = "tianjin" if name == "moved" else "jinan"
        order = Order(name, ("general",), (venue,), accepted_notice=True)
        repeated = await reserve(service.stores, "exam-1", order, "key-1")
        assert repeated.replayed
        assert repeated.reservation.id == made[name].id
        assert repeated.reservation.deadline_ms == made[name].first_deadline_ms
    paid = await confirm(service.stores, payment(made["paying"], "event-paying"))
    again = await confirm(service.stores, payment(made["paid"], "event-paid"))

    assert (paid.outcome, again.outcome) == (PaymentOutcome.CONFIRMED,) * 2
    await check(service)


async def test_a_hold_that_was_lost_with_its_journal_is_put_back_by_who_acknowledged_it(
    service: Service,
) -> None:
    await drain(service)
    lost = [await hold(service, f"candidate-{n}") for n in range(3)]
    await redis_of(service).flushall()

    await rebuild(service)

    assert [await state(service, each) for each in lost] == [State.HELD] * 3
    paid = await confirm(service.stores, payment(lost[0]))
    assert paid.outcome is PaymentOutcome.CONFIRMED
    async with service.stores.ledger.connection() as connection:
        report = await connection.fetch("SELECT holds_lost, holds_restored FROM recoveries")
    assert [tuple(row) for row in report] == [(3, 3)]
    await check(service)


@pytest.mark.parametrize(
    "line",
    [
        "rebuild: fenced",
        "rebuild: drained",
        "rebuild: bookings written",
        "rebuild: open in redis",
    ],
)
async def test_a_rebuild_that_died_is_done_again(service: Service, line: str) -> None:
    made = await everything(service)
    await drain(service)
    await redis_of(service).flushall()
    with pytest.raises(DiedError):
        await ShardRecoveryWorker(dying(service.stores, line), service.settings).run_once()
    await service.stores.registry.refresh()

    with pytest.raises(NotReady):
        await hold(service, "candidate-9")
    assert await rebuild(service) == 1

    assert await state(service, made["paid"]) is State.CONFIRMED
    await check(service)


async def test_a_payment_under_an_epoch_that_is_over_is_not_booked(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await hold(service)
    await drain(service)
    settle = type(service.stores.confirmations).settle

    async def late(self: object, verdict: object) -> object:
        await redis_of(service).flushall()
        await rebuild(service)
        return await settle(self, verdict)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(service.stores.confirmations), "settle", late)
        with pytest.raises(NotReady):
            await confirm(service.stores, payment(held))
    again = await confirm(service.stores, payment(held))

    assert again.outcome is PaymentOutcome.CONFIRMED
    snapshot = await service.stores.seats.snapshot(service.stores.registry.shard("exam-1", 0))
    assert snapshot.confirmed[Quota("jinan", "general")] == 1
    await check(service)


async def test_a_rebuild_whose_server_was_started_again_meanwhile_opens_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await everything(service)
    await drain(service)
    await redis_of(service).flushall()
    load = ShardBuilder.load

    async def load_and_restart(self: ShardBuilder, *args: Any) -> list[str]:
        left_out = await load(self, *args)
        # What a restart looks like: the scripts are gone, and so is what was written last.
        await redis_of(service).script_flush()
        await redis_of(service).delete("{exam-1:0}:confirmed")
        return left_out

    with monkeypatch.context() as patched:
        patched.setattr(ShardBuilder, "load", load_and_restart)
        with pytest.raises(NotReady):
            await ShardRecoveryWorker(service.stores, service.settings).run_once()
    await service.stores.registry.refresh()
    with pytest.raises(NotReady):
        await hold(service, "candidate-9")

    assert await rebuild(service) == 1
    assert await state(service, made["paid"]) is State.CONFIRMED
    await check(service)
