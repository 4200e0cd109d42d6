"""Reservations and payments over both stores, for tests of the protocols."""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from quota_service.app.opening import Service
from quota_service.domain.payment import PaymentEvent, PaymentStatus
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.expire import expire_holds
from quota_service.registration.recover import Recovered, recover_attempts
from quota_service.registration.reserve import Order, reserve
from quota_service.registration.stores import ExamStores
from quota_service.seats.keys import Shard
from tests.support.books import check_books
from tests.support.redis_clients import redis_of

Part = TypeVar("Part", bound=ExamStores)


class DiedError(BaseException):
    """Stands for the death of a process at a marked line: nothing may catch it and go on."""


def payment(reservation: Reservation, event: str = "event-1", amount: int = 8000) -> PaymentEvent:
    return PaymentEvent(
        event=event,
        reservation=reservation.id,
        status=PaymentStatus.CAPTURED,
        amount=amount,
        currency="CNY",
        paid_at_ms=1_700_000_000_000,
        provider_reference=f"provider-{event}",
        body_hash="body",
    )


async def hold(
    service: Service,
    candidate: str = "candidate-1",
    venue: str = "jinan",
    exam: str = "exam-1",
    subjects: tuple[str, ...] = ("general",),
) -> Reservation:
    order = Order(candidate, subjects, (venue,), accepted_notice=True)
    return (await reserve(service.stores.reservations, exam, order, "key-1")).reservation


async def state(service: Service, reservation: Reservation) -> State:
    found = await service.stores.seats.read(*service.stores.registry.locate(reservation.id))
    assert found is not None
    return found.state


def failing_at(stores: Part, failpoint: Callable[[str], None]) -> Part:
    """Return stores, and all parts of them, that tell this failpoint of each marked line."""
    parts = {field.name: getattr(stores, field.name) for field in dataclasses.fields(stores)}
    changed = {
        name: failing_at(part, failpoint)
        for name, part in parts.items()
        if isinstance(part, ExamStores)
    }
    return dataclasses.replace(stores, failpoint=failpoint, **changed)


def dying(stores: Part, line: str) -> Part:
    """Return stores whose use cases die at a marked line."""

    def failpoint(now: str) -> None:
        if now == line:
            raise DiedError(line)

    return failing_at(stores, failpoint)


async def expire_due_holds(stores: ExamStores, shard: Shard, limit: int) -> int:
    """Expire at most `limit` due holds of a shard, as the worker does; return how many."""
    return await expire_holds(stores, shard, (await stores.seats.due(shard, limit)).serials)


async def recover(service: Service, age_ms: int = 0) -> Recovered:
    shard = service.stores.registry.shard("exam-1")
    return await recover_attempts(service.stores.payments, shard, age_ms, 100)


async def check_both_books(service: Service, booked: int) -> None:
    """Fail unless both stores agree, with so many seats booked."""
    shard = service.stores.registry.shard("exam-1")
    await check_books(redis_of(service), shard)
    snapshot = await service.stores.seats.snapshot(shard)
    async with service.stores.ledger.connection() as connection:
        in_postgres = await service.stores.exams.confirmed(connection, "exam-1")
    assert dict(snapshot.confirmed) == in_postgres
    assert sum(in_postgres.values()) == booked
    assert sum(snapshot.confirming.values()) == 0
