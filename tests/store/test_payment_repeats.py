"""Callbacks that come again after their end, and attempts that were given up."""

import dataclasses
import datetime as dt
from types import SimpleNamespace

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import EventIdReused, LedgerUnavailable, SeatsUnavailable
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger import fence
from quota_service.registration.confirm import confirm
from quota_service.registration.release import release
from quota_service.registration.reserve import Order, reserve
from quota_service.seats.store import SeatStore
from tests.support.bookings import left, now, recover
from tests.support.lost_shards import check_after, rows
from tests.support.records import HOUR_MS, change_fields, move_attempt, move_due
from tests.support.redis_clients import redis_of
from tests.support.use_cases import (
    DiedError,
    dying,
    expire_due_holds,
    failing_at,
    hold,
    payment,
    state,
)

QUOTA = "beijing/general"
"""It has one seat."""


async def expire(service: Service, reservation: Reservation) -> None:
    shard, serial = service.stores.registry.locate(reservation.id)
    await move_due(redis_of(service), shard, serial)
    assert await expire_due_holds(service.stores, shard, 10) == 1


async def let_be_nearly_due(service: Service, confirming: Reservation) -> int:
    """Let a hold be due in a minute once its payment is given up; return when (ms)."""
    due_ms = await service.stores.seats.clock_ms() + 60_000
    place = service.stores.registry.locate(confirming.id)
    await change_fields(redis_of(service), *place, deadline_ms=due_ms, due_ms=due_ms)
    return due_ms


async def too_late(service: Service) -> Reservation:
    """Return a hold that has expired, and whose payment has ended as due back since."""
    late = await hold(service, "late", "beijing")
    await expire(service, late)
    other = await hold(service, "other", "beijing")
    told = await confirm(service.stores.payments, payment(late))
    assert (told.outcome, told.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.SOLD_OUT)
    await release(service.stores, other.id)
    return late


async def test_a_callback_that_is_repeated_after_its_end_takes_no_seat(service: Service) -> None:
    late = await too_late(service)
    before = await left(service, QUOTA)

    lines: list[str] = []
    watched = failing_at(service.stores, lines.append)
    again = await confirm(watched.payments, payment(late))

    assert (again.outcome, again.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.SOLD_OUT)
    assert "confirm: after attempt" not in lines
    assert await state(service, late) is State.EXPIRED
    assert (before, await left(service, QUOTA)) == (1, 1)
    await check_after(service, booked=0)


async def test_another_body_under_an_event_that_has_ended_is_refused_and_takes_no_seat(
    service: Service,
) -> None:
    late = await too_late(service)

    with pytest.raises(EventIdReused):
        await confirm(
            service.stores.payments, dataclasses.replace(payment(late), body_hash="another")
        )

    assert await state(service, late) is State.EXPIRED
    assert await left(service, QUOTA) == 1


async def test_an_attempt_that_died_on_a_hold_that_had_expired_leaves_it_expired(
    service: Service,
) -> None:
    late = await hold(service, "late", "beijing")
    await expire(service, late)
    with pytest.raises(DiedError):
        await confirm(dying(service.stores, "confirm: after attempt").payments, payment(late))
    during = await left(service, QUOTA)

    await recover(service)

    assert (during, await left(service, QUOTA)) == (0, 1)
    assert await state(service, late) is State.EXPIRED
    again = Order("late", ("general",), ("tianjin",), accepted_notice=True)
    await reserve(service.stores.reservations, "exam-1", again, "key-2")
    paid = await confirm(service.stores.payments, payment(late))
    assert (paid.outcome, paid.reason) == (
        PaymentOutcome.REFUND_DUE,
        RefundReason.SESSION_CONFLICT,
    )
    await check_after(service, booked=0)


async def test_a_late_payment_whose_event_is_new_is_seated_again(service: Service) -> None:
    late = await hold(service, "late", "beijing")
    await expire(service, late)

    paid = await confirm(service.stores.payments, payment(late))

    assert paid.outcome is PaymentOutcome.CONFIRMED
    await check_after(service, booked=1)


async def test_nothing_is_kept_for_an_event_that_ended_while_its_attempt_could_not_be_given_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event was recorded as failed to be booked, and Redis was away when it was told so."""
    held = await hold(service, "candidate-1", "beijing")
    await rows(service, "UPDATE quotas SET capacity = 0 WHERE venue = 'beijing'")

    async def away(*_: object) -> None:
        raise SeatsUnavailable("redis did not answer", applied=None)

    with monkeypatch.context() as patched:
        patched.setattr(SeatStore, "abandon_payment", away)
        with pytest.raises(SeatsUnavailable):
            await confirm(service.stores.payments, payment(held))
    await rows(service, "UPDATE quotas SET capacity = 1 WHERE venue = 'beijing'")
    assert await state(service, held) is State.CONFIRMING
    due_ms = await let_be_nearly_due(service, held)

    await recover(service)

    after = await now(service, held)
    assert after.state is State.HELD
    assert after.due_ms == due_ms  # not kept for another ten minutes


async def test_a_hold_whose_payment_is_not_recorded_yet_is_kept_for_its_provider(
    service: Service,
) -> None:
    held = await hold(service)
    with pytest.raises(DiedError):
        await confirm(dying(service.stores, "confirm: after attempt").payments, payment(held))
    other = await confirm(
        service.stores.payments, dataclasses.replace(payment(held, "event-2"), amount=1)
    )
    due_ms = await let_be_nearly_due(service, held)

    await recover(service)

    after = await now(service, held)
    assert other.outcome is PaymentOutcome.REFUND_DUE
    assert after.state is State.HELD
    assert after.due_ms > due_ms + service.stores.payments.retry_grace_ms // 2


async def test_an_attempt_from_before_the_clock_was_set_back_is_taken_over(
    service: Service,
) -> None:
    held = await hold(service)
    with pytest.raises(DiedError):
        await confirm(dying(service.stores, "confirm: after attempt").payments, payment(held))
    shard, serial = service.stores.registry.locate(held.id)
    await move_attempt(redis_of(service), shard, serial, ago_ms=-HOUR_MS)

    await recover(service)

    assert await state(service, held) is State.HELD
    await check_after(service, booked=0)


async def test_an_attempt_that_is_older_than_its_row_is_kept_books_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await hold(service)
    monkeypatch.setattr("quota_service.ledger.confirmations.ATTEMPT_LIFE_S", -1.0)

    with pytest.raises(Exception, match="each attempt to record the payment was abandoned"):
        await confirm(service.stores.payments, payment(held))

    assert fence.ATTEMPT_LIFE_S == 3600
    assert await rows(service, "SELECT * FROM bookings") == []
    assert await state(service, held) is State.HELD


async def test_a_call_that_was_half_a_day_on_its_way_books_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process stood still after it had looked at the age of the attempt."""
    held = await hold(service)
    then = dt.datetime.now(dt.UTC) - dt.timedelta(hours=13)
    stopped = SimpleNamespace(UTC=dt.UTC, datetime=SimpleNamespace(now=lambda _zone: then))
    monkeypatch.setattr("quota_service.ledger.confirmations.dt", stopped)

    with pytest.raises(LedgerUnavailable, match="each attempt to record the payment was abandoned"):
        await confirm(service.stores.payments, payment(held))

    assert await rows(service, "SELECT * FROM bookings") == []


async def test_attempts_are_forgotten_when_nobody_can_name_them_any_more(
    service: Service,
) -> None:
    for n in range(3):
        await confirm(service.stores.payments, payment(await hold(service, f"c-{n}"), f"event-{n}"))
    old = "UPDATE settled_pins SET settled_at = now() - interval '25 hours' WHERE reservation = $1"
    ((oldest,),) = await rows(service, "SELECT min(reservation) FROM settled_pins")
    await rows(service, old, oldest)

    pruned = await service.stores.payments.confirmations.prune_attempts(100)

    assert pruned == 1
    assert len(await rows(service, "SELECT 1 FROM settled_pins")) == 2


async def test_a_confirmation_that_stands_still_keeps_no_other_waiting(service: Service) -> None:
    """Its process is frozen inside its transaction; behind a pooler nobody ends that for it."""
    holds = [await hold(service, f"candidate-{n}", "tianjin") for n in range(3)]
    for n, each in enumerate(holds):
        with pytest.raises(DiedError):
            await confirm(
                dying(service.stores, "confirm: after attempt").payments,
                payment(each, f"event-{n}"),
            )
    frozen = await service.stores.seats.read(*service.stores.registry.locate(holds[0].id))
    assert frozen is not None

    async with service.stores.ledger.connection() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO settled_pins (reservation, pin) VALUES ($1, $2)", frozen.id, frozen.attempt
        )
        await recover(service)
        during = [await state(service, each) for each in holds]
    await recover(service)

    assert during == [State.CONFIRMING, State.HELD, State.HELD]
    assert await state(service, holds[0]) is State.HELD
    await check_after(service, booked=0)
