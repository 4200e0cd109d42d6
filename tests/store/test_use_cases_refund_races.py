"""Refunds in a crowd: against changes, beside each other, and while a store gives no answer."""

import asyncio
from collections.abc import Callable

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import (
    ChangeInProgress,
    LedgerUnavailable,
    RefundUsed,
    ReservationEnded,
    SeatsUnavailable,
)
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger.changes import ChangeLedger
from quota_service.ledger.quotas import count_seats
from quota_service.ledger.refunds import RefundLedger
from quota_service.registration.change_venue import change_venue
from quota_service.registration.import_exam import import_exam
from quota_service.registration.recover import Recovered
from quota_service.registration.refund import refund
from quota_service.seats.replies import ScriptReply
from quota_service.seats.store import SeatStore
from tests.support.bookings import Groups, book, check_agreement, left, meanwhile, now, recover
from tests.support.exams import make_exam
from tests.support.proxy import Proxy
from tests.support.use_cases import DiedError, dying, state

MANY = {"jinan": {"general": 60, "qms": 60}, "tianjin": {"general": 60}}


@pytest.fixture
async def large(service: Service) -> Service:
    """The service with an exam beside the other, with seats for many."""
    await import_exam(service.stores.maintenance, make_exam("exam-2", seats=MANY))
    return service


async def test_one_person_has_a_refund_in_each_exam(large: Service) -> None:
    bookings = [await book(large), await book(large, exam="exam-2")]

    refunded = [await refund(large.stores.payments, booking.id) for booking in bookings]

    assert [r.state for r in refunded] == [State.REFUNDED] * 2
    await check_agreement(large, booked=0)
    await check_agreement(large, booked=0, exam="exam-2")


async def test_a_refund_that_meets_a_change_before_its_commit_wins(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await book(service)
    begun, committed = asyncio.Event(), asyncio.Event()

    async def taken() -> None:
        begun.set()
        await committed.wait()

    meanwhile(monkeypatch, ChangeLedger, "change", taken)
    changes: list[asyncio.Task[Reservation]] = []

    async def begin_a_change() -> None:
        change = change_venue(service.stores.payments, booking.id, "tianjin")
        changes.append(asyncio.ensure_future(change))
        await begun.wait()

    meanwhile(monkeypatch, RefundLedger, "refund", begin_a_change)

    refunded = await refund(service.stores.payments, booking.id)
    seen = await state(service, booking)
    committed.set()
    with pytest.raises(ReservationEnded) as ended:
        await changes[0]

    assert (refunded.state, refunded.venue) == (State.REFUNDED, "jinan")
    assert seen is State.REFUNDED
    assert ended.value.state is State.REFUNDED
    assert await recover(service) == (Recovered(), 1)
    await check_agreement(service, booked=0)


async def test_a_refund_that_meets_a_change_after_its_commit_gives_back_the_new_seats(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await book(service)
    line = dying(service.stores.payments, "change: after commit")

    async def moved_but_not_told() -> None:
        with pytest.raises(DiedError):
            await change_venue(line, booking.id, "tianjin")

    meanwhile(monkeypatch, RefundLedger, "refund", moved_but_not_told)

    refunded = await refund(service.stores.payments, booking.id)
    seen = await now(service, booking)

    assert (refunded.state, refunded.venue) == (State.REFUNDED, "tianjin")
    assert (seen.state, seen.venue) == (State.REFUNDED, "tianjin")
    assert await recover(service) == (Recovered(), 1)
    assert (await left(service, "jinan/general"), await left(service, "tianjin/general")) == (3, 5)
    await check_agreement(service, booked=0)


async def test_a_refund_tells_the_venue_that_was_refunded(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await book(service)

    async def move() -> None:
        await change_venue(service.stores.payments, booking.id, "tianjin")

    meanwhile(monkeypatch, RefundLedger, "refund", move)

    refunded = await refund(service.stores.payments, booking.id)

    await check_agreement(service, booked=0)
    assert refunded.venue == (await now(service, booking)).venue == "tianjin"


async def test_whatever_order_a_change_and_a_refund_come_in_the_booking_ends_refunded(
    large: Service,
) -> None:
    bookings = [await book(large, f"candidate-{i}", exam="exam-2") for i in range(20)]
    steps = [
        (change_venue(large.stores.payments, b.id, "tianjin"), refund(large.stores.payments, b.id))
        for b in bookings
    ]

    ends = await asyncio.gather(
        *(step for i, pair in enumerate(steps) for step in pair[:: 1 if i % 2 else -1]),
        return_exceptions=True,
    )

    assert {type(end) for end in ends} <= {Reservation, ReservationEnded, ChangeInProgress}
    states = [(await now(large, booking)).state for booking in bookings]
    await recover(large, "exam-2")
    await check_agreement(large, booked=states.count(State.CONFIRMED), exam="exam-2")
    assert set(states) <= {State.CONFIRMED, State.REFUNDED}
    refunds = [e for e in ends if isinstance(e, Reservation) and e.state is State.REFUNDED]
    assert states.count(State.REFUNDED) == len(refunds)


async def test_a_redis_that_is_not_told_gets_the_seats_from_recovery(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await book(service)

    async def away(*_: object) -> ScriptReply:
        raise SeatsUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(SeatStore, "refund", away)
        refunded = await refund(service.stores.payments, booking.id)
    seen = await left(service, "jinan/general")

    assert (refunded.state, seen) == (State.REFUNDED, 2)
    assert await recover(service) == (Recovered(), 1)
    assert await left(service, "jinan/general") == 3
    await check_agreement(service, booked=0)


def before_the_commit(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Let something happen once all is written and the commit is still to come."""

    async def counted(*args: object) -> None:
        await count_seats(*args)  # type: ignore[arg-type]
        happens()

    monkeypatch.setattr("quota_service.ledger.refunds.count_seats", counted)


async def test_a_commit_whose_answer_is_lost_is_found_and_finished(
    hasty: Service, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await book(hasty, subjects=("general", "qms"))
    before_the_commit(monkeypatch, proxy.lose_answers)

    refunded = await refund(hasty.stores.payments, booking.id)

    assert proxy.lost_bytes > 0
    assert refunded.state is State.REFUNDED
    assert await state(hasty, booking) is State.REFUNDED
    await check_agreement(hasty, booked=0)


async def test_a_commit_that_never_arrived_is_of_unknown_end_and_asked_again(
    hasty: Service, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    booking = await book(hasty)
    with monkeypatch.context() as patched:
        before_the_commit(patched, proxy.freeze)
        with pytest.raises(LedgerUnavailable) as raised:
            await refund(hasty.stores.payments, booking.id)
    seen = await now(hasty, booking)

    refunded = await refund(hasty.stores.payments, booking.id)

    assert raised.value.applied is None
    assert seen == booking
    assert refunded.state is State.REFUNDED
    await check_agreement(hasty, booked=0)


async def test_many_refunds_at_once_share_a_transaction(large: Service) -> None:
    subjects = ("general", "qms")
    bookings = [
        await book(large, f"candidate-{i}", subjects=subjects, exam="exam-2") for i in range(40)
    ]
    groups = Groups(large)

    refunded = await asyncio.gather(*(refund(large.stores.payments, b.id) for b in bookings))

    assert {r.state for r in refunded} == {State.REFUNDED}
    transactions, refunds = groups.since()
    assert refunds == 40
    assert transactions <= 5  # their looks at Redis do not all come back in one turn
    await check_agreement(large, booked=0, exam="exam-2")


async def test_one_refund_that_is_used_harms_no_other_of_its_group(large: Service) -> None:
    bookings = [await book(large, f"candidate-{i}", exam="exam-2") for i in range(20)]
    second = await book(large, "candidate-7", subjects=("qms",), exam="exam-2", key="key-2")
    await refund(large.stores.payments, bookings[7].id)

    ends = await asyncio.gather(
        *(refund(large.stores.payments, b.id) for b in [*bookings[:7], second, *bookings[8:]]),
        return_exceptions=True,
    )

    assert isinstance(ends[7], RefundUsed)
    others = [end for i, end in enumerate(ends) if i != 7]
    assert [end.state for end in others if isinstance(end, Reservation)] == [State.REFUNDED] * 19
    assert await now(large, second) == second
    await check_agreement(large, booked=1, exam="exam-2")
