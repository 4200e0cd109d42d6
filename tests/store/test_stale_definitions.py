"""Who goes by a definition that is not in force is told, and asks again by the one that is."""

import asyncio
import dataclasses
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import (
    DefinitionRefused,
    LedgerUnavailable,
    NoticeNotAccepted,
    RefundClosed,
    RegistrationClosed,
    SameSessionTwice,
    SessionConflict,
    SoldOut,
    StaleDefinition,
    UnknownVenue,
)
from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.domain.reservation import State
from quota_service.registration.audit import audit
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.registration.reserve import Order, reserve
from quota_service.seats.codes import Code
from quota_service.seats.store import SeatStore
from tests.support.exams import SEATS
from tests.support.lost_shards import another_run, drain, lose_everything, recover_shards, ways
from tests.support.moved_definitions import DEFINITION, book, exam, expire_now, moved, with_venue
from tests.support.records import move_due
from tests.support.redis_clients import redis_of
from tests.support.seats import SeatsUnderTest
from tests.support.use_cases import DiedError, check_both_books, dying, payment, state
from tests.support.waiting import eventually


async def test_an_order_goes_by_the_definition_that_another_process_has_put_in_force(
    imported: Service, beside: Service
) -> None:
    await import_exam(imported.stores.maintenance, exam(fee={"amount": 9000, "currency": "CNY"}))

    held = await book(beside)

    assert held.amount == 9000


async def test_a_candidate_is_not_twice_in_a_session_that_a_subject_has_moved_to(
    imported: Service, beside: Service
) -> None:
    await import_exam(imported.stores.maintenance, moved("general", "day2-am"))
    first = await book(beside, "general", key="key-1")

    with pytest.raises(SessionConflict):
        await book(imported, "service", key="key-2")

    assert first.sessions == ("day2-am",)


async def test_an_order_for_two_subjects_is_held_to_their_sessions_of_now(
    imported: Service, beside: Service
) -> None:
    await import_exam(imported.stores.maintenance, moved("general", "day2-am"))
    order = Order("candidate-1", ("general", "service"), ("jinan",), accepted_notice=True)

    with pytest.raises(SameSessionTwice):
        await reserve(beside.stores.reservations, "exam-1", order, "key-1")


async def test_a_venue_that_another_process_has_added_is_known(
    imported: Service, beside: Service
) -> None:
    held = await book(imported)
    await import_exam(imported.stores.maintenance, with_venue("xian"))

    changed = await change_venue(beside.stores.payments, held.id, "xian")

    assert changed.venue == "xian"
    with pytest.raises(UnknownVenue):
        await change_venue(beside.stores.payments, held.id, "nowhere")


async def test_a_notice_that_another_process_has_changed_is_what_is_to_be_accepted(
    imported: Service, beside: Service
) -> None:
    notice = {"version": "2", "text": {"zh": "注意", "en": "Notice"}}
    await import_exam(imported.stores.maintenance, exam(notice=notice))

    held = await book(beside, accepted_notice="2")

    assert held.state is State.HELD
    with pytest.raises(NoticeNotAccepted):
        await book(beside, "qms", key="key-2", accepted_notice="1")


async def test_a_change_of_venue_goes_by_the_window_in_force(
    imported: Service, beside: Service
) -> None:
    held = await book(imported)
    closed = {**DEFINITION["registration"], "closes_at": "2023-01-01T00:00:00.000Z"}
    opened = {"opens_at": "2022-01-01T00:00:00.000Z"}
    await import_exam(imported.stores.maintenance, exam(registration={**closed, **opened}))

    with pytest.raises(RegistrationClosed):
        await change_venue(beside.stores.payments, held.id, "tianjin")


async def test_a_refund_goes_by_the_window_in_force(imported: Service, beside: Service) -> None:
    booked = await book(imported)
    await confirm(imported.stores.payments, payment(booked))
    closed = {**DEFINITION["refund"], "closes_at": "2023-01-01T00:00:00.000Z"}
    await import_exam(
        imported.stores.maintenance, exam(refund={**closed, "opens_at": "2022-01-01T00:00:00.000Z"})
    )

    with pytest.raises(RefundClosed):
        await refund(beside.stores.payments, booked.id)

    await import_exam(imported.stores.maintenance, exam())
    assert (await refund(beside.stores.payments, booked.id)).state is State.REFUNDED


async def test_a_late_payment_is_held_to_the_sessions_of_now(
    imported: Service, beside: Service
) -> None:
    late = await book(imported, "general", key="key-1")
    await expire_now(imported, late)
    await import_exam(imported.stores.maintenance, moved("general", "day2-am"))
    await book(imported, "service", key="key-2")

    paid = await confirm(beside.stores.payments, payment(late))

    assert (paid.outcome, paid.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.SESSION_CONFLICT)
    assert await state(imported, late) is State.EXPIRED
    assert (await audit(imported.stores.maintenance, "exam-1")).is_clean


async def test_a_late_payment_takes_its_seats_again_in_the_session_of_now(
    imported: Service, beside: Service
) -> None:
    late = await book(imported, "general", key="key-1")
    await expire_now(imported, late)
    await import_exam(imported.stores.maintenance, moved("general", "day2-am"))

    paid = await confirm(beside.stores.payments, payment(late))

    assert paid.outcome is PaymentOutcome.CONFIRMED
    with pytest.raises(SessionConflict):
        await book(imported, "service", key="key-2")
    rows = await imported.stores.ledger.fetch("select_booking", late.id)
    assert [row["sessions"] for row in rows] == [["day2-am"]]
    await check_both_books(imported, booked=1)


async def test_a_late_payment_for_two_subjects_that_are_in_one_session_now_is_due_back(
    imported: Service,
) -> None:
    order = Order("candidate-1", ("general", "service"), ("jinan",), accepted_notice=True)
    late = (await reserve(imported.stores.reservations, "exam-1", order, "key-1")).reservation
    await expire_now(imported, late)
    await import_exam(imported.stores.maintenance, moved("general", "day2-am"))

    paid = await confirm(imported.stores.payments, payment(late, amount=16000))

    assert (paid.outcome, paid.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.SESSION_CONFLICT)


async def test_a_late_payment_for_a_subject_that_is_gone_is_due_back(imported: Service) -> None:
    late = await book(imported, "service")
    await expire_now(imported, late)
    subjects = [each for each in DEFINITION["subjects"] if each["id"] != "service"]
    seats = {
        venue: {name: n for name, n in by_subject.items() if name != "service"}
        for venue, by_subject in SEATS.items()
    }
    await import_exam(imported.stores.maintenance, exam(subjects=subjects, seats=seats))

    paid = await confirm(imported.stores.payments, payment(late))

    assert (paid.outcome, paid.reason) == (PaymentOutcome.REFUND_DUE, RefundReason.SOLD_OUT)


async def test_a_subject_that_is_reserved_while_it_is_about_to_move_stays(
    imported: Service, beside: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    define = SeatStore.define

    async def somebody_comes_first(*args: Any) -> None:
        monkeypatch.undo()
        await book(beside, "general")
        await define(*args)

    monkeypatch.setattr(SeatStore, "define", somebody_comes_first)

    with pytest.raises(DefinitionRefused, match=r"subjects\.general\.session"):
        await import_exam(imported.stores.maintenance, moved("general", "day2-am"))

    held = await book(beside, "service", key="key-2")
    assert held.sessions == ("day2-am",)
    assert (await audit(imported.stores.maintenance, "exam-1")).is_clean


async def test_who_comes_while_a_definition_is_committed_waits_and_goes_by_it(
    imported: Service, beside: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The import has put its definition in force in Redis, and its commit is to come."""
    at_commit, commit = asyncio.Event(), asyncio.Event()
    define = SeatStore.define

    async def then_wait(*args: Any) -> None:
        monkeypatch.undo()
        await define(*args)
        at_commit.set()
        await commit.wait()

    monkeypatch.setattr(SeatStore, "define", then_wait)
    importing = asyncio.create_task(
        import_exam(imported.stores.maintenance, exam(fee={"amount": 9000, "currency": "CNY"}))
    )
    await at_commit.wait()
    booking = asyncio.create_task(book(beside))
    await eventually(lambda: waits_for_lock(imported))
    commit.set()

    assert (await booking).amount == 9000
    await importing


async def waits_for_lock(service: Service) -> bool:
    """Return whether a transaction waits for the lock of an exam."""
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with service.stores.ledger.connection() as connection:
        return bool(await connection.fetchval(query))


async def test_a_definition_whose_import_died_before_its_commit_does_not_stop_anybody(
    imported: Service, beside: Service
) -> None:
    with pytest.raises(DiedError):
        await import_exam(
            dying(imported.stores, "import: before commit").maintenance,
            exam(fee={"amount": 9000, "currency": "CNY"}),
        )

    held = await asyncio.gather(
        *(book(beside, subject, key=subject) for subject in ("general", "qms", "service"))
    )

    assert [each.amount for each in held] == [8000] * 3
    assert (await audit(imported.stores.maintenance, "exam-1")).is_clean


async def test_who_cannot_learn_the_definition_is_asked_to_come_again(
    imported: Service, beside: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await import_exam(imported.stores.maintenance, with_venue("xian"))

    async def away(*_: object) -> None:
        raise LedgerUnavailable("postgres is away")

    with monkeypatch.context() as patched:
        patched.setattr(beside.stores.registry, "refresh", away)
        with pytest.raises(LedgerUnavailable):
            await book(beside)

    assert (await book(beside)).state is State.HELD


async def test_a_crowd_that_is_told_its_definition_is_stale_reads_the_exams_once(
    imported: Service, beside: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await import_exam(imported.stores.maintenance, exam(title={"zh": "新", "en": "new"}))
    refresh, looks = beside.stores.registry.refresh, []

    async def counted() -> None:
        looks.append(1)
        await refresh()

    monkeypatch.setattr(beside.stores.registry, "refresh", counted)
    order = Order("candidate", ("general",), ("jinan",), accepted_notice=True)
    answers = await asyncio.gather(
        *(
            reserve(
                beside.stores.reservations,
                "exam-1",
                dataclasses.replace(order, candidate=f"c-{n}"),
                "key",
            )
            for n in range(50)
        ),
        return_exceptions=True,
    )

    assert sum(isinstance(each, SoldOut) for each in answers) == 47
    assert len(looks) == 1


async def test_a_hold_that_comes_back_after_a_loss_stands_in_the_sessions_of_now(
    imported: Service,
) -> None:
    """It was given back, which Redis lost, before its subject was moved."""
    held = await book(imported, "general")
    await drain(imported)
    await release(imported.stores, held.id)
    await import_exam(imported.stores.maintenance, moved("general", "day2-am"))
    await lose_everything(imported)

    assert await recover_shards(imported) == 1

    with pytest.raises(SessionConflict):
        await book(imported, "service", key="key-2")
    assert (await audit(imported.stores.maintenance, "exam-1")).is_clean


async def test_a_redis_that_is_older_than_the_definition_is_rebuilt(imported: Service) -> None:
    """Holds that it has may stand in sessions that their subjects have left."""
    held = await book(imported, "general")
    await drain(imported)
    older = await redis_of(imported).hget("{exam-1:0}:definition", "revision")
    await release(imported.stores, held.id)
    await import_exam(imported.stores.maintenance, moved("general", "day2-am"))
    await redis_of(imported).hset("{exam-1:0}:definition", "revision", older)
    await another_run(imported)

    assert await recover_shards(imported) == 1

    assert await ways(imported) == ["rebuilt"]
    assert (await audit(imported.stores.maintenance, "exam-1")).is_clean


@pytest.mark.parametrize("call", ["reserve", "change", "late payment"])
async def test_redis_refuses_another_revision_than_that_in_force_and_does_nothing(
    seats: SeatsUnderTest, call: str
) -> None:
    other = dataclasses.replace(seats.exam, revision=7)
    serial = await seats.hold()
    if call == "late payment":
        await move_due(seats.client, seats.shard, serial)
        assert (await seats.store.expire(seats.shard, [serial]))[0] == 1
    before = (await seats.snapshot()).version
    calls = {
        "reserve": lambda: seats.reserve("candidate-2", exam=other),
        "change": lambda: seats.store.change(seats.shard, other, serial, "tianjin", "change-1"),
        "late payment": lambda: seats.begin_payment(serial, exam=other),
    }

    with pytest.raises(StaleDefinition):
        await calls[call]()

    assert (await seats.snapshot()).version == before


async def test_a_payment_in_time_and_a_repeat_do_not_ask_for_the_definition(
    seats: SeatsUnderTest,
) -> None:
    other = dataclasses.replace(seats.exam, revision=7)
    serial = await seats.hold()

    assert (await seats.begin_payment(serial, exam=other)).code is Code.DONE
    assert (await seats.begin_payment(serial, exam=other)).code is Code.DONE_BEFORE


async def test_a_shard_without_a_definition_is_given_one_by_the_first_who_asks(
    imported: Service,
) -> None:
    """A shard that was opened by an earlier release has none."""
    await redis_of(imported).delete("{exam-1:0}:definition")

    assert (await book(imported)).state is State.HELD
