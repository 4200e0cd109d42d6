"""A key outlives the record of what it made: it is answered as ever, and never makes it again."""

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import IdempotencyKeyReused, RegistrationClosed
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.confirm import confirm
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.registration.reserve import Order, Reserved, reserve
from quota_service.registration.view import read_reservation
from quota_service.workers.expiry import ExpiryWorker
from tests.support.bookings import book, check_agreement, left
from tests.support.lost_shards import drain, lose_everything, recover_shards, rows
from tests.support.records import move_due
from tests.support.redis_clients import redis_of
from tests.support.retirement import end, finish, retain
from tests.support.use_cases import hold, payment

each_end = pytest.mark.parametrize("state", [State.REFUNDED, State.RELEASED, State.EXPIRED])


async def ended(service: Service, state: State) -> Reservation:
    """Make a reservation under key-1 that ends."""
    if state is State.REFUNDED:
        made = await book(service)
        return await refund(service.stores.payments, made.id)
    made = await hold(service)
    if state is State.RELEASED:
        return await release(service.stores, made.id)
    shard, serial = service.stores.registry.locate(made.id)
    await move_due(redis_of(service), shard, serial)
    await ExpiryWorker(service.stores, service.settings).run_once()
    return made


async def forget(service: Service, reservation: Reservation) -> None:
    """Let the record of a reservation have been kept for as long as it is."""
    await drain(service)
    shard, serial = service.stores.registry.locate(reservation.id)
    assert await redis_of(service).delete(shard.record_key(serial)) == 1


async def order(service: Service, key: str = "key-1", venue: str = "jinan") -> Reserved:
    wanted = Order("candidate-1", ("general",), (venue,), accepted_notice=True)
    return await reserve(service.stores.reservations, "exam-1", wanted, key)


async def check_replay(service: Service, made: Reservation) -> None:
    """Fail unless the key is answered as at first, and takes no seat."""
    seats = await left(service, "jinan/general")
    again = await order(service)
    assert again.replayed
    assert (again.reservation.id, again.reservation.state) == (made.id, State.HELD)
    assert again.reservation.deadline_ms == made.first_deadline_ms
    assert await left(service, "jinan/general") == seats


@each_end
async def test_a_key_whose_reservation_ended_long_ago_is_answered_as_at_first(
    service: Service, state: State
) -> None:
    made = await ended(service, state)
    await forget(service, made)

    await check_replay(service, made)

    assert (await read_reservation(service.stores, made.id)).state is state
    await check_agreement(service, booked=0)


@each_end
async def test_a_payment_for_what_ended_long_ago_is_due_back(
    service: Service, state: State
) -> None:
    made = await ended(service, state)
    await forget(service, made)
    await order(service)

    paid = await confirm(service.stores.payments, payment(made, "event-late"))

    reasons = {State.REFUNDED: RefundReason.REFUNDED}
    reason = reasons.get(state, RefundReason.UNKNOWN_RESERVATION)
    assert (paid.outcome, paid.reason) == (PaymentOutcome.REFUND_DUE, reason)
    assert (await read_reservation(service.stores, made.id)).state is state
    await check_agreement(service, booked=0)


async def test_a_key_of_long_ago_with_another_body_is_refused(service: Service) -> None:
    made = await ended(service, State.RELEASED)
    await forget(service, made)

    with pytest.raises(IdempotencyKeyReused):
        await order(service, venue="tianjin")
    with pytest.raises(IdempotencyKeyReused):
        await reserve(
            service.stores.reservations,
            "exam-1",
            Order("candidate-1", ("general",), ("jinan",), accepted_notice="of last year"),
            "key-1",
        )

    again = await order(service, "key-2")
    assert not again.replayed
    assert again.reservation.id != made.id


@each_end
async def test_a_redis_that_lost_everything_learns_again_which_keys_are_spent(
    service: Service, state: State
) -> None:
    made = await ended(service, state)
    await forget(service, made)
    await rows(service, "UPDATE reservations SET created_at = created_at - interval '9 days'")
    await rows(service, "UPDATE refunds SET refunded_at = refunded_at - interval '9 days'")
    await lose_everything(service)
    assert await recover_shards(service) == 1

    await check_replay(service, made)

    await check_agreement(service, booked=0)


async def test_a_key_of_an_exam_that_has_left_redis_is_answered_as_at_first(
    service: Service,
) -> None:
    booked = await book(service)
    await end(service, 8)
    await finish(service)
    assert (await retain(service))["retired"] == 1

    again = await order(service)

    assert again.replayed
    assert again.reservation.id == booked.id
    with pytest.raises(RegistrationClosed):
        await order(service, "key-2")
    with pytest.raises(IdempotencyKeyReused):
        await order(service, venue="tianjin")
