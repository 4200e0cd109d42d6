"""An exam that is over and settled is archived: it is gone everywhere but from what was booked."""

import dataclasses

import pytest

from quota_service.app.opening import Service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import (
    ExamArchived,
    ExamNotOver,
    ExamUnfinished,
    UnknownExam,
    UnknownReservation,
)
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.domain.reservation import State
from quota_service.registration.archive import archive_exam, forget_archived
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.recover_shard import lost_shards
from quota_service.registration.refund import refund
from quota_service.registration.view import read_reservation, view_candidate
from quota_service.seats.keys import SHARD_KEYS
from tests.support.bookings import book, recover
from tests.support.exams import make_exam
from tests.support.lost_shards import another_run, recover_shards, rows
from tests.support.redis_clients import redis_of
from tests.support.retirement import end, retain
from tests.support.use_cases import DiedError, dying, hold, payment


async def keys(service: Service) -> set[str]:
    client = redis_of(service)
    return {key async for key in client.scan_iter(match="{exam-1:0}*")}


async def settle(service: Service) -> None:
    for due in await service.stores.payments.refunds_due.page("exam-1", 0, 10):
        await service.stores.payments.refunds_due.settle("exam-1", due.id, "a person")


async def test_an_archived_exam_is_in_postgres_alone_and_its_bookings_are_read(
    service: Service,
) -> None:
    booked = await book(service, "booked")
    refunded = await book(service, "refunded", "tianjin")
    await refund(service.stores.payments, refunded.id)
    await settle(service)
    await recover(service)
    await end(service, 1)

    at_ms = await archive_exam(service.stores.maintenance, "exam-1")
    again_ms = await archive_exam(service.stores.maintenance, "exam-1")

    registry = service.stores.registry
    assert at_ms == again_ms
    assert await keys(service) == set()
    assert (registry.all(), registry.used_shards(), registry.open_shards()) == ([], (), ())
    assert await lost_shards(service.stores.maintenance, registry.used_shards()) == []
    assert (await read_reservation(service.stores, booked.id)).state is State.CONFIRMED
    assert (await read_reservation(service.stores, refunded.id)).state is State.REFUNDED
    view = await view_candidate(service.stores.payments, "exam-1", "booked")
    assert view.is_registered
    assert [step.verb for step in view.reservations[0].history] == ["reserve", "pin", "confirm"]
    with pytest.raises(UnknownReservation):
        await read_reservation(service.stores, "exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa")


async def test_nothing_else_can_be_done_with_an_archived_exam(service: Service) -> None:
    booked = await book(service)
    await end(service, 1)
    await archive_exam(service.stores.maintenance, "exam-1")

    for refused in (
        hold(service, "newcomer"),
        change_venue(service.stores.payments, booked.id, "tianjin"),
        refund(service.stores.payments, booked.id),
        import_exam(service.stores.maintenance, make_exam()),
    ):
        with pytest.raises(ExamArchived):
            await refused
    twice = await confirm(service.stores.payments, payment(booked, "event-2"))
    assert (twice.outcome, twice.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.ALREADY_PAID)
    (due,) = await service.stores.payments.refunds_due.page("exam-1", 0, 10)
    assert due.reservation == booked.id


async def test_an_exam_that_goes_on_is_not_archived(service: Service) -> None:
    with pytest.raises(ExamNotOver) as refused:
        await archive_exam(service.stores.maintenance, "exam-1")
    with pytest.raises(UnknownExam):
        await archive_exam(service.stores.maintenance, "exam-2")

    assert refused.value.ends_at_ms == service.stores.registry.find("exam-1").ends_at_ms


async def test_an_exam_is_not_archived_before_everything_of_it_is_at_its_end(
    service: Service,
) -> None:
    held = await hold(service, "held")
    paying = await hold(service, "paying", "tianjin")
    refunded = await book(service, "refunded", "tianjin")
    await refund(service.stores.payments, refunded.id)
    with pytest.raises(DiedError):
        await confirm(dying(service.stores, "confirm: after attempt").payments, payment(paying))
    await end(service, 1)

    with pytest.raises(ExamUnfinished) as refused:
        await archive_exam(service.stores.maintenance, "exam-1")

    assert refused.value.unfinished == ("holds", "payments", "refunds_due", "refunds")
    assert held.exam in [exam.id for exam in service.stores.registry.all()]


@pytest.mark.parametrize(
    "line", ["archive: retired", "archive: marked", "archive: forgotten", "recover: claimed"]
)
async def test_a_process_that_dies_while_an_exam_is_archived_leaves_nothing_half_done(
    service: Service, line: str
) -> None:
    booked = await book(service)
    await end(service, 1)
    with pytest.raises(DiedError):
        await archive_exam(dying(service.stores, line).maintenance, "exam-1")
    await service.stores.registry.refresh()

    await recover_shards(service)
    done = await retain(service)
    await archive_exam(service.stores.maintenance, "exam-1")

    assert done["forgotten"] == (1 if line in {"archive: marked", "archive: forgotten"} else 0)
    assert await keys(service) == set()
    assert await forget_archived(service.stores.maintenance) == 0
    assert await rows(service, "SELECT state FROM shards") == [("archived",)]
    assert (await read_reservation(service.stores, booked.id)).state is State.CONFIRMED


async def test_a_server_in_another_run_forgets_an_archived_exam_too(service: Service) -> None:
    await book(service)
    await end(service, 1)
    died = dataclasses.replace(service, stores=dying(service.stores, "archive: marked"))
    with pytest.raises(DiedError):
        await archive_exam(died.stores.maintenance, "exam-1")
    await another_run(service)

    assert await forget_archived(service.stores.maintenance) == 1

    assert await keys(service) == set()


def test_every_key_of_a_shard_is_forgotten(service: Service) -> None:
    script = service.stores.runners.scripts["forget"]

    assert set(script.shard_keys) == SHARD_KEYS.keys()


def told_of(service: Service, exam: str) -> set[str]:
    """Return the names of what metrics tell of an exam."""
    families = service.metrics.registry.collect()
    samples = (sample for family in families for sample in family.samples)
    return {sample.name for sample in samples if sample.labels.get("exam") == exam}


async def test_metrics_tell_nothing_of_an_archived_exam_and_no_recovery_of_one_that_leaves(
    service: Service,
) -> None:
    await book(service)
    await service.stores.reservations.backlog.refresh()
    await end(service, 1)
    before = told_of(service, "exam-1")

    await archive_exam(service.stores.maintenance, "exam-1")
    recovered = told_of(service, "exam-1") & {
        "quota_rebuilds_total",
        "quota_shard_recoveries_total",
    }
    await refresh_memory(service)
    await service.stores.reservations.backlog.refresh()

    assert "quota_confirmations_pending_oldest_seconds" in before
    assert recovered == set()
    assert told_of(service, "exam-1") == set()
