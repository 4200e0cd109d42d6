"""What a recovery makes of holds that were lost, given twice, moved out or over."""

import asyncio
import dataclasses

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import ReservationEnded, SoldOut
from quota_service.domain.exam import Quota
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.registration.reserve import Order, reserve
from quota_service.workers.capacity import CapacityWorker
from quota_service.workers.expiry import ExpiryWorker
from tests.support.bookings import book, left
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
from tests.support.records import move_due
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, failing_at, hold, payment, state

LAST_SEAT = "beijing"  # it has one for each subject


async def expire(service: Service, reservation: Reservation) -> None:
    shard, serial = service.stores.registry.locate(reservation.id)
    await move_due(redis_of(service), shard, serial)
    assert (await ExpiryWorker(service.stores, service.settings).run_once())["expired"] == 1


async def hold_two(service: Service, candidate: str, subjects: tuple[str, ...]) -> Reservation:
    order = Order(candidate, subjects, ("tianjin",), accepted_notice=True)
    return (await reserve(service.stores.reservations, "exam-1", order, "key-1")).reservation


async def test_of_two_who_hold_one_seat_after_a_loss_one_confirms_and_the_other_is_due_money(
    service: Service,
) -> None:
    lost = await hold(service, "first", LAST_SEAT)
    await lose_everything(service)
    await recover_shards(service)
    again = await hold(service, "second", LAST_SEAT)
    await service.stores.registry.refresh()

    paid = await confirm(service.stores.payments, payment(again, "event-2"))
    too_late = await confirm(service.stores.payments, payment(lost, "event-1"))

    assert paid.outcome is PaymentOutcome.CONFIRMED
    assert too_late.outcome is PaymentOutcome.REFUND_DUE
    assert await rows(service, "SELECT event FROM refunds_due") == [("event-1",)]
    await check_after(service, booked=1)


@pytest.mark.parametrize("paying", [False, True])
async def test_a_hold_whose_seat_is_booked_is_left_out_and_journaled_as_expired(
    service: Service, *, paying: bool
) -> None:
    out = await hold(service, "first", LAST_SEAT)
    if paying:
        with pytest.raises(DiedError):
            await confirm(dying(service.stores, "confirm: after attempt").payments, payment(out))
    await drain(service)
    # The steps from here on are lost with Redis, but for the booking itself.
    await redis_of(service).flushall()
    await recover_shards(service)
    await expire(service, out)
    booked = await book(service, "second", LAST_SEAT)
    await lose_everything(service)

    await recover_shards(service)

    assert (await state(service, out), await state(service, booked)) == (
        State.EXPIRED,
        State.CONFIRMED,
    )
    late = await confirm(service.stores.payments, payment(out, "event-late"))
    assert (late.outcome, late.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.SOLD_OUT)
    last = "SELECT bookings, holds, holds_left_out FROM recoveries ORDER BY epoch DESC LIMIT 1"
    assert await rows(service, last) == [(1, 0, 1)]
    await check_after(service, booked=1)
    verbs = "SELECT verb FROM journal WHERE subject = $1 AND epoch = 3 ORDER BY version"
    told = [verb for (verb,) in await rows(service, verbs, out.id.rpartition(".")[2])]
    assert told == ["expire"] if paying else ["expire", "see_payment"]


async def test_a_hold_whose_session_is_booked_elsewhere_is_left_out_whole(
    service: Service,
) -> None:
    out = await hold_two(service, "candidate-1", ("general", "qms"))
    await drain(service)
    await release(service.stores, out.id)
    booked = await book(service, "candidate-1", "jinan", key="key-2")
    await lose_everything(service)

    await recover_shards(service)

    assert (await state(service, out), await state(service, booked)) == (
        State.EXPIRED,
        State.CONFIRMED,
    )
    assert (await left(service, "tianjin/general"), await left(service, "tianjin/qms")) == (5, 5)
    await check_after(service, booked=1)


async def test_what_ended_comes_back_for_its_repeats_and_late_payments(service: Service) -> None:
    released = await hold(service, "released", "tianjin")
    await release(service.stores, released.id)
    expired = await hold(service, "expired", "tianjin")
    await expire(service, expired)
    gone = await hold(service, "gone", LAST_SEAT)
    await expire(service, gone)
    refunded = await book(service, "refunded", "tianjin")
    await refund(service.stores.payments, refunded.id)
    other = await book(service, "other", LAST_SEAT)
    await drain(service)
    before = [
        await service.stores.seats.read(*service.stores.registry.locate(each.id))
        for each in (released, expired, gone)
    ]
    await lose_everything(service)

    await recover_shards(service)

    assert [
        await service.stores.seats.read(*service.stores.registry.locate(each.id))
        for each in (released, expired, gone)
    ] == before
    assert await state(service, refunded) is State.REFUNDED
    assert await state(service, other) is State.CONFIRMED
    assert (await release(service.stores, released.id)).state is State.RELEASED
    with pytest.raises(ReservationEnded):
        await change_venue(service.stores.payments, expired.id, "jinan")
    ends = [
        (paid.outcome, paid.reason)
        for n, each in enumerate((released, expired, gone, refunded))
        for paid in [await confirm(service.stores.payments, payment(each, f"late-{n}"))]
    ]
    due = PaymentOutcome.REFUND_DUE
    assert ends == [
        (due, RefundReason.RELEASED),
        (PaymentOutcome.CONFIRMED, None),
        (due, RefundReason.SOLD_OUT),
        (due, RefundReason.REFUNDED),
    ]
    await check_after(service, booked=2)


async def test_a_refunded_candidate_who_registered_again_keeps_the_second_booking(
    service: Service,
) -> None:
    first = await book(service, "candidate-1")
    await refund(service.stores.payments, first.id)
    second = await book(service, "candidate-1", "tianjin", key="key-2")
    await lose_everything(service)

    await recover_shards(service)

    assert (await state(service, first), await state(service, second)) == (
        State.REFUNDED,
        State.CONFIRMED,
    )
    await check_after(service, booked=1)


async def test_seats_released_while_the_shard_is_fenced_are_there_when_it_opens(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await book(service, "first", LAST_SEAT)
    await lose_everything(service)
    raised = "UPDATE quotas SET capacity = capacity + 2 WHERE venue = 'beijing'"

    def failpoint(line: str) -> None:
        if line == "recover: fenced":
            raise DiedError(line)

    fenced = dataclasses.replace(service, stores=failing_at(service.stores, failpoint))
    with pytest.raises(DiedError):
        await recover_shards(fenced)
    await service.stores.registry.refresh()
    await rows(service, raised)
    await recover_shards(service)
    at_once = await left(service, "beijing/general")

    # Raised again behind the back of a rebuild that has read the capacities already.
    await lose_everything(service)
    stall = Stall(monkeypatch, type(service.stores.maintenance.recovery), "put")
    task = asyncio.create_task(recover_shards(service))
    await stall.begun.wait()
    await rows(service, raised)
    stall.may_go.set()
    await task
    await CapacityWorker(service.stores).run_once()

    assert at_once == 2
    assert await left(service, "beijing/general") == 4
    snapshot = await service.stores.seats.snapshot(service.stores.registry.shard("exam-1"))
    assert snapshot.capacity[Quota("beijing", "service")] == 5
    await check_after(service, booked=1)


async def test_a_full_exam_is_still_full_after_a_rebuild(service: Service) -> None:
    await book(service, "first", LAST_SEAT)
    await lose_everything(service)
    await recover_shards(service)

    with pytest.raises(SoldOut) as refused:
        await hold(service, "second", LAST_SEAT)

    assert [left_over.remaining for left_over in refused.value.left] == [0]


@pytest.mark.parametrize("damage", ["a text", "a list"])
@pytest.mark.parametrize("key", ["epoch", "version", "origin"])
async def test_a_shard_whose_keys_were_damaged_is_rebuilt(
    service: Service, key: str, damage: str
) -> None:
    await book(service, "first", LAST_SEAT)
    await drain(service)
    redis, shard = redis_of(service), service.stores.registry.shard("exam-1")
    if key == "origin":
        await another_run(service)
    await redis.delete(shard.key(key))
    if damage == "a text":
        await redis.set(shard.key(key), "damaged")
    else:
        await redis.rpush(shard.key(key), "damaged")

    assert await recover_shards(service) == 1

    await service.stores.registry.refresh()
    assert await ways(service) == ["rebuilt"]
    assert await recover_shards(service) == 0
    await check_after(service, booked=1)
