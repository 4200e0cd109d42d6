"""The audit: quiet while requests are in flight, loud about anything that is not as promised."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import Refused, UnknownExam
from quota_service.domain.reservation import Reservation
from quota_service.registration.audit import Promise, audit, repair
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.import_exam import import_exam
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.registration.reserve import Order, reserve
from quota_service.registration.sync_shard import finish_import
from quota_service.seats.keys import Shard
from quota_service.workers.audit import AuditWorker
from tests.support.books import check_books
from tests.support.exams import make_exam
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, hold, payment

QUOTA = "jinan/general"


@pytest.fixture
async def busy(service: Service) -> Service:
    """A service with a hold, a booking and a payment begun."""
    await hold(service, "candidate-1")
    await confirm(service.stores.payments, payment(await hold(service, "candidate-2"), "event-2"))
    held = await hold(service, "candidate-3")
    with pytest.raises(DiedError):
        await confirm(
            dying(service.stores, "confirm: after commit").payments, payment(held, "event-3")
        )
    await drain_journal(service.stores.maintenance, shard_of(service), 1000, 3)
    return service


def shard_of(service: Service) -> Shard:
    return service.stores.registry.shard("exam-1")


async def execute(service: Service, *statements: str) -> None:
    async with service.stores.ledger.connection() as connection:
        for statement in statements:
            await connection.execute(statement)


async def count(service: Service, name: str, change: int) -> None:
    await redis_of(service).hincrby(shard_of(service).key(name), QUOTA, change)


async def test_what_is_between_the_stores_is_no_difference(busy: Service) -> None:
    found = await audit(busy.stores.maintenance, "exam-1")

    assert found.differences == ()
    assert found.is_clean
    assert set(found.checked) == set(Promise)


Spoil = Callable[[Service], Awaitable[None]]
SPOILED: dict[str, tuple[Promise, Spoil]] = {
    "redis counts a booking too few": (
        Promise.P7,
        lambda s: both(count(s, "confirmed", -1), count(s, "remaining", 1)),
    ),
    "redis counts two bookings too many": (
        Promise.P7,
        lambda s: both(count(s, "confirmed", 2), count(s, "remaining", -2)),
    ),
    "redis has lost a seat": (Promise.P7, lambda s: count(s, "remaining", -1)),
    "redis has a seat too many": (Promise.P7, lambda s: count(s, "held", 1)),
    "redis has another capacity": (
        Promise.P7,
        lambda s: both(count(s, "capacity", 1), count(s, "remaining", 1)),
    ),
    "a session is taken by nobody": (
        Promise.P9,
        lambda s: redis_of(s).hset(
            shard_of(s).key("claims"), mapping={"nobody/day1-am": "a", "nobody/day1-pm": "b"}
        ),
    ),
    "postgres counts a booking too few": (
        Promise.P1,
        lambda s: execute(s, "UPDATE quotas SET confirmed = confirmed - 1 WHERE confirmed > 0"),
    ),
    "an item is missing": (
        Promise.P1,
        lambda s: execute(
            s,
            "DELETE FROM booking_items WHERE reservation ="
            " (SELECT reservation FROM bookings LIMIT 1)",
        ),
    ),
    "money due is nowhere": (
        Promise.P6,
        lambda s: execute(
            s,
            "INSERT INTO payment_events (event, reservation, status, outcome, reason, amount,"
            " currency, paid_at, provider_reference, body_hash) VALUES ('e-9', 'exam-1.0.x',"
            " 'captured', 'refund_due', 'sold-out', 1, 'CNY', now(), 'p', 'h')",
        ),
    ),
    "a reservation ended twice": (
        Promise.P3,
        lambda s: execute(
            s,
            "INSERT INTO journal SELECT 'exam-1', 0, 1, n, 'release', 'twice', now(), ''"
            " FROM generate_series(1000, 1001) n",
        ),
    ),
}


async def both(first: Awaitable[None], second: Awaitable[None]) -> None:
    await first
    await second


@pytest.mark.parametrize("what", SPOILED)
async def test_a_difference_is_told_under_its_promise_and_counted(busy: Service, what: str) -> None:
    promise, spoil = SPOILED[what]
    await spoil(busy)

    found = await audit(busy.stores.maintenance, "exam-1")

    assert promise in {difference.promise for difference in found.differences}
    gauge = busy.metrics.registry.get_sample_value(
        "quota_audit_differences", {"exam": "exam-1", "promise": promise.value}
    )
    assert gauge is not None
    assert gauge >= 1


MENDED = [name for name, (promise, _) in SPOILED.items() if promise in {Promise.P7, Promise.P9}]


@pytest.mark.parametrize("what", [*MENDED, "postgres counts a booking too few"])
async def test_a_repair_mends_what_is_safe_to_mend_and_writes_it_down(
    busy: Service, what: str
) -> None:
    await SPOILED[what][1](busy)

    done = await repair(busy.stores.maintenance, await audit(busy.stores.maintenance, "exam-1"))
    await busy.stores.registry.refresh()

    assert done
    assert (await audit(busy.stores.maintenance, "exam-1")).is_clean
    await check_books(redis_of(busy), shard_of(busy))
    async with busy.stores.ledger.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM audit_entries") == len(done)


async def test_what_is_for_a_person_stays_as_it_is(busy: Service) -> None:
    for what in ("an item is missing", "money due is nowhere", "a reservation ended twice"):
        await SPOILED[what][1](busy)
    found = await audit(busy.stores.maintenance, "exam-1")

    done = await repair(busy.stores.maintenance, found)

    assert done == []
    assert (await audit(busy.stores.maintenance, "exam-1")).differences == found.differences


async def test_a_busy_exam_raises_no_alarm(service: Service) -> None:
    """Reservations, payments, changes, refunds and releases go on while audits look."""
    seats = {venue: {"general": 40} for venue in ("jinan", "tianjin")}
    await import_exam(service.stores.maintenance, make_exam("exam-2", seats=seats))
    going = True

    async def candidate(number: int) -> None:
        turn = 0
        while going:
            turn += 1
            await live(f"candidate-{number}-{turn}", turn)

    async def live(name: str, turn: int) -> None:
        stores = service.stores
        try:
            held = await hold(service, name, "jinan", exam="exam-2")
            if turn % 3 == 0:
                await release(stores, held.id)
                return
            await confirm(stores.payments, payment(held, f"event-{name}"))
            moved: Reservation = await change_venue(stores.payments, held.id, "tianjin")
            await refund(stores.payments, moved.id)
        except Refused:
            return

    crowd = [asyncio.create_task(candidate(n)) for n in range(20)]
    found = [await audit(service.stores.maintenance, "exam-2") for _ in range(12)]
    going = False
    await asyncio.gather(*crowd)

    assert [each.differences for each in found] == [()] * 12
    assert (await audit(service.stores.maintenance, "exam-2")).is_clean
    drained = await service.stores.seats.snapshot(service.stores.registry.shard("exam-2"))
    assert drained.version > 100


async def test_the_worker_audits_every_exam(busy: Service) -> None:
    await count(busy, "held", 1)

    done = await AuditWorker(busy.stores.maintenance).run_once()

    gauge = busy.metrics.registry.get_sample_value(
        "quota_audit_differences", {"exam": "exam-1", "promise": "P7"}
    )
    assert (dict(done), gauge) == ({}, 1)


async def test_an_exam_nobody_knows_has_no_audit(service: Service) -> None:
    with pytest.raises(UnknownExam):
        await audit(service.stores.maintenance, "exam-9")


async def test_a_candidate_who_is_twice_in_a_session_by_the_definition_in_force_is_told(
    service: Service,
) -> None:
    """As the definition was when they booked, the subjects were in two sessions."""
    order = Order("candidate-1", ("general", "service"), ("jinan",), accepted_notice=True)
    booked = (await reserve(service.stores.reservations, "exam-1", order, "key-1")).reservation
    await confirm(service.stores.payments, payment(booked, "event-1", amount=16000))
    held = await hold(service, "candidate-2")
    await execute(
        service,
        """
        UPDATE exams
        SET    definition = jsonb_set(definition, '{subjects,0,session}', '"day2-am"'),
               revision   = nextval('exam_revisions')
        """,
    )
    await service.stores.registry.refresh()
    await finish_import(service.stores, "exam-1")

    found = await audit(service.stores.maintenance, "exam-1")

    assert {d.promise for d in found.differences} == {Promise.P9}
    told = {d.place: (d.expected, d.found) for d in found.differences}
    assert told == {
        "candidate candidate-1 day2-am": ("one subject", "general, service"),
        f"reservation {booked.id} general": ("day2-am", "day1-am"),
        f"reservation {held.id}": ("day2-am", "day1-am"),
    }
