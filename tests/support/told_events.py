"""What has happened as events tell it."""

import json
from collections import Counter
from typing import Any

from quota_service.app.opening import Service
from quota_service.domain.event import EventKind
from quota_service.ledger.events import Event
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.order_events import order_events
from quota_service.workers.event_order import EventOrderWorker
from tests.support.lost_shards import drain, rows


async def order(service: Service) -> list[Event]:
    """Do a round of the worker; return what it has numbered."""
    events = service.stores.maintenance.events
    before = (await events.span()).last
    await EventOrderWorker(service.stores.maintenance).run_once()
    return await events.page(before, 10_000)


async def told(service: Service) -> list[Event]:
    """Drain the journal and return every event, which must be numbered without a gap."""
    await drain(service)
    await order(service)  # places what is to be placed
    await drain(service)
    await order(service)
    found = await service.stores.maintenance.events.page(0, 10_000)
    assert [event.sequence for event in found] == list(range(1, len(found) + 1))
    return found


async def kinds(service: Service) -> list[str]:
    """Return the kinds of all events, in order."""
    return [event.kind for event in await told(service)]


def data(event: Event) -> dict[str, Any]:
    """Return what an event tells."""
    found: dict[str, Any] = json.loads(event.body)["data"]
    return found


async def drain_exam(service: Service, exam: str) -> None:
    """Drain what is in the journal of an exam."""
    shard = service.stores.registry.shard(exam)
    while not (await drain_journal(service.stores.maintenance, shard, 1000, 3)).is_idle:
        pass


KIND_OF = {
    "reserve": EventKind.HELD,
    "offer": EventKind.HELD,
    "release": EventKind.RELEASED,
    "expire": EventKind.EXPIRED,
    "change": EventKind.VENUE_CHANGED,
}
"""What the steps of holds are told as; the change of a booking is told by the ledger."""


async def check_events(service: Service, exam: str) -> None:
    """Fail unless each fact of an exam is told once, and those of each reservation in order.

    What is expected is read from the journal and from the tables of bookings and money.
    """
    stores = service.stores.maintenance
    for _ in range(2):  # payments are placed behind a step by the first, which is then drained
        await drain_exam(service, exam)
        await order_events(stores, 100_000)
    events = await rows(
        service,
        "SELECT reservation, kind, epoch, version, sequence, data ->> 'state' FROM events"
        " WHERE exam = $1 ORDER BY sequence",
        exam,
    )
    assert all(sequence is not None for *_, sequence, _ in events), events
    steps = await rows(
        service,
        "SELECT $1 || '.0.' || subject, verb, epoch, version, split_part(body, '|', 1) FROM journal"
        " WHERE exam = $1 ORDER BY epoch, version",
        exam,
    )
    of_holds = [
        (reservation, KIND_OF[verb], epoch, version)
        for reservation, verb, epoch, version, state in steps
        if verb in KIND_OF and (verb != "change" or state == "held")
    ]
    told_of_holds = [
        (reservation, kind, epoch, version)
        for reservation, kind, epoch, version, _, state in events
        if kind in KIND_OF.values() and state != "confirmed"
    ]
    assert Counter(told_of_holds) == Counter(of_holds)
    for kind, table in (
        (EventKind.CONFIRMED, "bookings"),
        (EventKind.REFUNDED, "refunds"),
        (EventKind.REFUND_DUE, "refunds_due"),
    ):
        query = f"SELECT reservation FROM {table} WHERE exam = $1"  # noqa: S608
        facts = Counter(reservation for (reservation,) in await rows(service, query, exam))
        assert Counter(each[0] for each in events if each[1] == kind) == facts, kind
    _check_order(events, of_holds)


def _check_order(
    events: list[tuple[Any, ...]], of_holds: list[tuple[str, EventKind, int, int]]
) -> None:
    """Fail unless each reservation's life is told as it was lived."""
    lives: dict[str, list[tuple[Any, ...]]] = {}
    for event in events:
        if event[0] is not None:
            lives.setdefault(event[0], []).append(event)
    held = {reservation for reservation, kind, *_ in of_holds if kind is EventKind.HELD}
    for reservation, life in lives.items():
        kinds = [event[1] for event in life]
        if reservation in held:
            assert kinds[0] == EventKind.HELD, life
        of_hold = [event[2:4] for event in life if event[1] in KIND_OF.values()]
        assert of_hold == sorted(of_hold), life
        if EventKind.OFFERED in kinds:
            assert kinds.index(EventKind.HELD) < kinds.index(EventKind.OFFERED), life
        if EventKind.OFFER_EXPIRED in kinds:
            ended = kinds.index(EventKind.OFFER_EXPIRED)
            assert {EventKind.OFFERED, EventKind.EXPIRED} <= set(kinds[:ended]), life
        if EventKind.CONFIRMED in kinds:
            booked = kinds.index(EventKind.CONFIRMED)
            assert not {EventKind.RELEASED, EventKind.EXPIRED} & set(kinds[booked:]), life
            for n, (*_, state) in enumerate(life):
                assert state != "confirmed" or n > booked, life
        if EventKind.REFUNDED in kinds:
            refunded = kinds.index(EventKind.REFUNDED)
            assert refunded > kinds.index(EventKind.CONFIRMED), life
            assert set(kinds[refunded + 1 :]) <= {EventKind.REFUND_DUE}, life
