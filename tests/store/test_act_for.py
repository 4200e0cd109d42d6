"""An act of ops that died after its note has done nothing, and is done by the same call again."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from quota_service.app.opening import Service
from quota_service.definitions.reading import parse_exam
from quota_service.domain.errors import (
    AlreadyConfirmed,
    ExamArchived,
    NotSettledThen,
    PaymentInProgress,
    QuotaError,
    RefundClosed,
    RefundUsed,
    UnknownRefund,
)
from quota_service.domain.exam import Window
from quota_service.domain.payment import PaymentOutcome, PaymentResult
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger.confirmations import ConfirmationLedger
from quota_service.ledger.refunds_due import RefundDue
from quota_service.registration.act_for import (
    mark_paid,
    move,
    refund_for,
    release_for,
    reopen_refund,
    reserve_for,
)
from quota_service.registration.archive import archive_exam
from quota_service.registration.audit import audit
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.refund import refund
from quota_service.registration.reserve import Order
from quota_service.registration.stores import PaymentStores
from quota_service.registration.view import view_candidate
from tests.support.bookings import book, check_agreement, meanwhile, now, recover
from tests.support.exams import exam_definition, make_exam
from tests.support.lost_shards import rows
from tests.support.records import HOUR_MS, redis_now_ms
from tests.support.redis_clients import redis_of
from tests.support.retirement import end, finish, retain
from tests.support.use_cases import DiedError, check_both_books, dying, hold, payment

Act = Callable[[PaymentStores, str], Awaitable[object]]
ACTS: dict[str, Act] = {
    "mark-paid": lambda stores, id_: mark_paid(stores, id_, "bank 7", "why"),
    "release": lambda stores, id_: release_for(stores, id_, "why"),
    "move": lambda stores, id_: move(stores, id_, "tianjin", "why"),
    "refund": lambda stores, id_: refund_for(stores, id_, "why"),
}
ENDS = {
    "mark-paid": (State.CONFIRMED, "jinan"),
    "release": (State.RELEASED, "jinan"),
    "move": (State.HELD, "tianjin"),
}


@pytest.mark.parametrize("act", ENDS)
async def test_an_act_that_died_after_its_note_is_done_once_by_the_same_call(
    service: Service, act: str
) -> None:
    held: Reservation = await hold(service)

    with pytest.raises(DiedError):
        await ACTS[act](dying(service.stores.payments, "act: after note"), held.id)
    before = await now(service, held)
    await ACTS[act](service.stores.payments, held.id)
    await ACTS[act](service.stores.payments, held.id)

    after = await now(service, held)
    assert (before.state, before.venue) == (State.HELD, "jinan")
    assert (after.state, after.venue) == ENDS[act]
    assert await rows(service, "SELECT action, subject FROM ops_actions") == [(act, held.id)] * 3
    await check_both_books(service, booked=int(act == "mark-paid"))


async def out_of_window(service: Service) -> None:
    """Let the refund window of the exam be over."""
    now_ms = await redis_now_ms(redis_of(service))
    over = Window(now_ms - 2 * HOUR_MS, now_ms - HOUR_MS)
    changed = dataclasses.replace(make_exam(), refund=over)
    await import_exam(service.stores.maintenance, changed)


async def again(
    service: Service, act: Act, booking: Reservation, line: str, times: int = 2
) -> list[object]:
    """Let an act die at a line, then do it so many times more; return what it told."""
    with pytest.raises(DiedError):
        await act(dying(service.stores.payments, line), booking.id)
    return [await act(service.stores.payments, booking.id) for _ in range(times)]


REFUND_LINES = ["act: after note", "refund: before commit", "refund: after commit"]


@pytest.mark.parametrize("line", [*REFUND_LINES, "refund: after finish"])
async def test_a_refund_by_ops_that_died_is_made_once_by_the_same_call(
    service: Service, line: str
) -> None:
    booking = await book(service)
    await out_of_window(service)

    told = await again(service, ACTS["refund"], booking, line)
    await recover(service)

    assert [each.state for each in told] == [State.REFUNDED] * 2  # type: ignore[attr-defined]
    assert (await now(service, booking)).state is State.REFUNDED
    assert await rows(service, "SELECT reservation, by_ops FROM refunds") == [(booking.id, True)]
    assert await rows(service, "SELECT amount FROM refunds_due") == [(8000,)]
    assert await rows(service, "SELECT action, subject FROM ops_actions") == (
        [("refund", booking.id)] * 3
    )
    await check_agreement(service, booked=0)


async def test_refunds_by_ops_are_beside_the_one_refund_of_a_candidate(service: Service) -> None:
    first = await book(service)
    await refund(service.stores.payments, first.id)
    second = await book(service, key="key-2")
    by_ops = await refund_for(service.stores.payments, second.id, "burst pipe")
    third = await book(service, key="key-3")

    with pytest.raises(RefundUsed) as used:
        await refund(service.stores.payments, third.id)

    view = await view_candidate(service.stores.payments, "exam-1", "candidate-1")
    assert by_ops.state is State.REFUNDED
    assert used.value.reservation == first.id
    assert [(each.reservation, each.by_ops) for each in view.refunds] == [
        (first.id, False),
        (second.id, True),
    ]
    assert await rows(service, "SELECT count(*) FROM refunds_due") == [(2,)]
    await recover(service)
    await check_agreement(service, booked=1)


async def test_a_refund_by_ops_leaves_a_candidate_the_one_refund(service: Service) -> None:
    first = await book(service)
    await refund_for(service.stores.payments, first.id, "burst pipe")
    second = await book(service, key="key-2")
    view = await view_candidate(service.stores.payments, "exam-1", "candidate-1")

    await refund(service.stores.payments, second.id)

    assert not view.is_refund_used
    after = await view_candidate(service.stores.payments, "exam-1", "candidate-1")
    assert after.is_refund_used
    assert after.refunds[-1].reservation == second.id


async def test_of_refunds_by_ops_and_the_candidate_at_once_one_makes_the_money_due(
    service: Service,
) -> None:
    booking = await book(service)
    ops = [refund_for(service.stores.payments, booking.id, "why") for _ in range(3)]
    own = [refund(service.stores.payments, booking.id) for _ in range(3)]

    ends = await asyncio.gather(*ops, *own, return_exceptions=True)

    assert [end.state for end in ends if isinstance(end, Reservation)][:3] == [State.REFUNDED] * 3
    assert all(isinstance(end, Reservation | RefundUsed) for end in ends), ends
    assert await rows(service, "SELECT count(*) FROM refunds_due") == [(1,)]
    await recover(service)
    await check_agreement(service, booked=0)


async def test_ops_refund_nothing_of_an_exam_that_has_left_redis(service: Service) -> None:
    booking = await book(service)
    await end(service, 8)
    await finish(service)
    assert (await retain(service))["retired"] == 1

    with pytest.raises(RefundClosed):
        await refund_for(service.stores.payments, booking.id, "ill")

    assert await rows(service, "SELECT * FROM refunds_due") == []
    assert (await audit(service.stores.maintenance, "exam-1")).is_clean


async def settled(service: Service) -> RefundDue:
    """Return money that is due back, and was settled."""
    await refund(service.stores.payments, (await book(service)).id)
    (due,) = await service.stores.payments.refunds_due.page(None, 0, 9)
    done = await service.stores.payments.refunds_due.settle(None, due.id, "key-1")
    assert done is not None
    return done


async def test_money_that_did_not_arrive_is_due_again_once_for_each_settlement(
    service: Service,
) -> None:
    first = await settled(service)
    stores = service.stores.payments
    assert first.settled_ms is not None
    reopen = [
        reopen_refund(stores, "exam-1", first.id, first.settled_ms, "bounced") for _ in range(9)
    ]

    opened = await asyncio.gather(*reopen)
    listed = await stores.refunds_due.page("exam-1", 0, 9)
    await stores.refunds_due.settle(None, first.id, "key-2")
    await rows(service, "UPDATE refunds_due SET settled_at = settled_at + interval '1 s'")

    assert all(due == opened[0] for due in opened)
    assert opened[0].settled_ms is None
    assert opened[0].settled_before_ms == (first.settled_ms,)
    assert [due.id for due in listed] == [first.id]
    with pytest.raises(NotSettledThen):
        await reopen_refund(stores, None, first.id, first.settled_ms, "bounced")
    assert await stores.refunds_due.page("exam-1", 0, 9) == []
    assert await rows(service, "SELECT action, subject, reason FROM ops_actions") == [
        ("reopen-refund", first.reservation, "bounced")
    ]
    assert await rows(service, "SELECT settled_by FROM refund_settlements") == [("key-1",)]


async def test_a_refund_due_whose_opening_died_is_settled_as_before(service: Service) -> None:
    due = await settled(service)
    assert due.settled_ms is not None
    dead = dying(service.stores.payments, "reopen: before commit")

    with pytest.raises(DiedError):
        await reopen_refund(dead, None, due.id, due.settled_ms, "bounced")

    assert await service.stores.payments.refunds_due.page(None, 0, 9) == []
    assert await rows(service, "SELECT * FROM ops_actions") == []
    opened = await reopen_refund(service.stores.payments, None, due.id, due.settled_ms, "bounced")
    assert opened.settled_ms is None


async def test_a_refund_due_of_another_exam_or_of_none_is_unknown(service: Service) -> None:
    due = await settled(service)
    assert due.settled_ms is not None

    for exam, refund_id in (("exam-2", due.id), ("exam-1", due.id + 1), (None, due.id + 1)):
        with pytest.raises(UnknownRefund):
            await reopen_refund(service.stores.payments, exam, refund_id, due.settled_ms, "bounced")

    assert await service.stores.payments.refunds_due.page(None, 0, 9) == []


@pytest.mark.parametrize("act", ENDS)
async def test_an_act_that_died_before_its_outcome_was_noted_is_done_and_noted_without_one(
    service: Service, act: str
) -> None:
    held: Reservation = await hold(service)

    with pytest.raises(DiedError):
        await ACTS[act](dying(service.stores.payments, "act: before outcome"), held.id)

    after = await now(service, held)
    assert (after.state, after.venue) == ENDS[act]
    noted = await service.stores.ops_actions.page("exam-1", None, held.id, 0, 10)
    assert [(each.action, each.outcome) for each in noted] == [(act, None)]
    await check_both_books(service, booked=int(act == "mark-paid"))


async def test_what_is_being_paid_is_not_marked_as_paid_too(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await hold(service)
    refused: list[QuotaError] = []

    async def mark() -> None:
        with pytest.raises(QuotaError) as raised:
            await mark_paid(service.stores.payments, held.id, "bank 7", "why")
        refused.append(raised.value)

    meanwhile(monkeypatch, ConfirmationLedger, "settle", mark)
    await confirm(service.stores.payments, payment(held))

    assert isinstance(refused[0], PaymentInProgress)
    assert await rows(service, "SELECT * FROM refunds_due") == []
    await check_both_books(service, booked=1)


async def test_of_two_payments_marked_at_once_under_different_references_one_is_refused(
    service: Service,
) -> None:
    held = await hold(service, "c-1")
    marks = [mark_paid(service.stores.payments, held.id, f"bank {n}", "why") for n in range(2)]

    ends = await asyncio.gather(*marks, return_exceptions=True)

    results = [end.outcome for end in ends if isinstance(end, PaymentResult)]
    refusals = [end for end in ends if isinstance(end, AlreadyConfirmed | PaymentInProgress)]
    assert (results, len(refusals)) == ([PaymentOutcome.CONFIRMED], 1), ends
    assert await rows(service, "SELECT * FROM refunds_due") == []
    await check_both_books(service, booked=1)


async def test_a_payment_marked_twice_at_once_is_one(service: Service) -> None:
    held = await hold(service, "c-1")
    marks = [mark_paid(service.stores.payments, held.id, "bank 7", "why") for _ in range(2)]

    ends = await asyncio.gather(*marks, return_exceptions=True)

    again = await mark_paid(service.stores.payments, held.id, "bank 7", "why")
    assert again.outcome is PaymentOutcome.CONFIRMED
    assert again in ends
    assert await rows(service, "SELECT * FROM refunds_due") == []
    await check_both_books(service, booked=1)


async def test_of_what_costs_nothing_ops_refund_the_seats_and_no_money(service: Service) -> None:
    free = parse_exam(
        {
            **exam_definition(opens_in_s=-7200, closes_in_s=-3600),
            "fee": {"amount": 0, "currency": "CNY"},
        }
    )
    await import_exam(service.stores.maintenance, free)
    order = Order("candidate-1", ("general",), ("jinan",), accepted_notice=True)

    made = await reserve_for(service.stores.reservations, "exam-1", order, "key-1", "late")
    booked = await now(service, made.reservation)
    refunded = await refund_for(service.stores.payments, made.reservation.id, "ill")

    assert (booked.state, refunded.state) == (State.CONFIRMED, State.REFUNDED)
    assert await rows(service, "SELECT * FROM refunds_due") == []
    await recover(service)
    await check_both_books(service, booked=0)
    assert (await audit(service.stores.maintenance, "exam-1")).differences == ()


async def test_nothing_is_done_to_an_archived_exam_but_its_money_can_be_due_again(
    service: Service,
) -> None:
    due = await settled(service)
    assert due.settled_ms is not None
    await recover(service)
    await end(service, 1)
    await archive_exam(service.stores.maintenance, "exam-1")

    for act in ACTS.values():
        with pytest.raises(ExamArchived):
            await act(service.stores.payments, due.reservation)

    assert await rows(service, "SELECT * FROM ops_actions") == []
    opened = await reopen_refund(
        service.stores.payments, "exam-1", due.id, due.settled_ms, "bounced"
    )
    assert opened.settled_ms is None
