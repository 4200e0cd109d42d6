"""Confirming and recovering over both stores: whatever dies in between, a payment ends once."""

import asyncio
import dataclasses
from collections.abc import Callable

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import LedgerUnavailable, SeatsUnavailable
from quota_service.domain.payment import PaymentOutcome, PaymentResult, RefundReason
from quota_service.domain.reservation import ReservationId, State
from quota_service.ledger.confirmations import ConfirmationLedger
from quota_service.registration.confirm import confirm
from quota_service.registration.recover import Recovered
from quota_service.seats.keys import Shard
from quota_service.seats.store import SeatStore
from quota_service.workers.expiry import ExpiryWorker
from tests.support.records import move_attempt, move_due
from tests.support.redis_clients import redis_of
from tests.support.use_cases import (
    DiedError,
    check_both_books,
    dying,
    hold,
    payment,
    recover,
    state,
)


async def test_a_payment_that_died_after_its_commit_is_finished(service: Service) -> None:
    reservation = await hold(service)
    with pytest.raises(DiedError):
        await confirm(dying(service.stores, "confirm: after commit").payments, payment(reservation))

    done = await recover(service)

    assert done == Recovered(finished=1)
    assert await state(service, reservation) is State.CONFIRMED
    await check_both_books(service, booked=1)


async def test_a_payment_that_died_before_its_commit_is_a_hold_again(service: Service) -> None:
    reservation = await hold(service)
    with pytest.raises(DiedError):
        await confirm(
            dying(service.stores, "confirm: after attempt").payments, payment(reservation)
        )

    done = await recover(service)

    assert done == Recovered(abandoned=1)
    assert await state(service, reservation) is State.HELD
    await check_both_books(service, booked=0)


@pytest.mark.parametrize(
    "line", ["before attempt", "after attempt", "after commit", "after finish"]
)
@pytest.mark.parametrize("recovered", [False, True])
async def test_the_event_sent_again_ends_as_booked_wherever_the_first_died(
    service: Service, line: str, *, recovered: bool
) -> None:
    reservation = await hold(service)
    with pytest.raises(DiedError):
        await confirm(dying(service.stores, f"confirm: {line}").payments, payment(reservation))
    if recovered:
        await recover(service)

    result = await confirm(service.stores.payments, payment(reservation))

    assert result == PaymentResult(PaymentOutcome.CONFIRMED, reservation.id)
    await check_both_books(service, booked=1)


async def test_a_payment_younger_than_the_age_is_left_to_its_process(service: Service) -> None:
    young, old = await hold(service), await hold(service, "candidate-2")
    for reservation in (young, old):
        with pytest.raises(DiedError):
            await confirm(
                dying(service.stores, "confirm: after attempt").payments,
                payment(reservation, reservation.id),
            )
    shard, serial = service.stores.registry.locate(old.id)
    await move_attempt(redis_of(service), shard, serial, ago_ms=60_000)

    done = await recover(service, age_ms=30_000)

    assert done == Recovered(abandoned=1)
    assert (await state(service, young), await state(service, old)) == (
        State.CONFIRMING,
        State.HELD,
    )
    await recover(service)


class Stalled:
    """Runs something while a confirmation stops between its attempt and its commit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def meanwhile(self, happens: Callable[[], "asyncio.Future[object]"]) -> None:
        settle = ConfirmationLedger.settle

        async def stalled(ledger: ConfirmationLedger, *args: object) -> object:
            self._monkeypatch.undo()
            await happens()
            return await settle(ledger, *args)

        self._monkeypatch.setattr(ConfirmationLedger, "settle", stalled)


async def test_a_confirmation_that_stalled_longer_than_recovery_waits_begins_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    reservation = await hold(service)
    recovered = []

    async def recovered_meanwhile() -> None:
        recovered.append(await recover(service))

    Stalled(monkeypatch).meanwhile(lambda: asyncio.ensure_future(recovered_meanwhile()))

    result = await confirm(service.stores.payments, payment(reservation))

    assert [count.abandoned for count in recovered] == [1]
    assert result == PaymentResult(PaymentOutcome.CONFIRMED, reservation.id)
    await check_both_books(service, booked=1)


async def test_a_stalled_confirmation_whose_hold_went_to_another_is_refunded(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    reservation = await hold(service, "candidate-1", "beijing")

    async def recovered_expired_and_taken() -> None:
        await recover(service)
        await move_due(redis_of(service), *service.stores.registry.locate(reservation.id))
        await ExpiryWorker(service.stores, service.settings).run_once()
        await hold(service, "candidate-2", "beijing")

    Stalled(monkeypatch).meanwhile(lambda: asyncio.ensure_future(recovered_expired_and_taken()))

    result = await confirm(service.stores.payments, payment(reservation))

    assert (result.outcome, result.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.SOLD_OUT)
    assert await state(service, reservation) is State.EXPIRED
    await check_both_books(service, booked=0)


async def test_a_stalled_confirmation_that_was_repeated_meanwhile_ends_the_same(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    reservation = await hold(service)
    repeated: list[PaymentResult] = []

    async def repeat() -> None:
        repeated.append(await confirm(service.stores.payments, payment(reservation)))

    Stalled(monkeypatch).meanwhile(lambda: asyncio.ensure_future(repeat()))

    result = await confirm(service.stores.payments, payment(reservation))

    assert [result] == repeated
    assert result.outcome is PaymentOutcome.CONFIRMED
    await check_both_books(service, booked=1)


async def test_two_payments_at_once_book_one_and_refund_the_other(service: Service) -> None:
    reservation = await hold(service)

    results = await asyncio.gather(
        *(confirm(service.stores.payments, payment(reservation, f"event-{i}")) for i in range(6))
    )

    outcomes = [result.outcome for result in results]
    assert outcomes.count(PaymentOutcome.CONFIRMED) == 1
    assert {result.reason for result in results} == {None, RefundReason.ALREADY_PAID}
    await check_both_books(service, booked=1)


async def test_payments_and_recoveries_at_once_end_each_payment_once(service: Service) -> None:
    reservations = [await hold(service, f"candidate-{i}", "tianjin") for i in range(5)]

    *results, _, _, _ = await asyncio.gather(
        *(confirm(service.stores.payments, payment(r, r.id)) for r in reservations),
        *(recover(service) for _ in range(3)),
    )

    assert {r.outcome for r in results if isinstance(r, PaymentResult)} == {
        PaymentOutcome.CONFIRMED
    }
    await check_both_books(service, booked=5)


async def test_a_booking_redis_was_not_told_of_is_answered_and_finished_later(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    reservation = await hold(service)

    async def away(*_: object) -> None:
        raise SeatsUnavailable("redis went away")

    with monkeypatch.context() as patched:
        patched.setattr(SeatStore, "confirm", away)
        result = await confirm(service.stores.payments, payment(reservation))
    state_before = await state(service, reservation)
    done = await recover(service)

    assert result.outcome is PaymentOutcome.CONFIRMED
    assert (state_before, done) == (State.CONFIRMING, Recovered(finished=1))
    await check_both_books(service, booked=1)


async def test_a_hold_postgres_has_no_seat_for_is_refunded_and_a_hold_no_longer_confirming(
    service: Service,
) -> None:
    reservation = await hold(service)
    async with service.stores.ledger.connection() as connection:
        await connection.execute("UPDATE quotas SET capacity = 0")

    result = await confirm(service.stores.payments, payment(reservation))

    assert (result.outcome, result.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.SOLD_OUT)
    assert await state(service, reservation) is State.HELD
    await check_both_books(service, booked=0)


async def test_a_wrong_amount_is_refunded_and_the_right_one_still_books(service: Service) -> None:
    reservation = await hold(service)

    wrong = await confirm(service.stores.payments, payment(reservation, "event-1", amount=1))
    right = await confirm(service.stores.payments, payment(reservation, "event-2"))

    assert wrong.reason is RefundReason.WRONG_AMOUNT
    assert right.outcome is PaymentOutcome.CONFIRMED
    await check_both_books(service, booked=1)


async def test_a_wrong_amount_is_refunded_also_while_another_payment_is_recorded(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    reservation = await hold(service)
    wrong: list[PaymentResult] = []

    async def other() -> None:
        wrong.append(
            await confirm(service.stores.payments, payment(reservation, "event-2", amount=1))
        )

    Stalled(monkeypatch).meanwhile(lambda: asyncio.ensure_future(other()))

    right = await confirm(service.stores.payments, payment(reservation, "event-1"))

    assert [result.reason for result in wrong] == [RefundReason.WRONG_AMOUNT]
    assert right.outcome is PaymentOutcome.CONFIRMED
    await check_both_books(service, booked=1)


async def test_one_attempt_redis_does_not_answer_for_keeps_no_other_waiting(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    reservations = [await hold(service, f"candidate-{i}") for i in range(3)]
    for reservation in reservations:
        with pytest.raises(DiedError):
            await confirm(
                dying(service.stores, "confirm: after attempt").payments,
                payment(reservation, reservation.id),
            )
    abandon_payment = SeatStore.abandon_payment
    parts = ReservationId.parse(reservations[0].id)

    async def once_away(
        store: SeatStore, shard: Shard, serial: str, attempt: str, grace_ms: int
    ) -> object:
        if parts is not None and serial == parts.serial:
            raise SeatsUnavailable("no answer")
        return await abandon_payment(store, shard, serial, attempt, grace_ms)

    with monkeypatch.context() as patched:
        patched.setattr(SeatStore, "abandon_payment", once_away)
        with pytest.raises(SeatsUnavailable):
            await recover(service)
    states = [await state(service, reservation) for reservation in reservations]
    await recover(service)

    assert states == [State.CONFIRMING, State.HELD, State.HELD]
    await check_both_books(service, booked=0)


async def test_a_payment_for_an_exam_nobody_knows_is_due_to_go_back(service: Service) -> None:
    reservation = dataclasses.replace(await hold(service), id=f"exam-9.0.{'a' * 24}")

    result = await confirm(service.stores.payments, payment(reservation))

    assert result.reason is RefundReason.UNKNOWN_RESERVATION


async def test_a_postgres_that_is_away_keeps_the_attempt_for_the_event_sent_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    reservation = await hold(service)

    async def away(*_: object) -> None:
        raise LedgerUnavailable("postgres went away")

    with monkeypatch.context() as patched:
        patched.setattr(ConfirmationLedger, "settle", away)
        with pytest.raises(LedgerUnavailable):
            await confirm(service.stores.payments, payment(reservation))
    waiting = await state(service, reservation)
    result = await confirm(service.stores.payments, payment(reservation))

    assert waiting is State.CONFIRMING
    assert result.outcome is PaymentOutcome.CONFIRMED
    await check_both_books(service, booked=1)
