"""What is not needed any more goes: attempts, exams that are over, journals."""

import dataclasses

import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import (
    NotReady,
    RefundClosed,
    RegistrationClosed,
    ReservationEnded,
    SessionConflict,
)
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.domain.reservation import State
from quota_service.registration.audit import audit
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.recover_shard import rebuild_shard
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.registration.reserve import Order, reserve
from quota_service.registration.view import read_reservation, view_candidate
from tests.support.bookings import book
from tests.support.exams import make_exam
from tests.support.lost_shards import (
    another_run,
    check_after,
    lose_everything,
    recover_shards,
    rows,
    ways,
)
from tests.support.redis_clients import redis_of
from tests.support.retirement import end, finish, retain
from tests.support.use_cases import DiedError, dying, hold, payment

COUNTERS = {
    *("epoch", "version", "definition"),
    *("capacity", "remaining", "held", "confirming", "confirmed"),
}


async def names(service: Service) -> set[str]:
    """Return the keys of the exam in Redis, records by their serials."""
    client = redis_of(service)
    return {key.partition(":0}:")[2] async for key in client.scan_iter(match="{exam-1:0}*")}


async def test_an_exam_that_is_over_leaves_redis_but_for_its_counters(service: Service) -> None:
    booked = await book(service, "booked")
    refunded = await book(service, "refunded", "tianjin")
    await refund(service.stores.payments, refunded.id)
    await end(service, 8)
    await finish(service)

    done = await retain(service)

    assert done["retired"] == 1
    assert await names(service) == COUNTERS
    snapshot = await service.stores.seats.snapshot(service.stores.registry.shard("exam-1"))
    assert sum(snapshot.confirmed.values()) == 1
    assert (await audit(service.stores.maintenance, "exam-1")).is_clean
    assert (await read_reservation(service.stores, booked.id)).state is State.CONFIRMED
    assert (await read_reservation(service.stores, refunded.id)).state is State.REFUNDED
    view = await view_candidate(service.stores.payments, "exam-1", "booked")
    assert view.is_registered
    assert (await retain(service))["retired"] == 0


async def test_who_still_asks_about_an_exam_that_is_over_is_answered_as_ever(
    service: Service,
) -> None:
    booked = await book(service, "booked")
    refunded = await book(service, "refunded", "tianjin")
    await refund(service.stores.payments, refunded.id)
    given_back = await hold(service, "given-back", "tianjin")
    await release(service.stores, given_back.id)
    await end(service, 8)
    await finish(service)
    await retain(service)

    again = await confirm(service.stores.payments, payment(booked, f"event-{booked.id}"))
    twice = await confirm(service.stores.payments, payment(booked, "event-2"))
    late = await confirm(service.stores.payments, payment(refunded, "event-3"))
    with pytest.raises(RegistrationClosed):
        await change_venue(service.stores.payments, booked.id, "tianjin")
    with pytest.raises(RefundClosed):
        await refund(service.stores.payments, booked.id)
    with pytest.raises(RegistrationClosed):
        await hold(service, "newcomer", "tianjin")
    with pytest.raises(ReservationEnded):
        await change_venue(service.stores.payments, given_back.id, "jinan")

    assert again.outcome is PaymentOutcome.CONFIRMED
    assert (twice.outcome, twice.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.ALREADY_PAID)
    assert (late.outcome, late.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.REFUNDED)
    assert (await release(service.stores, given_back.id)).state is State.RELEASED


@pytest.mark.parametrize("unfinished", ["held", "not drained", "not over for a week"])
async def test_an_exam_that_is_not_finished_stays(service: Service, unfinished: str) -> None:
    await book(service, "booked")
    if unfinished == "held":
        await hold(service, "held", "tianjin")
    await end(service, 6 if unfinished == "not over for a week" else 8)
    if unfinished != "not drained":
        await finish(service)

    assert (await retain(service))["retired"] == 0
    assert "claims" in await names(service)


async def test_a_retired_exam_that_redis_lost_comes_back_as_it_was(service: Service) -> None:
    await book(service, "booked")
    await end(service, 8)
    await finish(service)
    await retain(service)
    await lose_everything(service)

    assert await recover_shards(service) == 1

    assert await names(service) == COUNTERS
    assert await ways(service) == ["rebuilt", "rebuilt"]
    assert (await audit(service.stores.maintenance, "exam-1")).is_clean


@pytest.mark.parametrize("line", ["recover: fenced", "recover: claimed", "recover: open in redis"])
async def test_a_process_that_dies_while_an_exam_retires_leaves_nothing_half_done(
    service: Service, line: str
) -> None:
    await book(service, "booked")
    await end(service, 8)
    await finish(service)
    died = dataclasses.replace(service, stores=dying(service.stores, line))
    with pytest.raises(DiedError):
        await retain(died)
    await service.stores.registry.refresh()

    assert await recover_shards(service) == 1

    assert await names(service) == COUNTERS
    assert (await retain(service))["retired"] == 0
    assert (await audit(service.stores.maintenance, "exam-1")).is_clean


async def test_a_repair_by_a_process_that_does_not_know_of_the_retirement_keeps_it(
    service: Service,
) -> None:
    await book(service, "booked")
    await end(service, 8)
    await finish(service)
    async with open_service(service.settings) as other:
        await refresh_memory(other)
        await retain(service)
        assert await rebuild_shard(
            other.stores.maintenance, "exam-1", "an audit found a difference"
        )

    assert await names(service) == COUNTERS


async def test_a_retired_exam_costs_a_restart_nothing(service: Service) -> None:
    await book(service, "booked")
    await end(service, 8)
    await finish(service)
    await retain(service)
    await another_run(service)

    assert await recover_shards(service) == 1

    assert (await ways(service))[-1] == "reopened"
    assert await names(service) == COUNTERS


async def test_a_retired_exam_whose_end_is_moved_comes_back_whole(service: Service) -> None:
    booked = await book(service, "booked")
    await end(service, 8)
    await finish(service)
    await retain(service)
    await import_exam(service.stores.maintenance, make_exam())

    order = Order("booked", ("general",), ("tianjin",), accepted_notice=True)
    with pytest.raises(NotReady):  # nobody is seated twice in a session meanwhile
        await reserve(service.stores.reservations, "exam-1", order, "key-2")
    assert await recover_shards(service) == 1

    assert (await retain(service))["retired"] == 0
    with pytest.raises(SessionConflict):
        await reserve(service.stores.reservations, "exam-1", order, "key-2")
    moved = await change_venue(service.stores.payments, booked.id, "tianjin")
    assert moved.state is State.CONFIRMED
    await hold(service, "newcomer", "jinan")
    await check_after(service, booked=1)


async def test_a_journal_goes_when_its_retention_is_over_and_bookings_stay(
    service: Service,
) -> None:
    booked = await book(service, "booked")
    await end(service, 20)
    await finish(service)
    await retain(service)

    kept = await retain(service, journal_retention_days=30)
    for_good = await retain(service, journal_retention_days=0)
    gone = await retain(service, journal_retention_days=10)
    while (await retain(service, journal_retention_days=10))["journal"]:
        pass

    assert (kept["journal"], for_good["journal"]) == (0, 0)
    assert gone["journal"] > 0
    for table in ("journal", "reservations", "journal_gaps"):
        assert await rows(service, f"SELECT 1 FROM {table}") == []  # noqa: S608
    assert len(await rows(service, "SELECT 1 FROM bookings")) == 1
    assert (await read_reservation(service.stores, booked.id)).state is State.CONFIRMED
    assert (await audit(service.stores.maintenance, "exam-1")).is_clean
    await lose_everything(service)
    assert await recover_shards(service) == 1
