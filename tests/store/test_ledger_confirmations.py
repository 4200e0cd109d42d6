"""How payment events end in the ledger: booked once or due to go back, never both nor neither."""

import asyncio
import datetime as dt
import re

import pytest

from quota_service.domain.errors import EventIdReused
from quota_service.domain.payment import PaymentOutcome, PaymentStatus, RefundReason
from quota_service.ledger.confirmations import (
    AttemptSuperseded,
    PaymentDecision,
    RecordedPayment,
    _row,
)
from quota_service.ledger.errors import LedgerRefused
from tests.support.ledgers import BOOKED, PAID_AT_MS, LedgerUnderTest, refund

CONFIRMED_BEFORE = RecordedPayment(PaymentOutcome.CONFIRMED, None, repeated=True)


def failed(books: LedgerUnderTest, reservation: str) -> PaymentDecision:
    event = books.event(reservation, status=PaymentStatus.FAILED)
    return PaymentDecision(event, PaymentOutcome.IGNORED)


async def test_a_booking_is_stored_whole_and_counted(books: LedgerUnderTest) -> None:
    reservation = books.reservation("candidate-1", ("qms", "general"))

    settled = await books.confirmations.settle(books.booking(reservation))

    booked = await books.reader.booking(reservation.id)
    assert settled == BOOKED
    assert booked is not None
    assert dict(zip(booked.subjects, booked.sessions, strict=True)) == {
        "general": "day1-am",
        "qms": "day1-pm",
    }
    told = (booked.candidate, booked.venue, booked.amount, booked.currency, booked.created_ms)
    assert told == ("candidate-1", "jinan", 16000, "CNY", PAID_AT_MS - 60_000)
    assert await books.confirmed() == {"jinan/general": 1, "jinan/qms": 1}


async def test_processes_of_the_version_before_call_it_without_set_asides(
    books: LedgerUnderTest,
) -> None:
    query = books.ledger.query["settle_payments"]
    without = re.sub(r",\s+set_asides +=> \$27\)", ")", query)
    row = _row(books.booking(books.reservation()), 0.0)[:-1]

    async with books.ledger.connection() as connection:
        now = dt.datetime.now(dt.UTC)
        settled = await connection.fetch(without, now, *([value] for value in row))

    assert without != query
    assert [each["code"] for each in settled] == ["settled"]
    assert await books.rows("SELECT set_aside FROM bookings") == [("",)]


async def test_a_candidate_is_told_of_its_own_bookings_oldest_first(
    books: LedgerUnderTest,
) -> None:
    for candidate, subject in (("one", "qms"), ("two", "general"), ("one", "general")):
        await books.book(candidate, (subject,))

    found = await books.reader.bookings_of_candidate("exam-1", "one")

    assert [booking.subjects for booking in found] == [("qms",), ("general",)]
    assert await books.reader.bookings_of_candidate("exam-2", "one") == []


async def test_a_payment_is_stored_as_the_provider_told_it(books: LedgerUnderTest) -> None:
    reservation = books.reservation()
    verdict = books.booking(reservation, provider_reference="参考 1")

    await books.confirmations.settle(verdict)

    (payment,) = await books.reader.payments(reservation.id)
    assert (payment.event, payment.status) == (verdict.event.event, PaymentStatus.CAPTURED)
    assert (payment.outcome, payment.reason) == (PaymentOutcome.CONFIRMED, None)
    assert (payment.amount, payment.currency) == (8000, "CNY")
    assert (payment.paid_at_ms, payment.provider_reference) == (PAID_AT_MS, "参考 1")


async def test_the_same_event_again_ends_as_it_did_and_changes_nothing(
    books: LedgerUnderTest,
) -> None:
    verdict = books.booking(books.reservation())
    await books.confirmations.settle(verdict)

    again = await books.confirmations.settle(verdict)
    as_refund = await books.confirmations.settle(
        PaymentDecision(verdict.event, PaymentOutcome.REFUND_DUE, RefundReason.SOLD_OUT)
    )

    assert again == as_refund == CONFIRMED_BEFORE
    assert await books.confirmed() == {"jinan/general": 1}


async def test_the_same_event_with_another_body_is_refused(books: LedgerUnderTest) -> None:
    reservation = books.reservation()
    await books.confirmations.settle(books.booking(reservation, event="event-a"))

    with pytest.raises(EventIdReused):
        await books.confirmations.settle(
            books.booking(reservation, event="event-a", body_hash="other")
        )


async def test_a_failed_payment_is_noted_and_books_nothing(books: LedgerUnderTest) -> None:
    settled = await books.confirmations.settle(failed(books, "exam-1.0.somewhere"))

    assert settled == RecordedPayment(PaymentOutcome.IGNORED, None)
    assert await books.confirmed() == {}


async def test_a_payment_that_cannot_be_seated_is_due_to_go_back(books: LedgerUnderTest) -> None:
    event = books.event("never ours at all")

    settled = await books.confirmations.settle(
        PaymentDecision(event, PaymentOutcome.REFUND_DUE, RefundReason.UNKNOWN_RESERVATION)
    )

    assert settled == refund(RefundReason.UNKNOWN_RESERVATION)
    (payment,) = await books.reader.payments("never ours at all")
    assert payment.reason is RefundReason.UNKNOWN_RESERVATION


async def test_a_second_payment_for_a_booking_is_due_to_go_back(books: LedgerUnderTest) -> None:
    reservation = books.reservation()
    await books.confirmations.settle(books.booking(reservation))

    settled = await books.confirmations.settle(books.booking(reservation))

    assert settled == refund(RefundReason.ALREADY_PAID)
    assert await books.confirmed() == {"jinan/general": 1}


async def test_a_second_payment_under_a_new_attempt_is_due_to_go_back(
    books: LedgerUnderTest,
) -> None:
    reservation = books.reservation(attempt="attempt-1")
    await books.confirmations.settle(books.booking(reservation))
    begun_again = books.reservation(attempt="attempt-2", id=reservation.id)

    settled = await books.confirmations.settle(books.booking(begun_again))

    assert settled == refund(RefundReason.ALREADY_PAID)


async def test_the_seat_too_many_is_never_booked_whatever_redis_said(
    books: LedgerUnderTest,
) -> None:
    await books.book("candidate-1", ("general",), "beijing")

    settled = await books.book("candidate-2", ("service", "general"), "beijing")

    assert settled == refund(RefundReason.SOLD_OUT)
    assert await books.confirmed() == {"beijing/general": 1}


async def test_a_second_subject_in_a_session_is_never_booked_at_any_venue(
    books: LedgerUnderTest,
) -> None:
    await books.book("candidate-1", ("qms",), "jinan")

    settled = await books.book("candidate-1", ("general", "ems"), "tianjin")

    assert settled == refund(RefundReason.SESSION_CONFLICT)
    assert await books.confirmed() == {"jinan/qms": 1}


async def test_a_quota_the_ledger_does_not_know_is_refused_and_leaves_nothing(
    books: LedgerUnderTest,
) -> None:
    verdict = books.booking(books.reservation("candidate-1", ("qms",), "beijing"))

    with pytest.raises(LedgerRefused, match="not in the ledger"):
        await books.confirmations.settle(verdict)

    assert await books.reader.payments(verdict.event.reservation) == []


async def test_an_attempt_that_recovery_has_given_up_books_nothing(books: LedgerUnderTest) -> None:
    reservation = books.reservation(attempt="attempt-1")
    booked = await books.confirmations.decide_attempts([(reservation.id, "attempt-1")])

    verdict = books.booking(reservation)
    settled = await books.confirmations.settle(verdict)
    begun_again = PaymentDecision(
        verdict.event,
        PaymentOutcome.CONFIRMED,
        booking=books.reservation(attempt="attempt-2", id=reservation.id),
    )

    assert booked == {reservation.id: False}
    assert settled == AttemptSuperseded()
    assert await books.reader.payments(reservation.id) == []
    assert await books.confirmations.settle(begun_again) == BOOKED


async def test_recovery_is_told_which_reservations_are_booked(books: LedgerUnderTest) -> None:
    booked, unbooked = books.reservation("candidate-1"), books.reservation("candidate-2")
    await books.confirmations.settle(books.booking(booked))

    found = await books.confirmations.decide_attempts(
        [(booked.id, booked.attempt), (unbooked.id, unbooked.attempt)]
    )
    again = await books.confirmations.decide_attempts([(unbooked.id, unbooked.attempt)])

    assert found == {booked.id: True, unbooked.id: False}
    assert again == {unbooked.id: False}


async def test_of_confirmation_and_recovery_at_once_exactly_one_has_the_pin(
    books: LedgerUnderTest,
) -> None:
    reservations = [books.reservation(f"candidate-{i}", ("general",), "tianjin") for i in range(5)]

    *ends, booked = await asyncio.gather(
        *(books.confirmations.settle(books.booking(r)) for r in reservations),
        books.confirmations.decide_attempts([(r.id, r.attempt) for r in reversed(reservations)]),
    )

    assert isinstance(booked, dict)
    assert {r.id: end == BOOKED for r, end in zip(reservations, ends, strict=True)} == booked
    assert [end for end in ends if end not in (BOOKED, AttemptSuperseded())] == []


async def test_a_refusal_of_one_event_leaves_its_attempt_to_be_settled(
    books: LedgerUnderTest,
) -> None:
    await books.book("candidate-1", ("general",), "beijing")
    reservation = books.reservation("candidate-2", ("general",), "beijing")
    await books.confirmations.settle(books.booking(reservation))

    told = await books.confirmations.decide_attempts([(reservation.id, reservation.attempt)])

    assert told == {reservation.id: False}


@pytest.mark.parametrize(
    "changes",
    [
        {"provider_reference": "zero\0byte"},
        {"amount": 2**63},
        {"paid_at_ms": 10**18},
        {"paid_at_ms": -(10**18)},
    ],
)
async def test_an_event_postgres_cannot_store_fails_by_itself_and_not_its_neighbours(
    books: LedgerUnderTest, changes: dict[str, object]
) -> None:
    whole = [books.booking(books.reservation(f"candidate-{i}")) for i in range(2)]
    odd = books.booking(books.reservation("candidate-9", ("qms",)), **changes)

    first, failure, last = await asyncio.gather(
        *(books.confirmations.settle(verdict) for verdict in (whole[0], odd, whole[1])),
        return_exceptions=True,
    )

    assert (first, last) == (BOOKED, BOOKED)
    assert isinstance(failure, Exception)
    assert await books.confirmed() == {"jinan/general": 2}


async def test_the_largest_amount_the_api_takes_is_stored(books: LedgerUnderTest) -> None:
    reservation = books.reservation(amount=10**12)

    await books.confirmations.settle(books.booking(reservation))

    booked = await books.reader.booking(reservation.id)
    assert booked is not None
    assert booked.amount == 10**12
