"""Events: none lost, none before its fact, and in order for each reservation."""

import asyncio
import dataclasses
import json

import pytest

from quota_service.app.opening import Service
from quota_service.domain.definition import rfc3339
from quota_service.domain.errors import SeatsUnavailable
from quota_service.domain.event import EventKind
from quota_service.domain.payment import RefundReason
from quota_service.domain.reservation import Reservation
from quota_service.registration.archive import archive_exam
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.order_events import order_events
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.seats.keys import Shard
from tests.support.bookings import book
from tests.support.lost_shards import another_run, drain, lose_everything, recover_shards, rows
from tests.support.records import move_due_into_the_past
from tests.support.redis_clients import redis_of
from tests.support.retirement import end
from tests.support.told_events import data, kinds, order, told
from tests.support.use_cases import DiedError, dying, expire_due_holds, hold, payment


def shard_of(service: Service) -> Shard:
    return service.stores.registry.shard("exam-1")


async def expire(service: Service, reservation: Reservation) -> None:
    await move_due_into_the_past(redis_of(service), reservation.id)
    assert await expire_due_holds(service.stores, shard_of(service), 10) == 1


async def pay(service: Service, reservation: Reservation, event: str = "event-1") -> str:
    paid = await confirm(
        service.stores.payments, payment(reservation, event, reservation.amount or 1)
    )
    return paid.outcome


async def test_a_hold_and_its_end_are_told_with_what_they_are_of(service: Service) -> None:
    held = await hold(service, subjects=("general", "qms"))
    await release(service.stores, held.id)

    first, second = await told(service)

    assert (first.kind, second.kind) == (EventKind.HELD, EventKind.RELEASED)
    assert (first.id, first.exam, first.reservation, first.candidate) == (
        "evt_1",
        "exam-1",
        held.id,
        "candidate-1",
    )
    assert json.loads(first.body) == {
        "type": "reservation.held",
        "timestamp": rfc3339(held.created_ms),
        "data": {
            "exam": "exam-1",
            "reservation": held.id,
            "candidate": "candidate-1",
            "venue": "jinan",
            "subjects": ["general", "qms"],
            "amount": 16000,
            "currency": "CNY",
            "deadline": rfc3339(held.deadline_ms),
        },
    }
    assert data(second) == {
        "exam": "exam-1",
        "reservation": held.id,
        "candidate": "candidate-1",
        "venue": "jinan",
        "subjects": ["general", "qms"],
    }


async def test_a_booking_is_told_after_its_hold_however_late_that_is_drained(
    service: Service,
) -> None:
    booking = await book(service)

    before = await order(service)
    late_s = service.metrics.registry.get_sample_value("quota_events_waiting_oldest_seconds")
    await drain(service)
    after = await order(service)

    assert before == []
    assert late_s is not None
    assert late_s > 0
    assert [event.kind for event in after] == [EventKind.HELD, EventKind.CONFIRMED]
    assert {event.reservation for event in after} == {booking.id}
    assert data(after[1])["amount"] == 8000


async def test_a_whole_life_is_told_in_order_at_once(service: Service) -> None:
    held = await hold(service)
    await change_venue(service.stores.payments, held.id, "tianjin")
    await pay(service, held)
    await change_venue(service.stores.payments, held.id, "jinan")
    await refund(service.stores.payments, held.id)

    found = await told(service)

    assert [(event.kind, data(event).get("venue")) for event in found] == [
        (EventKind.HELD, "jinan"),
        (EventKind.VENUE_CHANGED, "tianjin"),
        (EventKind.CONFIRMED, "tianjin"),
        (EventKind.VENUE_CHANGED, "jinan"),
        (EventKind.REFUNDED, "jinan"),
        (EventKind.REFUND_DUE, None),
    ]
    assert [data(event).get("state") for event in found if "state" in data(event)] == [
        "held",
        "confirmed",
    ]
    due = data(found[-1])
    assert (due["reason"], due["amount"], due["candidate"]) == ("refunded", 8000, "candidate-1")


async def test_a_payment_that_comes_too_late_is_due_back_after_its_hold_has_expired(
    service: Service,
) -> None:
    held = await hold(service, venue="beijing")
    await expire(service, held)
    await hold(service, "candidate-2", venue="beijing")  # the one seat there
    assert await pay(service, held) == "refund_due"

    undrained = [event.kind for event in await order(service)]
    after = [event for event in await told(service) if event.reservation == held.id]

    assert undrained == []
    assert [event.kind for event in after] == ["reservation.held", "reservation.expired",
                                               "payment.refund_due"]  # fmt: skip
    assert data(after[-1])["reason"] == RefundReason.SOLD_OUT
    assert after[-1].candidate == "candidate-1"


async def test_a_late_payment_that_takes_its_seats_again_is_told_after_the_expiry(
    service: Service,
) -> None:
    held = await hold(service)
    await expire(service, held)
    assert await pay(service, held) == "confirmed"

    assert await kinds(service) == [
        "reservation.held",
        "reservation.expired",
        "reservation.confirmed",
    ]


async def test_a_payment_that_is_told_again_makes_no_event(service: Service) -> None:
    booking = await book(service)
    again = payment(booking, f"event-{booking.id}", booking.amount)
    await confirm(service.stores.payments, again)
    await confirm(service.stores.payments, dataclasses.replace(again, event="told again"))
    await pay(service, booking, "another payment")

    found = await told(service)

    assert [event.kind for event in found] == [
        EventKind.HELD,
        EventKind.CONFIRMED,
        EventKind.REFUND_DUE,
    ]
    assert data(found[-1])["reason"] == RefundReason.ALREADY_PAID


async def test_a_payment_of_no_exam_is_told_though_nothing_is_drained(service: Service) -> None:
    nobody = dataclasses.replace(payment(await hold(service)), reservation="nobody's")
    await confirm(service.stores.payments, nobody)
    unknown = dataclasses.replace(
        nobody, event="event-2", reservation=f"exam-1.0.{'a' * 24}", provider_reference="other"
    )
    await confirm(service.stores.payments, unknown)

    first = await order(service)
    found = await told(service)

    assert [(event.exam, event.reservation) for event in first] == [(None, "nobody's")]
    assert data(first[0])["exam"] is None
    assert [event.kind for event in found[1:]] == [EventKind.HELD, EventKind.REFUND_DUE]
    assert (found[2].exam, found[2].candidate) == ("exam-1", None)


async def test_what_is_committed_late_is_not_passed_over(service: Service) -> None:
    """An event with a lower id is committed after one with a higher was numbered."""
    ledger = service.stores.ledger
    insert = (
        "INSERT INTO unreadable_payments (digest, event, body, problem) VALUES ($1, $1, '', 'p')"
    )
    async with ledger.transaction() as late:
        await late.execute(insert, "late")
        async with ledger.connection() as other:
            await other.execute(insert, "early")
        first = await order(service)

    second = await order(service)

    assert [(event.sequence, data(event)["event"]) for event in first + second] == [
        (1, "early"),
        (2, "late"),
    ]


async def test_an_unreadable_payment_that_comes_again_is_told_once(service: Service) -> None:
    for _ in range(2):
        await service.stores.payments.unreadable.keep("event-1", b"{", "not JSON")

    (event,) = await told(service)

    assert (event.kind, event.exam, data(event)["problem"]) == (
        EventKind.UNREADABLE,
        None,
        "not JSON",
    )


async def test_of_many_who_number_at_once_each_event_gets_one_number(service: Service) -> None:
    for n in range(3):
        await hold(service, f"candidate-{n}", venue="jinan")
    await drain(service)

    await asyncio.gather(*(order(service) for _ in range(4)))

    assert [event.kind for event in await told(service)] == ["reservation.held"] * 3


async def test_a_booking_whose_hold_was_lost_with_redis_is_told_after_the_recovery(
    service: Service,
) -> None:
    booking = await book(service)
    await lose_everything(service)

    lost = await order(service)
    assert await recover_shards(service) == 1
    after = await order(service)

    assert lost == []
    assert [(event.kind, event.reservation) for event in after] == [
        (EventKind.CONFIRMED, booking.id)
    ]


async def test_a_payment_after_a_recovery_waits_for_no_step_of_the_new_epoch(
    service: Service,
) -> None:
    held = await hold(service)
    await drain(service)
    await another_run(service)
    assert await recover_shards(service) == 1
    unknown = dataclasses.replace(payment(held), reservation=f"exam-1.0.{'a' * 24}")
    await confirm(service.stores.payments, unknown)

    found = await order(service)

    assert [event.kind for event in found] == [EventKind.HELD, EventKind.REFUND_DUE]


async def test_a_torn_record_is_told_of_as_far_as_it_can_be_read(service: Service) -> None:
    insert = (
        "INSERT INTO journal (exam, epoch, version, verb, subject, at, body)"
        " VALUES ('exam-1', 0, 1, 'reserve', 'serial', now(), $1)"
    )
    async with service.stores.ledger.connection() as connection:
        await connection.execute(insert, "held|candidate-1||||many|€|||soon|9")

    (event,) = await order(service)

    assert (data(event)["venue"], data(event)["amount"], data(event)["deadline"]) == (
        "",
        None,
        None,
    )


async def test_old_events_go_and_numbers_go_on(service: Service) -> None:
    for n in range(3):
        await hold(service, f"candidate-{n}")
    await told(service)
    await rows(service, "UPDATE events SET created_at = now() - interval '31 days' RETURNING 1")
    events = service.stores.maintenance.events

    pruned = [await events.prune(30, 1), await events.prune(30, 10), await events.prune(30, 10)]
    await hold(service, "candidate-3", venue="tianjin")
    await drain(service)
    after = await order(service)

    assert pruned == [1, 1, 0]
    assert [event.sequence for event in await events.page(0, 10)] == [3, 4]
    assert [event.sequence for event in after] == [4]


async def test_steps_that_no_journal_has_are_told_by_what_became_of_them(service: Service) -> None:
    known = await hold(service, "known", "tianjin")
    await drain(service)
    missing = await hold(service, "missing", "tianjin")
    booked = await book(service, "booked", "tianjin")
    await release(service.stores, known.id)
    await redis_of(service).xtrim(shard_of(service).key("journal"), maxlen=0)
    later = await hold(service, "later", "jinan")

    found = await told(service)

    lives = {
        each.id: [event.kind for event in found if event.reservation == each.id]
        for each in (known, missing, booked, later)
    }
    assert lives == {
        known.id: [EventKind.HELD, EventKind.RELEASED],
        missing.id: [EventKind.HELD],
        booked.id: [EventKind.HELD, EventKind.CONFIRMED],
        later.id: [EventKind.HELD],
    }


async def test_an_entry_that_is_set_aside_holds_up_no_event(service: Service) -> None:
    client, shard = redis_of(service), shard_of(service)
    version = await client.incr(shard.key("version"))
    await client.xadd(shard.key("journal"), {"verb": "odd"}, id=f"{shard.epoch}-{version}")
    booking = await book(service)

    waiting = await order(service)
    found = await told(service)

    assert waiting == []
    assert [(event.kind, event.reservation) for event in found] == [
        (EventKind.HELD, booking.id),
        (EventKind.CONFIRMED, booking.id),
    ]
    assert len(await rows(service, "SELECT 1 FROM journal_quarantine")) == 1


async def test_a_payment_of_an_archived_exam_waits_for_no_journal(service: Service) -> None:
    booking = await book(service)
    await end(service, 1)
    await archive_exam(service.stores.maintenance, "exam-1")
    before = len(await order(service))
    late = payment(booking, "once more", booking.amount)
    unknown = dataclasses.replace(payment(booking, "x"), reservation=f"exam-1.0.{'a' * 24}")
    for each in (late, unknown):
        assert (await confirm(service.stores.payments, each)).outcome == "refund_due"

    found = await order(service)

    assert before == 2
    assert [event.kind for event in found] == [EventKind.REFUND_DUE] * 2


async def test_a_process_that_dies_while_it_numbers_leaves_the_rest_to_the_next(
    service: Service,
) -> None:
    held = await hold(service)
    await confirm(service.stores.payments, payment(held, "wrong", 1))
    await drain(service)
    with pytest.raises(DiedError):
        await order_events(dying(service.stores.maintenance, "order events: placed"), 10)

    assert (await service.stores.maintenance.events.span()).last == 0
    assert await kinds(service) == ["reservation.held", "payment.refund_due"]


async def test_while_redis_is_away_only_what_it_has_to_be_asked_for_waits(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await hold(service)
    await confirm(service.stores.payments, payment(held, "wrong", 1))
    await drain(service)

    async def away(*_: object) -> None:
        raise SeatsUnavailable("redis is away")

    with monkeypatch.context() as patched:
        patched.setattr(type(service.stores.maintenance.recovery), "statuses", away)
        with pytest.raises(SeatsUnavailable):
            await order(service)
    meanwhile = await service.stores.maintenance.events.page(0, 10)

    assert [event.kind for event in meanwhile] == [EventKind.HELD]
    assert await kinds(service) == ["reservation.held", "payment.refund_due"]
