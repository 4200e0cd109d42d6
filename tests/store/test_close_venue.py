"""A venue that is closed for sale sells nothing more, in no process, whatever dies on the way."""

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import (
    SoldOut,
    UnknownSubject,
    UnknownVenue,
    VenueClosed,
)
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.domain.reservation import State
from quota_service.registration.audit import audit
from quota_service.registration.change_venue import change_venue
from quota_service.registration.close_venue import close_venue, open_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.reserve import Order, reserve
from tests.support.lost_shards import drain, lose_everything, recover_shards, rows
from tests.support.moved_definitions import book, exam, expire_now
from tests.support.use_cases import DiedError, check_both_books, dying, hold, payment

WHY = "burst pipe"


async def close(service: Service, *subjects: str, venue: str = "jinan") -> None:
    await close_venue(service.stores, "exam-1", venue, subjects, WHY)


async def test_a_closed_venue_sells_nothing_in_a_process_that_has_not_heard_of_it(
    imported: Service, beside: Service
) -> None:
    before = await book(beside)
    other = await hold(beside, "candidate-2", "tianjin")

    await close(imported)

    with pytest.raises(VenueClosed) as refused:
        await book(beside, "service", key="key-2")
    with pytest.raises(VenueClosed):
        await change_venue(beside.stores.payments, other.id, "jinan")
    assert refused.value.closed_venues == ("jinan",)
    assert (await book(beside)).id == before.id  # a repeat is answered as the first time
    assert (await change_venue(beside.stores.payments, before.id, "jinan")).venue == "jinan"
    await check_both_books(imported, booked=0)


async def test_an_order_goes_to_its_next_venue_and_is_told_that_nothing_is_left_at_the_closed_one(
    imported: Service,
) -> None:
    await close(imported)
    order = Order("candidate-1", ("general",), ("jinan", "beijing"), accepted_notice=True)

    first = await reserve(imported.stores.reservations, "exam-1", order, "key-1")
    order.candidate = "candidate-2"
    with pytest.raises(SoldOut) as refused:
        await reserve(imported.stores.reservations, "exam-1", order, "key-1")

    assert first.reservation.venue == "beijing"
    left = [(seats.venue, seats.remaining) for seats in refused.value.left]
    assert left == [("jinan", 0), ("beijing", 0)]


async def test_a_venue_that_is_closed_for_a_subject_sells_the_others(imported: Service) -> None:
    await close(imported, "general")

    held = await book(imported, "qms", key="key-2")

    assert held.venue == "jinan"
    with pytest.raises(VenueClosed):
        await book(imported)
    await open_venue(imported.stores, "exam-1", "jinan", [], "dry again")
    assert (await book(imported)).venue == "jinan"


async def test_a_subject_of_a_closed_venue_is_opened_alone(imported: Service) -> None:
    await close(imported)

    opened = await open_venue(imported.stores, "exam-1", "jinan", ["qms"], "one hall is dry")

    assert opened.closed == {"jinan/general", "jinan/ems", "jinan/service"}
    assert (await book(imported, "qms")).venue == "jinan"
    with pytest.raises(VenueClosed):
        await book(imported, "service", key="key-2")


async def test_a_hold_at_a_closed_venue_is_paid_and_an_expired_one_is_due_back(
    imported: Service, beside: Service
) -> None:
    held = await hold(imported)
    late = await hold(imported, "candidate-2")
    await expire_now(imported, late)

    await close(imported)
    paid = await confirm(beside.stores.payments, payment(held))
    too_late = await confirm(beside.stores.payments, payment(late, "event-2"))

    assert paid.outcome is PaymentOutcome.CONFIRMED
    assert (too_late.outcome, too_late.reason) == (
        PaymentOutcome.REFUND_DUE,
        RefundReason.SOLD_OUT,
    )
    await check_both_books(imported, booked=1)


async def test_availability_shows_nothing_left_at_a_closed_venue(imported: Service) -> None:
    await close(imported)

    shown = await imported.context.availability.current("exam-1")

    left = {(quota.venue, quota.subject): quota.remaining for quota in shown.quotas}
    assert {seats for (venue, _), seats in left.items() if venue == "jinan"} == {0}
    assert left["tianjin", "general"] == 5
    assert shown.venues_with_all(["general"]) == ["tianjin", "beijing"]


async def test_a_venue_stays_closed_after_an_import_and_after_a_rebuild(imported: Service) -> None:
    await close(imported)
    await import_exam(imported.stores.maintenance, exam(fee={"amount": 9000, "currency": "CNY"}))
    with pytest.raises(VenueClosed):
        await book(imported)

    await drain(imported)
    await lose_everything(imported)
    await recover_shards(imported)

    with pytest.raises(VenueClosed):
        await book(imported)
    assert (await audit(imported.stores.maintenance, "exam-1")).is_clean


@pytest.mark.parametrize(
    ("line", "is_closed"),
    [
        ("close: before redis", False),
        ("close: before commit", False),
        ("close: after commit", True),
    ],
)
async def test_a_venue_whose_closing_died_is_closed_or_sells_as_before(
    imported: Service, beside: Service, line: str, is_closed: bool
) -> None:
    with pytest.raises(DiedError):
        await close_venue(dying(imported.stores, line), "exam-1", "jinan", [], WHY)

    if is_closed:
        with pytest.raises(VenueClosed):
            await book(beside)
    else:
        assert (await book(beside)).state is State.HELD
    await close(beside)
    with pytest.raises(VenueClosed):
        await book(imported, "service", key="key-2")
    assert (await audit(imported.stores.maintenance, "exam-1")).is_clean


async def test_who_closed_a_venue_and_why_is_kept(imported: Service) -> None:
    await close(imported, "qms")
    await close(imported, "qms")
    await open_venue(imported.stores, "exam-1", "jinan", [], "dry again")

    query = "SELECT action, subject, reason, detail->>'subjects' FROM ops_actions ORDER BY id"
    assert await rows(imported, query) == [
        ("close-venue", "jinan", WHY, '["qms"]'),
        ("close-venue", "jinan", WHY, '["qms"]'),
        ("open-venue", "jinan", "dry again", "[]"),
    ]


async def test_what_the_exam_does_not_have_is_not_closed(imported: Service) -> None:
    with pytest.raises(UnknownVenue):
        await close(imported, venue="nowhere")
    with pytest.raises(UnknownSubject):
        await close(imported, "alchemy")

    assert await rows(imported, "SELECT closed FROM exams") == [([],)]
    assert await rows(imported, "SELECT count(*) FROM ops_actions") == [(0,)]
