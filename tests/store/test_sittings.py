"""Nothing is held, moved or seated again once its first sitting has begun, nor after the end."""

import dataclasses
from collections.abc import Mapping

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import DefinitionRefused, SessionStarted
from quota_service.domain.exam import Exam, Window
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.release import checkout
from quota_service.registration.reserve import Order, reserve
from quota_service.workers.expiry import ExpiryWorker
from tests.support.bookings import book, left, now
from tests.support.exams import make_exam
from tests.support.records import move_due, redis_now_ms
from tests.support.redis_clients import redis_of
from tests.support.use_cases import hold, payment

MINUTE_MS = 60_000


async def at(
    service: Service, starts_ms: Mapping[str, int], *, closes_ms: int | None = None
) -> Exam:
    """Let sessions begin so long from now, and registration close then."""
    now_ms = await redis_now_ms(redis_of(service))
    exam = make_exam()
    sessions = tuple(
        dataclasses.replace(
            each,
            starts_at_ms=now_ms + starts_ms[each.id],
            ends_at_ms=now_ms + starts_ms[each.id] + MINUTE_MS,
        )
        if each.id in starts_ms
        else each
        for each in exam.sessions
    )
    if closes_ms is not None:
        window = Window(exam.registration.opens_at_ms, now_ms + closes_ms)
        exam = dataclasses.replace(exam, registration=window)
    exam = dataclasses.replace(exam, sessions=sessions)
    await import_exam(service.stores.maintenance, exam)
    return service.stores.registry.find("exam-1")


async def order(service: Service, *subjects: str, candidate: str = "candidate-1") -> Reservation:
    wanted = Order(candidate, subjects, ("jinan", "tianjin"), accepted_notice=True)
    return (await reserve(service.stores.reservations, "exam-1", wanted, "key-1")).reservation


async def expired(service: Service, ago_ms: int = 1000) -> Reservation:
    """Return a hold that has expired unpaid, its deadline so long ago."""
    held = await hold(service)
    await move_due(redis_of(service), *service.stores.registry.locate(held.id), ago_ms=ago_ms)
    assert (await ExpiryWorker(service.stores, service.settings).run_once())["expired"] == 1
    return held


async def test_a_hold_ends_when_the_first_of_its_sittings_begins(service: Service) -> None:
    exam = await at(service, {"day1-am": 5 * MINUTE_MS, "day1-pm": 2 * MINUTE_MS})

    both = await order(service, "general", "qms")
    other = await order(service, "service", candidate="candidate-2")

    assert both.deadline_ms == exam.starts_at_ms["qms"]
    assert both.due_ms == both.deadline_ms + exam.hold.expiry_slack_s * 1000
    assert other.deadline_ms == other.created_ms + exam.hold.ttl_s * 1000


async def test_the_payment_does_not_move_the_deadline_beyond_the_sitting(service: Service) -> None:
    exam = await at(service, {"day1-am": 20 * MINUTE_MS})
    held = await order(service, "general")

    paying = await checkout(service.stores, held.id)

    assert held.deadline_ms == held.created_ms + 15 * MINUTE_MS
    assert paying.deadline_ms == paying.due_ms == exam.starts_at_ms["general"]


async def test_an_order_whose_sitting_has_begun_is_refused(service: Service) -> None:
    exam = await at(service, {"day1-am": -MINUTE_MS})

    with pytest.raises(SessionStarted) as refused:
        await order(service, "general", "qms")
    with pytest.raises(SessionStarted):
        await order(service, "general", candidate="candidate-2")
    later = await order(service, "qms")

    assert (refused.value.session, refused.value.started_at_ms) == (
        "day1-am",
        exam.starts_at_ms["general"],
    )
    assert later.state is State.HELD


async def test_nothing_moves_to_another_venue_after_its_sitting_has_begun(service: Service) -> None:
    booked = await book(service)
    await at(service, {"day1-am": -MINUTE_MS})

    with pytest.raises(SessionStarted):
        await change_venue(service.stores.payments, booked.id, "tianjin")

    assert await now(service, booked) == booked


async def test_a_late_payment_after_the_sitting_has_begun_is_due_back(service: Service) -> None:
    held = await expired(service)
    await at(service, {"day1-am": -MINUTE_MS})

    paid = await confirm(service.stores.payments, payment(held))

    assert (paid.outcome, paid.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.TOO_LATE)
    assert (await now(service, held)).state is State.EXPIRED
    assert await left(service, "jinan/general") == 3


@pytest.mark.parametrize(
    ("deadline_ago_ms", "outcome"),
    [
        (2 * MINUTE_MS, PaymentOutcome.REFUND_DUE),
        (1000, PaymentOutcome.CONFIRMED),  # the deadline shown lay after the close
    ],
)
async def test_a_late_payment_after_registration_closed_is_due_back_unless_it_was_promised(
    service: Service, deadline_ago_ms: int, outcome: PaymentOutcome
) -> None:
    held = await expired(service, deadline_ago_ms)
    await at(service, {}, closes_ms=-MINUTE_MS)

    paid = await confirm(service.stores.payments, payment(held))
    again = await confirm(service.stores.payments, payment(held))

    assert paid.outcome is again.outcome is outcome
    late = RefundReason.TOO_LATE if outcome is PaymentOutcome.REFUND_DUE else None
    assert paid.reason is again.reason is late


async def test_a_session_before_registration_is_refused_and_what_may_be_meant_is_told(
    service: Service,
) -> None:
    exam = make_exam()
    year_ms = 365 * 86_400_000
    wrong = dataclasses.replace(
        exam,
        sessions=tuple(
            dataclasses.replace(
                each, starts_at_ms=each.starts_at_ms - year_ms, ends_at_ms=each.ends_at_ms - year_ms
            )
            for each in exam.sessions
        ),
    )
    with pytest.raises(DefinitionRefused) as refused:
        await import_exam(service.stores.maintenance, wrong)
    morning, afternoon, next_day = exam.sessions
    beside = dataclasses.replace(afternoon, starts_at_ms=morning.ends_at_ms - 1)
    odd = dataclasses.replace(
        exam,
        sessions=(morning, beside, next_day),
        registration=Window(exam.registration.opens_at_ms, morning.starts_at_ms + 1),
    )

    told = (await import_exam(service.stores.maintenance, odd)).warnings

    assert [where for where, _ in refused.value.problems] == [
        f"sessions.{each.id}.starts_at" for each in exam.sessions
    ]
    assert [warning.where for warning in told] == [
        "registration.closes_at",
        f"sessions.{afternoon.id}.starts_at",
    ]
    assert f"session {morning.id} ends" in told[1].detail
