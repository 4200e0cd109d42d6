"""Bookings over both stores, what may happen to one meanwhile, and whether both stores agree."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.domain.exam import Quota
from quota_service.domain.payment import PaymentOutcome
from quota_service.domain.reservation import Reservation
from quota_service.registration.confirm import confirm
from quota_service.registration.recover import Recovered, recover_attempts
from quota_service.registration.refund import return_seats
from quota_service.registration.reserve import Order, reserve
from tests.support.books import check_books, read_records
from tests.support.redis_clients import redis_of
from tests.support.use_cases import payment


async def book(
    service: Service,
    candidate: str = "candidate-1",
    venue: str = "jinan",
    subjects: tuple[str, ...] = ("general",),
    *others: str,
    exam: str = "exam-1",
    key: str = "key-1",
) -> Reservation:
    """Reserve at a venue or one of the others and pay, and return the booking."""
    order = Order(candidate, subjects, (venue, *others), accepted_notice=True)
    held = (await reserve(service.stores.reservations, exam, order, key)).reservation
    paid = await confirm(service.stores.payments, payment(held, f"event-{held.id}", held.amount))
    assert paid.outcome is PaymentOutcome.CONFIRMED
    return await now(service, held)


async def now(service: Service, reservation: Reservation) -> Reservation:
    """Return a reservation as Redis has it now."""
    found = await service.stores.seats.read(*service.stores.registry.locate(reservation.id))
    assert found is not None
    return found


async def left(service: Service, quota: str, exam: str = "exam-1") -> int:
    """Return the seats of a quota that can be reserved."""
    snapshot = await service.stores.seats.snapshot(service.stores.registry.shard(exam))
    return snapshot.remaining[Quota(*quota.split("/"))]


async def recover(service: Service, exam: str = "exam-1") -> tuple[Recovered, int]:
    """Do what the recovery worker does; return the attempts' ends and the refunds finished."""
    shard = service.stores.registry.shard(exam)
    recovered = await recover_attempts(service.stores.payments, shard, 0, 1000)
    return recovered, await return_seats(service.stores.payments, shard, 1000)


def meanwhile(
    monkeypatch: pytest.MonkeyPatch,
    ledger: type[Any],
    commit: str,
    happens: Callable[[], Awaitable[object]],
) -> None:
    """Let something happen while a protocol stands still before its commit, once."""
    real = getattr(ledger, commit)

    async def stalled(self: object, *args: object) -> object:
        monkeypatch.setattr(ledger, commit, real)
        await happens()
        return await real(self, *args)

    monkeypatch.setattr(ledger, commit, stalled)


class Groups:
    """How many transactions a group commit has made since, and how many items in all."""

    def __init__(self, service: Service) -> None:
        self._sample = service.stores.metrics.registry.get_sample_value
        self._before = self._now()

    def since(self) -> tuple[int, int]:
        transactions, items = self._now()
        return transactions - self._before[0], items - self._before[1]

    def _now(self) -> tuple[int, int]:
        counted = [self._sample(f"quota_group_commit_size_{name}") for name in ("count", "sum")]
        return int(counted[0] or 0), int(counted[1] or 0)


async def check_agreement(service: Service, booked: int, exam: str = "exam-1") -> None:
    """Fail unless nothing is under way and both stores tell the same, with so many seats booked."""
    shard = service.stores.registry.shard(exam)
    await check_books(redis_of(service), shard)
    snapshot = await service.stores.seats.snapshot(shard)
    assert (snapshot.attempts, sum(snapshot.confirming.values())) == (0, 0)
    async with service.stores.ledger.connection() as connection:
        counted = await service.stores.exams.confirmed(connection, exam)
        bookings = await connection.fetch("SELECT * FROM bookings WHERE exam = $1", exam)
        items = await connection.fetch("SELECT * FROM booking_items WHERE exam = $1", exam)
        refunds = await connection.fetch("SELECT * FROM refunds WHERE exam = $1", exam)
        due = await connection.fetch(
            "SELECT * FROM refunds_due WHERE exam = $1 AND reason = 'refunded'", exam
        )
        oversold = await connection.fetch("SELECT * FROM quotas WHERE confirmed > capacity")
    assert oversold == []
    assert dict(snapshot.confirmed) == counted
    assert sum(counted.values()) == booked
    at = {row["reservation"]: (row["state"], row["venue"]) for row in bookings}
    records = {r.id: r for r in (await read_records(redis_of(service), shard)).values()}
    booked_in_redis = {i for i, r in records.items() if r.state.is_booked}
    assert {i for i, (state, _) in at.items() if state == "confirmed"} == booked_in_redis
    assert {i: (records[i].state.value, records[i].venue) for i in at if i in records} == {
        i: told for i, told in at.items() if i in records
    }
    for item in items:
        state, venue = at[item["reservation"]]
        assert (item["active"], item["venue"]) == (state == "confirmed", venue), item
    active = Counter(Quota(i["venue"], i["subject"]) for i in items if i["active"])
    assert {quota: n for quota, n in counted.items() if n} == dict(active)
    ended = sorted(i for i, (state, _) in at.items() if state == "refunded")
    assert sorted(row["reservation"] for row in refunds) == ended
    # The payment that was refunded is due once; others of a refunded booking are due as well.
    events = {row["reservation"]: row["event"] for row in bookings}
    own = [row["reservation"] for row in due if row["event"] == events[row["reservation"]]]
    assert sorted(own) == ended
    assert {row["reservation"] for row in due} == set(ended)
