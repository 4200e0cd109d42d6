"""A shard that Redis has lost is fenced at once, and written again from Postgres as a whole."""

from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import NotReady
from quota_service.domain.exam import Quota
from quota_service.domain.payment import PaymentOutcome
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.registration.reserve import Order, reserve
from quota_service.seats.recovery import RecoveryStore
from quota_service.workers.shard_recovery import ShardRecoveryWorker
from tests.support.books import check_books
from tests.support.lost_shards import drain, recover_shards, ways
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, hold, payment, state


async def check(service: Service) -> None:
    await check_books(redis_of(service), service.stores.registry.shard("exam-1"))


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
        await confirm(service.stores.payments, payment(made[name], f"event-{name}"))
    await change_venue(service.stores.payments, made["moved"].id, "jinan")
    await refund(service.stores.payments, made["refunded"].id)
    await release(service.stores, made["released"].id)
    with pytest.raises(DiedError):
        await confirm(
            dying(service.stores, "confirm: after attempt").payments,
            payment(made["paying"], "event-paying"),
        )
    return made


async def test_an_emptied_redis_is_fenced_and_put_together_again(service: Service) -> None:
    made = await everything(service)
    await drain(service)
    shard = service.stores.registry.shard("exam-1")
    before = await service.stores.seats.snapshot(shard)
    await redis_of(service).flushall()

    with pytest.raises(NotReady):
        await hold(service, "candidate-9")
    assert await recover_shards(service) == 1
    assert await recover_shards(service) == 0
    assert await ways(service) == ["rebuilt"]

    again = service.stores.registry.shard("exam-1")
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
    await recover_shards(service)

    for name in ("held", "paid", "moved"):
        venue = "tianjin" if name == "moved" else "jinan"
        order = Order(name, ("general",), (venue,), accepted_notice=True)
        repeated = await reserve(service.stores.reservations, "exam-1", order, "key-1")
        assert repeated.replayed
        assert repeated.reservation.id == made[name].id
        assert repeated.reservation.deadline_ms == made[name].first_deadline_ms
    paid = await confirm(service.stores.payments, payment(made["paying"], "event-paying"))
    again = await confirm(service.stores.payments, payment(made["paid"], "event-paid"))

    assert (paid.outcome, again.outcome) == (PaymentOutcome.CONFIRMED,) * 2
    await check(service)


@pytest.mark.parametrize(
    "line",
    [
        "recover: fenced",
        "recover: claimed",
        "recover: bookings written",
        "recover: open in redis",
    ],
)
async def test_a_rebuild_that_died_is_done_again(service: Service, line: str) -> None:
    made = await everything(service)
    await drain(service)
    await redis_of(service).flushall()
    with pytest.raises(DiedError):
        await ShardRecoveryWorker(
            dying(service.stores, line).maintenance, service.settings
        ).run_once()
    await service.stores.registry.refresh()

    with pytest.raises(NotReady):
        await hold(service, "candidate-9")
    assert await recover_shards(service) == 1

    assert await state(service, made["paid"]) is State.CONFIRMED
    await check(service)


async def test_a_payment_under_an_epoch_that_is_over_is_not_booked(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await hold(service)
    await drain(service)
    settle = type(service.stores.payments.confirmations).settle

    async def late(self: object, verdict: object) -> object:
        await redis_of(service).flushall()
        await recover_shards(service)
        return await settle(self, verdict)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(type(service.stores.payments.confirmations), "settle", late)
        with pytest.raises(NotReady):
            await confirm(service.stores.payments, payment(held))
    again = await confirm(service.stores.payments, payment(held))

    assert again.outcome is PaymentOutcome.CONFIRMED
    snapshot = await service.stores.seats.snapshot(service.stores.registry.shard("exam-1"))
    assert snapshot.confirmed[Quota("jinan", "general")] == 1
    await check(service)


async def test_a_rebuild_whose_server_was_started_again_meanwhile_opens_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await everything(service)
    await drain(service)
    await redis_of(service).flushall()
    put = RecoveryStore.put

    async def put_and_restart(self: RecoveryStore, *args: Any, **options: Any) -> list[str]:
        left_out = await put(self, *args, **options)
        # What another run looks like, in which what was written last is gone.
        fence = await redis_of(service).get("{exam-1:0}:epoch")
        await redis_of(service).set("{exam-1:0}:epoch", fence.replace("@", "@other"))
        await redis_of(service).delete("{exam-1:0}:confirmed")
        return left_out

    with monkeypatch.context() as patched:
        patched.setattr(RecoveryStore, "put", put_and_restart)
        with pytest.raises(NotReady):
            await ShardRecoveryWorker(service.stores.maintenance, service.settings).run_once()
    await service.stores.registry.refresh()
    with pytest.raises(NotReady):
        await hold(service, "candidate-9")

    assert await recover_shards(service) == 1
    assert await state(service, made["paid"]) is State.CONFIRMED
    await check(service)
