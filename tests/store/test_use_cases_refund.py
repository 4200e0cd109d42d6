"""Refund over both stores: once for each person and exam, and every seat comes back once."""

import asyncio
import dataclasses

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import (
    ChangeInProgress,
    NotConfirmed,
    NotReady,
    PaymentInProgress,
    QuotaError,
    RefundClosed,
    RefundNotOpen,
    RefundUsed,
    ReservationEnded,
    UnknownReservation,
)
from quota_service.domain.exam import Window
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger.changes import ChangeLedger
from quota_service.ledger.confirmations import ConfirmationLedger
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.import_exam import import_exam
from quota_service.registration.recover import Recovered
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.registration.view import view_candidate
from quota_service.workers.expiry import ExpiryWorker
from tests.support.bookings import Groups, book, check_agreement, left, meanwhile, now, recover
from tests.support.books import read_journal
from tests.support.exams import make_exam
from tests.support.lost_shards import rows
from tests.support.records import HOUR_MS, move_due, redis_now_ms
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, hold, payment


async def refused(service: Service, reservation: Reservation) -> QuotaError:
    """Return the refusal of a refund, which must leave a reservation as it was."""
    before = await now(service, reservation)
    with pytest.raises(QuotaError) as raised:
        await refund(service.stores.payments, reservation.id)
    assert await now(service, reservation) == before
    return raised.value


async def test_a_refunded_booking_gives_everything_back_and_the_money_is_due(
    service: Service,
) -> None:
    booking = await book(service, subjects=("general", "qms"))

    refunded = await refund(service.stores.payments, booking.id)

    assert await now(service, booking) == dataclasses.replace(booking, state=State.REFUNDED)
    assert (refunded.state, refunded.venue, refunded.amount) == (State.REFUNDED, "jinan", 16000)
    assert (await left(service, "jinan/general"), await left(service, "jinan/qms")) == (3, 2)
    (due,) = await service.stores.payments.refunds_due.page("exam-1", 0, 10)
    assert (due.reservation, due.reason) == (booking.id, RefundReason.REFUNDED)
    assert (due.amount, due.currency, due.settled_ms) == (16000, "CNY", None)
    assert (await recover(service), await recover(service)) == ((Recovered(), 1), (Recovered(), 0))
    await check_agreement(service, booked=0)


async def test_after_a_refund_its_candidate_registers_again_but_has_no_second_refund(
    service: Service,
) -> None:
    first = await book(service, subjects=("general", "qms"))
    await refund(service.stores.payments, first.id)

    second = await book(service, subjects=("general", "ems"), key="key-2")
    error = await refused(service, second)
    again = await refused(service, first)

    assert isinstance(error, RefundUsed)
    assert isinstance(again, RefundUsed)
    assert error.reservation == again.reservation == first.id
    await check_agreement(service, booked=2)


async def test_a_second_booking_that_was_refused_its_refund_stays_whole(service: Service) -> None:
    first = await book(service)
    second = await book(service, subjects=("qms",), key="key-2")
    await refund(service.stores.payments, first.id)

    error = await refused(service, second)

    assert isinstance(error, RefundUsed)
    assert (await change_venue(service.stores.payments, second.id, "tianjin")).venue == "tianjin"
    await check_agreement(service, booked=1)


async def test_of_two_bookings_refunded_at_once_one_is_and_the_other_stays_whole(
    service: Service,
) -> None:
    bookings = [
        await book(service),
        await book(service, venue="tianjin", subjects=("qms",), key="key-2"),
    ]
    groups = Groups(service)

    ends = await asyncio.gather(
        *(refund(service.stores.payments, booking.id) for booking in bookings),
        return_exceptions=True,
    )

    used = [end for end in ends if isinstance(end, RefundUsed)]
    done = [end for end in ends if isinstance(end, Reservation)]
    assert (len(used), len(done)) == (1, 1)
    assert used[0].reservation == done[0].id
    assert groups.since() == (1, 1)
    states = {(await now(service, booking)).state for booking in bookings}
    assert states == {State.REFUNDED, State.CONFIRMED}
    await check_agreement(service, booked=1)


async def test_of_many_refunds_of_one_booking_one_is_done(service: Service) -> None:
    booking = await book(service)

    ends = await asyncio.gather(
        *(refund(service.stores.payments, booking.id) for _ in range(10)), return_exceptions=True
    )

    used = [end for end in ends if isinstance(end, RefundUsed)]
    assert (len(used), len([e for e in ends if isinstance(e, Reservation)])) == (9, 1)
    assert {error.reservation for error in used} == {booking.id}
    await check_agreement(service, booked=0)


async def test_what_is_not_booked_is_refused_by_what_it_is(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, released = await hold(service, "candidate-1"), await hold(service, "candidate-2")
    await release(service.stores, released.id)
    booking = await book(service, "candidate-3", "tianjin")
    errors: list[QuotaError] = [await refused(service, r) for r in (held, released)]

    async def try_held() -> None:
        errors.append(await refused(service, held))

    async def try_booking() -> None:
        errors.append(await refused(service, booking))

    meanwhile(monkeypatch, ConfirmationLedger, "settle", try_held)
    await confirm(service.stores.payments, payment(held))
    meanwhile(monkeypatch, ChangeLedger, "change", try_booking)
    await change_venue(service.stores.payments, booking.id, "jinan")

    assert [type(error) for error in errors] == [
        NotConfirmed,
        ReservationEnded,
        PaymentInProgress,
        ChangeInProgress,
    ]
    await check_agreement(service, booked=2)


@pytest.mark.parametrize("reservation", ["exam-1.0." + "a" * 24, "exam-9.0." + "a" * 24, "no-id"])
async def test_what_was_never_made_is_unknown(service: Service, reservation: str) -> None:
    with pytest.raises(UnknownReservation):
        await refund(service.stores.payments, reservation)


async def test_outside_the_refund_window_it_is_refused_whatever_registration_does(
    service: Service,
) -> None:
    booking = await book(service)
    now_ms = await redis_now_ms(redis_of(service))
    later = Window(now_ms + HOUR_MS, now_ms + 2 * HOUR_MS)
    over = Window(now_ms - 2 * HOUR_MS, now_ms)
    open_still = Window(now_ms - HOUR_MS, now_ms + HOUR_MS)

    await import_exam(service.stores.maintenance, dataclasses.replace(make_exam(), refund=later))
    early = await refused(service, booking)
    await import_exam(service.stores.maintenance, dataclasses.replace(make_exam(), refund=over))
    late = await refused(service, booking)
    closed = dataclasses.replace(make_exam(closes_in_s=-60), refund=open_still)
    await import_exam(service.stores.maintenance, closed)
    refunded = await refund(service.stores.payments, booking.id)

    assert isinstance(early, RefundNotOpen)
    assert early.opens_at_ms == later.opens_at_ms
    assert isinstance(late, RefundClosed)
    assert late.closed_at_ms == over.closes_at_ms
    assert refunded.state is State.REFUNDED
    await check_agreement(service, booked=0)


@pytest.mark.parametrize("fence", ["epoch = epoch + 1", "state = 'fenced'"])
async def test_under_an_epoch_that_is_over_nothing_is_refunded(
    service: Service, fence: str
) -> None:
    booking = await book(service)
    await rows(service, f"UPDATE shards SET {fence}")  # noqa: S608

    refusal = await refused(service, booking)

    assert isinstance(refusal, NotReady)
    assert await rows(service, "SELECT * FROM refunds") == []
    await check_agreement(service, booked=1)


async def test_the_ledger_knows_a_step_at_which_the_seats_of_a_refund_were_back(
    service: Service,
) -> None:
    booking = await book(service)
    await refund(service.stores.payments, booking.id)
    shard, serial = service.stores.registry.locate(booking.id)
    entries = await read_journal(redis_of(service), shard)
    (refunded,) = [entry for entry, e in entries if (e["verb"], e["subject"]) == ("refund", serial)]
    before = await rows(service, "SELECT returned_epoch, returned_version FROM refunds")

    await recover(service)

    after = await rows(service, "SELECT returned_epoch || '-' || returned_version FROM refunds")
    assert before == [(0, 0)]
    assert after == [(refunded,)]


async def test_a_refund_that_died_before_its_commit_has_done_nothing(service: Service) -> None:
    booking = await book(service)
    with pytest.raises(DiedError):
        await refund(dying(service.stores, "refund: before commit").payments, booking.id)

    done = await recover(service)

    assert done == (Recovered(), 0)
    assert await now(service, booking) == booking
    await check_agreement(service, booked=1)
    assert (await refund(service.stores.payments, booking.id)).state is State.REFUNDED


@pytest.mark.parametrize("line", ["refund: after commit", "refund: after finish"])
async def test_a_refund_that_died_after_its_commit_is_finished_once(
    service: Service, line: str
) -> None:
    booking = await book(service, subjects=("general", "qms"))
    with pytest.raises(DiedError):
        await refund(dying(service.stores, line).payments, booking.id)

    again = await refused(service, booking)
    done = [await recover(service) for _ in range(2)]

    assert isinstance(again, RefundUsed)
    assert done == [(Recovered(), 1), (Recovered(), 0)]
    assert (await now(service, booking)).state is State.REFUNDED
    await check_agreement(service, booked=0)
    await book(service, key="key-2")
    assert await recover(service) == (Recovered(), 0)
    await check_agreement(service, booked=1)


async def test_a_refund_that_died_moves_no_more_and_ends_in_recovery(service: Service) -> None:
    booking = await book(service)
    with pytest.raises(DiedError):
        await refund(dying(service.stores, "refund: after commit").payments, booking.id)

    with pytest.raises(ReservationEnded) as ended:
        await change_venue(service.stores.payments, booking.id, "tianjin")

    assert ended.value.state is State.REFUNDED
    assert await left(service, "tianjin/general") == 5
    assert await recover(service) == (Recovered(), 1)
    await check_agreement(service, booked=0)


@pytest.mark.parametrize("line", ["refund: after commit", "refund: after finish"])
async def test_a_second_payment_of_a_refunded_booking_is_due_to_go_back(
    service: Service, line: str
) -> None:
    booking = await book(service)
    with pytest.raises(DiedError):
        await refund(dying(service.stores, line).payments, booking.id)

    second = await confirm(service.stores.payments, payment(booking, "event-2"))
    first = await confirm(service.stores.payments, payment(booking, f"event-{booking.id}"))
    await recover(service)
    third = await confirm(service.stores.payments, payment(booking, "event-3"))

    finished = line == "refund: after finish"
    expected = RefundReason.REFUNDED if finished else RefundReason.ALREADY_PAID
    assert (second.outcome, second.reason) == (PaymentOutcome.REFUND_DUE, expected)
    assert first.outcome is PaymentOutcome.CONFIRMED
    assert (third.outcome, third.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.REFUNDED)
    due = await service.stores.payments.refunds_due.page("exam-1", 0, 10)
    assert [d.event for d in due] == [f"event-{booking.id}", "event-2", "event-3"]
    await check_agreement(service, booked=0)


async def test_a_refund_whose_record_redis_has_forgotten_needs_no_seats_back(
    service: Service,
) -> None:
    booking = await book(service)
    await refund(service.stores.payments, booking.id)
    shard, serial = service.stores.registry.locate(booking.id)
    await redis_of(service).delete(shard.record_key(serial))

    done = [await recover(service) for _ in range(2)]

    assert done == [(Recovered(), 1), (Recovered(), 0)]
    assert await left(service, "jinan/general") == 3
    with pytest.raises(RefundUsed):
        await refund(service.stores.payments, booking.id)


async def test_a_late_payment_that_was_refunded_is_shown_so_before_the_journal_is_drained(
    service: Service,
) -> None:
    held = await hold(service)
    shard, serial = service.stores.registry.locate(held.id)
    await move_due(redis_of(service), shard, serial)
    await ExpiryWorker(service.stores, service.settings).run_once()
    await drain_journal(service.stores.maintenance, shard, 1000, 3)
    assert (
        await confirm(service.stores.payments, payment(held))
    ).outcome is PaymentOutcome.CONFIRMED
    await refund(service.stores.payments, held.id)

    view = await view_candidate(service.stores.payments, "exam-1", "candidate-1")

    assert [each.reservation for each in view.refunds] == [held.id]
    assert [v.reservation.state for v in view.reservations] == [State.REFUNDED]
