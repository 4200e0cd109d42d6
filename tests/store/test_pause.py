"""A pause stops orders exactly, in every process and over a lost Redis; what was held goes on."""

import asyncio
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import (
    AlreadyPaused,
    NotPaused,
    Paused,
    RegistrationClosed,
    SessionConflict,
    SoldOut,
    StaleDefinition,
    UnknownSubject,
    UnknownVenue,
    VenueClosed,
)
from quota_service.domain.exam import Pause
from quota_service.domain.payment import PaymentOutcome
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.act_for import move, reserve_for
from quota_service.registration.audit import audit
from quota_service.registration.change_venue import change_venue
from quota_service.registration.close_venue import close_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.pause import pause_exam, resume_exam
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.registration.reserve import Order, reserve
from tests.support.lost_shards import drain, lose_everything, recover_shards, rows
from tests.support.moved_definitions import book, exam, expire_now
from tests.support.use_cases import DiedError, check_both_books, dying, hold, payment

WHY = "the payment provider is down"


async def pause(service: Service, venue: str = "", subject: str = "", **more: Any) -> Pause:
    wanted = {"stops_changes": False, "reason": WHY, "retry_after_s": 60, "since_ms": 0, **more}
    return await pause_exam(service.stores, "exam-1", Pause(venue, subject, **wanted))


async def resume(service: Service, venue: str = "", subject: str = "") -> None:
    await resume_exam(service.stores.maintenance, "exam-1", venue, subject, "", extend_holds=False)


async def order(service: Service, *venues: str, candidate: str = "candidate-9") -> Reservation:
    asked = Order(candidate, ("general",), venues, accepted_notice=True)
    return (await reserve(service.stores.reservations, "exam-1", asked, "key-9")).reservation


async def test_a_process_that_has_not_heard_of_a_pause_reserves_nothing_after_it(
    imported: Service, beside: Service
) -> None:
    before = await book(beside)

    paused = await pause(imported)

    with pytest.raises(Paused) as refused:
        await book(beside, "service", key="key-2")
    assert refused.value.pause == paused
    assert str(refused.value) == f"paused: {WHY}"
    assert before.created_ms <= paused.since_ms
    assert (await book(beside)).id == before.id  # a repeat is answered as the first time
    await check_both_books(imported, booked=0)


async def test_a_process_that_has_not_heard_of_the_end_of_a_pause_reserves_after_it(
    imported: Service, beside: Service
) -> None:
    await pause(imported)
    with pytest.raises(Paused):
        await book(beside)

    await resume(imported)

    assert (await book(beside)).state is State.HELD


async def test_an_order_goes_to_its_venue_that_is_not_paused_and_is_never_told_sold_out(
    imported: Service,
) -> None:
    paused = await pause(imported, "jinan")

    first = await order(imported, "jinan", "beijing")
    with pytest.raises(Paused) as refused:  # the one seat in Beijing is gone
        await order(imported, "jinan", "beijing", candidate="candidate-8")
    with pytest.raises(SoldOut):
        await order(imported, "beijing", candidate="candidate-8")

    assert first.venue == "beijing"
    assert refused.value.pause == paused


async def test_a_subject_is_paused_at_every_venue_and_a_quota_at_one(imported: Service) -> None:
    await pause(imported, subject="general")
    with pytest.raises(Paused):
        await book(imported, venue="tianjin")
    assert (await book(imported, "service", key="key-2")).venue == "jinan"
    await resume(imported, subject="general")

    await pause(imported, "jinan", "general")
    with pytest.raises(Paused):
        await book(imported)
    assert (await book(imported, venue="tianjin")).venue == "tianjin"


async def test_a_refusal_that_no_end_of_the_pause_changes_comes_first(imported: Service) -> None:
    await pause(imported)

    with pytest.raises(UnknownSubject):
        await book(imported, "alchemy")
    with pytest.raises(UnknownVenue):
        await book(imported, venue="nowhere")
    await resume(imported)
    await pause(imported, "jinan")
    await book(imported, venue="tianjin")
    with pytest.raises(SessionConflict):
        await order(imported, "jinan", "tianjin", candidate="candidate-1")
    await close_venue(imported.stores, "exam-1", "jinan", [], WHY)
    with pytest.raises(VenueClosed):
        await order(imported, "jinan")


async def test_payments_releases_and_refunds_go_on_and_so_does_what_ops_do(
    imported: Service, beside: Service
) -> None:
    paid, given_back, late = [
        await hold(imported, f"candidate-{n}", "tianjin") for n in range(1, 4)
    ]
    await expire_now(imported, late)

    await pause(imported, stops_changes=True)

    payments = beside.stores.payments
    assert (await confirm(payments, payment(paid))).outcome is PaymentOutcome.CONFIRMED
    assert (await confirm(payments, payment(late, "event-2"))).outcome is PaymentOutcome.CONFIRMED
    assert (await release(beside.stores, given_back.id)).state is State.RELEASED
    assert (await refund(payments, paid.id)).state is State.REFUNDED
    asked = Order("candidate-7", ("general",), ("tianjin",), accepted_notice=True)
    reserved = await reserve_for(
        beside.stores.reservations, "exam-1", asked, "ops-1", "at the desk"
    )
    moved = await move(payments, reserved.reservation.id, "beijing", "at the desk")
    assert (moved.venue, moved.state) == ("beijing", State.HELD)
    await check_both_books(imported, booked=1)


async def test_changes_of_venue_go_on_unless_they_are_paused_too(
    imported: Service, beside: Service
) -> None:
    held = await hold(imported)
    payments = beside.stores.payments

    await pause(imported, "tianjin")
    assert (await change_venue(payments, held.id, "tianjin")).venue == "tianjin"
    await change_venue(payments, held.id, "jinan")
    await pause(imported, stops_changes=True)

    with pytest.raises(Paused):
        await change_venue(payments, held.id, "tianjin")
    assert (await change_venue(payments, held.id, "jinan")).venue == "jinan"  # it is there
    await resume(imported)
    assert (await change_venue(payments, held.id, "tianjin")).venue == "tianjin"


async def test_a_change_away_from_a_paused_venue_goes_on(imported: Service) -> None:
    held = await hold(imported)
    await pause(imported, "jinan", stops_changes=True)

    moved = await change_venue(imported.stores.payments, held.id, "tianjin")

    assert moved.venue == "tianjin"
    with pytest.raises(Paused):
        await change_venue(imported.stores.payments, held.id, "jinan")


async def test_a_pause_stays_after_an_import_and_after_redis_was_lost(imported: Service) -> None:
    paused = await pause(imported)
    await import_exam(imported.stores.maintenance, exam(fee={"amount": 9000, "currency": "CNY"}))
    with pytest.raises(Paused):
        await book(imported)

    await drain(imported)
    await lose_everything(imported)
    await recover_shards(imported)

    with pytest.raises(Paused) as refused:
        await book(imported)
    assert refused.value.pause == paused
    assert (await audit(imported.stores.maintenance, "exam-1")).is_clean


async def test_pausing_what_is_paused_and_resuming_what_is_not_is_refused(
    imported: Service,
) -> None:
    first = await pause(imported, "jinan")
    revision = imported.stores.registry.find("exam-1").revision

    with pytest.raises(AlreadyPaused) as refused:
        await pause(imported, "jinan", reason="another", stops_changes=True)
    with pytest.raises(NotPaused):
        await resume(imported)
    with pytest.raises(NotPaused):
        await resume(imported, "jinan", "general")
    with pytest.raises(UnknownVenue):
        await pause(imported, "nowhere")
    with pytest.raises(UnknownSubject):
        await pause(imported, "jinan", "alchemy")
    with pytest.raises(UnknownVenue):
        await resume(imported, "nowhere")

    assert refused.value.pause == first
    found = imported.stores.registry.find("exam-1")
    assert (found.pauses, found.revision) == ((first,), revision)
    assert await rows(imported, "SELECT count(*) FROM ops_actions") == [(1,)]


async def test_pauses_of_several_scopes_stand_beside_each_other(imported: Service) -> None:
    await pause(imported, "jinan")
    await pause(imported)
    await pause(imported, subject="general")

    await resume(imported)

    found = imported.stores.registry.find("exam-1")
    assert [each.scope for each in found.pauses] == ["*/general", "jinan/*"]
    assert (await book(imported, "qms", "tianjin")).state is State.HELD


async def test_a_retired_exam_is_not_paused(imported: Service) -> None:
    await rows(imported, "UPDATE shards SET retired_at = now() RETURNING exam")

    with pytest.raises(RegistrationClosed):
        await pause(imported)


async def test_who_paused_and_resumed_and_why_is_kept(imported: Service) -> None:
    await pause(imported, "jinan", "qms", stops_changes=True)
    await resume(imported, "jinan", "qms")

    query = "SELECT action, subject, reason, outcome FROM ops_actions ORDER BY id"
    assert await rows(imported, query) == [
        ("pause", "jinan/qms", WHY, "done"),
        ("resume", "jinan/qms", WHY, "done"),
    ]


@pytest.mark.parametrize(
    ("line", "is_paused"),
    [
        ("pause: before redis", False),
        ("pause: in redis", False),
        ("pause: before commit", False),
        ("pause: after commit", True),
    ],
)
async def test_an_exam_whose_pause_died_is_paused_or_reserves_as_before(
    imported: Service, beside: Service, line: str, is_paused: bool
) -> None:
    wanted = Pause("", "", stops_changes=False, reason=WHY, retry_after_s=60, since_ms=0)
    with pytest.raises(DiedError):
        await pause_exam(dying(imported.stores, line), "exam-1", wanted)

    if is_paused:
        with pytest.raises(Paused):
            await book(beside)
        with pytest.raises(AlreadyPaused):
            await pause(beside)
    else:
        assert (await book(beside)).state is State.HELD
        await pause(beside)
    with pytest.raises(Paused):
        await book(imported, "service", key="key-2")
    assert (await audit(imported.stores.maintenance, "exam-1")).is_clean


@pytest.mark.parametrize(
    ("line", "is_paused"),
    [
        ("resume: before redis", True),
        ("resume: before commit", True),
        ("resume: after commit", False),
    ],
)
async def test_an_exam_whose_resumption_died_is_paused_still_or_reserves(
    imported: Service, beside: Service, line: str, is_paused: bool
) -> None:
    await pause(imported)
    with pytest.raises(DiedError):
        await resume_exam(
            dying(imported.stores.maintenance, line), "exam-1", "", "", "", extend_holds=False
        )

    if is_paused:
        with pytest.raises(Paused):
            await book(beside)
        await resume(beside)
    assert (await book(beside)).state is State.HELD
    with pytest.raises(NotPaused):
        await resume(imported)
    assert (await audit(imported.stores.maintenance, "exam-1")).is_clean


async def test_no_order_is_taken_inside_of_a_pause_while_pauses_come_and_go(
    imported: Service, beside: Service
) -> None:
    await import_exam(imported.stores.maintenance, exam(seats={"jinan": {"general": 1_000_000}}))
    made: list[Reservation] = []
    is_made, is_refused, is_over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def orders(service: Service, name: str) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            asked = Order(f"{name}-{number}", ("general",), ("jinan",), accepted_notice=True)
            try:
                answer = await reserve(service.stores.reservations, "exam-1", asked, "key")
            except Paused:
                is_refused.set()
            except StaleDefinition:
                continue  # it met the beginning and the end of a pause
            else:
                made.append(answer.reservation)
                is_made.set()

    async def next_time(happened: asyncio.Event) -> None:
        happened.clear()
        await happened.wait()

    names = ((imported, "a"), (beside, "b"), (imported, "c"), (beside, "d"))
    pauses: list[tuple[int, int]] = []
    async with asyncio.TaskGroup() as running:
        for each in names:
            running.create_task(orders(*each))
        for turn in range(8):
            ops = (imported, beside)[turn % 2]
            await next_time(is_made)
            paused = await pause(ops)
            await next_time(is_refused)
            done = await resume_exam(
                ops.stores.maintenance, "exam-1", "", "", "", extend_holds=False
            )
            pauses.append((paused.since_ms, done.until_ms))
        is_over.set()

    assert [
        each.created_ms
        for each in made
        for since_ms, until_ms in pauses
        if since_ms < each.created_ms < until_ms
    ] == []
    await check_both_books(imported, booked=0)


async def test_a_pause_is_in_the_metrics_of_every_process_while_it_lasts(
    imported: Service, beside: Service
) -> None:
    async def told() -> float | None:
        await refresh_memory(beside)
        labels = {"exam": "exam-1", "scope": "jinan/*"}
        return beside.metrics.registry.get_sample_value("quota_paused", labels)

    await pause(imported, "jinan")
    assert await told() == 1
    await resume(imported, "jinan")
    assert await told() is None
