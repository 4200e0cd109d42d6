"""Group commit: many payments in one transaction, each with an end of its own."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from quota_service.domain.errors import EventIdReused, NotReady, Overloaded
from quota_service.domain.payment import PaymentOutcome, PaymentStatus, RefundReason
from quota_service.ledger.confirmations import AttemptSuperseded, PaymentDecision, RecordedPayment
from quota_service.ledger.errors import LedgerRefused
from quota_service.ledger.group_commit import GroupCommitLimits
from quota_service.settings import Settings
from tests.support.exams import make_exam
from tests.support.ledgers import BOOKED, LedgerUnderTest, open_books, refund
from tests.support.patience import LIMIT_S

SEATS = {"jinan": {"general": 1000, "qms": 1000, "ems": 1000}, "xian": {"general": 1, "qms": 1000}}
ALREADY_PAID = refund(RefundReason.ALREADY_PAID)


@pytest.fixture
async def large(settings: Settings) -> AsyncIterator[LedgerUnderTest]:
    """A ledger with seats for all, on one connection, so that the server's counts are whole."""
    exam = make_exam(seats=SEATS)
    async with open_books(dataclasses.replace(settings, postgres_pool_max=1), exam) as opened:
        yield opened
        await opened.check_books()


@pytest.fixture
async def beside(settings: Settings, books: LedgerUnderTest) -> AsyncIterator[LedgerUnderTest]:
    """The same ledger from another process's pool."""
    async with open_books(settings, books.exam) as opened:
        yield opened


async def test_payments_in_flight_share_one_transaction(large: LedgerUnderTest) -> None:
    verdicts = [large.booking(large.reservation(f"candidate-{i}")) for i in range(100)]
    await large.book("candidate-100")

    ends = await asyncio.gather(*map(large.confirmations.settle, verdicts))

    assert ends == [BOOKED] * 100
    assert large.groups() == (2, 101)
    # A row knows the transaction it was written in; one that autovacuum commits writes none.
    ((events, bookings),) = await large.rows(
        "SELECT count(DISTINCT e.xmin::text), count(DISTINCT b.xmin::text)"
        " FROM payment_events e JOIN bookings b USING (event)"
    )
    assert (events, bookings) == (2, 2)
    assert await large.confirmed() == {"jinan/general": 101}


async def test_a_group_updates_each_quota_once(large: LedgerUnderTest) -> None:
    updates = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'quotas'"
    verdicts = [
        large.booking(large.reservation(f"candidate-{i}", ("general", "qms"))) for i in range(50)
    ]
    await large.tell_statistics()
    ((before,),) = await large.rows(updates)

    await asyncio.gather(*map(large.confirmations.settle, verdicts))

    await large.tell_statistics()
    ((after,),) = await large.rows(updates)
    assert after - before == 2


async def test_a_group_is_bounded(large: LedgerUnderTest) -> None:
    verdicts = [large.booking(large.reservation(f"candidate-{i}")) for i in range(300)]

    await asyncio.gather(*map(large.confirmations.settle, verdicts))

    assert large.groups() == (3, 300)


async def test_a_refused_payment_fails_alone_and_costs_its_group_nothing(
    large: LedgerUnderTest,
) -> None:
    wanted = [("xian", ("general",)), ("jinan", ("general",)), ("xian", ("general", "qms"))]
    verdicts = [
        large.booking(large.reservation(f"candidate-{i}", wanted[i % 3][1], wanted[i % 3][0]))
        for i in range(12)
    ]

    ends = await asyncio.gather(*map(large.confirmations.settle, verdicts))

    counted = Counter(ends)
    assert counted == {BOOKED: 5, refund(RefundReason.SOLD_OUT): 7}
    assert ends[0] == BOOKED
    assert large.groups() == (1, 12)
    assert await large.confirmed() == {"jinan/general": 4, "xian/general": 1}


async def test_what_a_refused_payment_wanted_too_goes_to_the_next_of_its_group(
    large: LedgerUnderTest,
) -> None:
    await large.rows("UPDATE quotas SET capacity = 0 WHERE venue = 'xian' AND subject = 'qms'")
    wanted = [("general", "qms"), ("general",), ("general",)]
    verdicts = [
        large.booking(large.reservation(f"candidate-{i}", subjects, "xian"))
        for i, subjects in enumerate(wanted)
    ]

    ends = await asyncio.gather(*map(large.confirmations.settle, verdicts))

    sold_out = refund(RefundReason.SOLD_OUT)
    assert ends == [sold_out, BOOKED, sold_out]
    assert large.groups() == (1, 3)


async def test_each_payment_of_a_group_has_an_end_of_its_own_in_one_transaction(
    large: LedgerUnderTest,
) -> None:
    paid, given_up = large.reservation("candidate-1"), large.reservation("candidate-2")
    unknown = large.reservation("candidate-4", venue="nowhere")
    other = PaymentDecision(
        large.event("of nobody"), PaymentOutcome.REFUND_DUE, RefundReason.RELEASED
    )
    told = large.booking(paid)
    fenced = large.booking(large.reservation("candidate-6"))
    await large.confirmations.settle(told)
    await large.book("candidate-3")
    await large.confirmations.decide_attempts([(given_up.id, given_up.attempt)])
    groups, events = large.groups()
    verdicts = [
        dataclasses.replace(told, event=dataclasses.replace(told.event, event="event-x")),
        large.booking(given_up),
        large.booking(large.reservation("candidate-3", ("general",), "xian")),
        large.booking(unknown),
        large.booking(large.reservation("candidate-5")),
        other,
        dataclasses.replace(fenced, shard=("exam-1", 7)),
    ]

    ends = await asyncio.gather(*map(large.confirmations.settle, verdicts), return_exceptions=True)

    assert ends[:3] == [
        RecordedPayment(PaymentOutcome.CONFIRMED, None, repeated=True),
        AttemptSuperseded(),
        refund(RefundReason.SESSION_CONFLICT),
    ]
    assert isinstance(ends[3], LedgerRefused)
    assert ends[4:6] == [BOOKED, refund(RefundReason.RELEASED)]
    assert isinstance(ends[6], NotReady)
    assert large.groups() == (groups + 1, events + len(verdicts))
    assert await large.confirmed() == {"jinan/general": 3}


async def test_a_group_that_another_was_faster_than_is_settled_by_what_that_committed(
    settings: Settings, books: LedgerUnderTest, beside: LedgerUnderTest
) -> None:
    """The call has looked already, and waits for an attempt, when the other process commits."""
    booking = books.booking(books.reservation())
    same = PaymentDecision(books.event("x", status=PaymentStatus.FAILED), PaymentOutcome.IGNORED)
    lines: list[str] = []
    async with open_books(settings, books.exam, lines.append) as slow:
        async with books.ledger.connection() as holder:
            transaction = holder.transaction()
            await transaction.start()
            await holder.execute(
                "INSERT INTO settled_pins (reservation, pin) VALUES ($1, 'attempt-1')",
                booking.event.reservation,
            )
            settling = asyncio.gather(*map(slow.confirmations.settle, (booking, same)))
            await books.waiting_for_a_lock()
            first = await beside.confirmations.settle(same)
            await transaction.rollback()
        ends = await settling

    ignored = RecordedPayment(PaymentOutcome.IGNORED, None)
    assert first == ignored
    assert ends == [BOOKED, dataclasses.replace(ignored, repeated=True)]
    assert lines == ["confirm: before commit"] * 2


async def test_one_candidate_twice_in_a_group_has_one_subject_a_session(
    large: LedgerUnderTest,
) -> None:
    verdicts = [
        large.booking(large.reservation("candidate-1", ("qms",), "jinan")),
        large.booking(large.reservation("candidate-2", ("qms",), "jinan")),
        large.booking(large.reservation("candidate-1", ("ems",), "jinan")),
        large.booking(large.reservation("candidate-1", ("qms",), "xian")),
    ]

    ends = await asyncio.gather(*map(large.confirmations.settle, verdicts))

    conflict = refund(RefundReason.SESSION_CONFLICT)
    assert ends[1] == BOOKED
    assert Counter([ends[0], *ends[2:]]) == {BOOKED: 1, conflict: 2}


async def test_the_same_event_many_times_in_a_group_has_one_effect_and_one_end(
    large: LedgerUnderTest,
) -> None:
    verdict = large.booking(large.reservation())
    neighbours = [large.booking(large.reservation(f"candidate-{i}")) for i in range(2, 4)]

    ends = await asyncio.gather(
        *map(large.confirmations.settle, [verdict, *neighbours, verdict, verdict])
    )

    assert {end.outcome for end in ends if isinstance(end, RecordedPayment)} == {
        PaymentOutcome.CONFIRMED
    }
    assert [end.repeated for end in ends if isinstance(end, RecordedPayment)].count(True) == 2
    assert large.groups() == (3, 5)
    assert await large.confirmed() == {"jinan/general": 3}


async def test_the_same_event_with_another_body_in_a_group_is_refused_alone(
    large: LedgerUnderTest,
) -> None:
    reservation = large.reservation()
    verdicts = [
        large.booking(reservation, event="event-a"),
        large.booking(large.reservation("candidate-2"), event="event-a", body_hash="other"),
        large.booking(large.reservation("candidate-3")),
    ]

    ends = await asyncio.gather(*map(large.confirmations.settle, verdicts), return_exceptions=True)

    assert (ends[0], ends[2]) == (BOOKED, BOOKED)
    assert isinstance(ends[1], EventIdReused)


async def test_two_payments_for_one_reservation_in_a_group_book_it_once(
    large: LedgerUnderTest,
) -> None:
    reservation = large.reservation()

    ends = await asyncio.gather(
        *(large.confirmations.settle(large.booking(reservation)) for _ in range(3))
    )

    assert ends == [BOOKED, ALREADY_PAID, ALREADY_PAID]


async def test_more_payments_than_may_wait_are_turned_away_untouched(
    settings: Settings,
) -> None:
    few = settings.with_limits(GroupCommitLimits(queue_max=5))
    async with open_books(few, make_exam(seats=SEATS)) as books:
        verdicts = [books.booking(books.reservation(f"candidate-{i}")) for i in range(8)]

        ends = await asyncio.gather(
            *map(books.confirmations.settle, verdicts), return_exceptions=True
        )

        turned_away = [end for end in ends if isinstance(end, Overloaded)]
        assert (ends.count(BOOKED), len(turned_away)) == (5, 3)


async def test_two_processes_that_get_the_same_events_record_each_once(
    books: LedgerUnderTest, beside: LedgerUnderTest
) -> None:
    verdicts = [
        books.booking(books.reservation(f"candidate-{i}", ("general",), "tianjin"))
        for i in range(5)
    ]

    ends = await asyncio.gather(
        *map(books.confirmations.settle, verdicts),
        *map(beside.confirmations.settle, reversed(verdicts)),
    )

    assert {end.outcome for end in ends if isinstance(end, RecordedPayment)} == {
        PaymentOutcome.CONFIRMED
    }
    assert len(ends) == len([end for end in ends if isinstance(end, RecordedPayment)])
    assert await books.confirmed() == {"tianjin/general": 5}


async def test_an_import_in_flight_keeps_no_payment_waiting(
    books: LedgerUnderTest, beside: LedgerUnderTest
) -> None:
    async with books.ledger.transaction() as connection, asyncio.timeout(LIMIT_S / 2):
        await books.exams.lock(connection, books.exam.id)

        settled = await beside.book()

    assert settled == BOOKED


async def test_two_processes_at_odds_over_seats_and_sessions_never_wait_in_a_circle(
    books: LedgerUnderTest, beside: LedgerUnderTest
) -> None:
    def wishes(ledger: LedgerUnderTest, subject: str, order: int) -> list[object]:
        return [
            ledger.confirmations.settle(
                ledger.booking(ledger.reservation(f"candidate-{i}", ("general", subject), venue))
            )
            for i in range(12)[::order]
            for venue in ("jinan", "tianjin")[::order]
        ]

    ends = await asyncio.gather(
        *wishes(books, "qms", 1),
        *wishes(beside, "service", -1),
    )

    assert [end for end in ends if not isinstance(end, RecordedPayment)] == []
    booked = await books.rows("SELECT candidate, count(*) FROM booking_items GROUP BY 1")
    assert {count for _, count in booked} == {2}
    assert sum((await books.confirmed()).values()) == 2 * len(booked)
