"""Events of waiting lists and of exams: offers, pauses and seat releases."""

import time
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.domain.definition import rfc3339
from quota_service.domain.event import EventKind
from quota_service.domain.exam import Announce, Pause, Quota, SeatRelease
from quota_service.ledger.events import Event
from quota_service.registration.import_exam import import_exam
from quota_service.registration.leave_list import leave_list
from quota_service.registration.pause import pause_exam, resume_exam
from quota_service.registration.release import release
from quota_service.registration.release_seats import plan_release
from quota_service.workers.seat_releases import SeatReleaseWorker
from tests.support.dealings import ListUnderTest, open_list
from tests.support.moved_definitions import exam
from tests.support.redis_clients import redis_of
from tests.support.told_events import data, order, told
from tests.support.use_cases import DiedError, dying

GENERAL = "jinan/general"


@pytest.fixture
async def waiting(service: Service) -> ListUnderTest:
    """A list whose returned seats are dealt as they come."""
    return await open_list(service)


def brief(events: list[Event]) -> list[tuple[str, str | None]]:
    return [(event.kind, event.candidate) for event in events]


async def test_an_offer_is_told_after_its_hold_and_its_end_after_the_end_of_that(
    waiting: ListUnderTest,
) -> None:
    entry = await waiting.join("first")
    await waiting.join("second")
    await waiting.return_seats(GENERAL)
    await waiting.visit()
    hold = (await waiting.holds())["first"]

    undrained = await order(waiting.service)
    await waiting.expire("first")
    await waiting.visit()
    found = [event for event in await told(waiting.service) if event.candidate == "first"]

    assert undrained == []
    assert [event.kind for event in found] == [
        EventKind.HELD,
        EventKind.OFFERED,
        EventKind.EXPIRED,
        EventKind.OFFER_EXPIRED,
    ]
    assert {event.reservation for event in found} == {hold.id}
    assert data(found[1]) == {
        "exam": "exam-1",
        "reservation": hold.id,
        "candidate": "first",
        "entry": f"exam-1.w.{entry.serial}",
        "subjects": ["general"],
        "deadline": rfc3339(hold.deadline_ms),
    }


async def test_an_offer_that_is_declined_when_it_has_run_out_is_told_as_it_was(
    waiting: ListUnderTest,
) -> None:
    entry = await waiting.join("first")
    await waiting.return_seats(GENERAL)
    await waiting.visit()
    await waiting.run_out("first")
    await leave_list(waiting.service.stores.waiting_list, "exam-1", entry.id)

    undrained = await order(waiting.service)
    found = await told(waiting.service)

    assert await waiting.states() == {"first": "missed"}
    assert undrained == []
    assert brief(found) == [
        (EventKind.HELD, "first"),
        (EventKind.OFFERED, "first"),
        (EventKind.EXPIRED, "first"),
        (EventKind.OFFER_EXPIRED, "first"),
    ]


async def test_an_offer_that_is_given_back_has_not_expired(waiting: ListUnderTest) -> None:
    await waiting.join("first")
    await waiting.return_seats(GENERAL)
    await waiting.visit()
    await release(waiting.service.stores, (await waiting.holds())["first"].id)

    found = await told(waiting.service)
    await waiting.visit()

    assert await waiting.states() == {"first": "declined"}
    assert brief(found) == [
        (EventKind.HELD, "first"),
        (EventKind.OFFERED, "first"),
        (EventKind.RELEASED, "first"),
    ]
    assert await order(waiting.service) == []


async def test_an_offer_that_no_store_has_is_not_told_of(waiting: ListUnderTest) -> None:
    await waiting.join("first")
    await waiting.return_seats(GENERAL)
    await waiting.visit()
    lost = (await waiting.holds())["first"].id
    client = redis_of(waiting.service)
    serial = lost.rpartition(".")[2]
    await client.delete(waiting.shard.record_key(serial), waiting.shard.key("claims"))
    await client.zrem(waiting.shard.key("due"), serial)
    (entry, fields), *others = await client.xrange(waiting.shard.key("journal"))
    await client.xdel(waiting.shard.key("journal"), entry)
    assert (fields["verb"], others) == ("offer", [])
    await waiting.rows(
        "UPDATE waiting_list_entries SET offered_at = now() - interval '1 minute'"
        " WHERE exam = $1 AND state = 'offered'"
    )
    await waiting.return_seats(GENERAL)

    await waiting.end_lease()
    await waiting.visit(waiting.another_leader())
    found = await told(waiting.service)

    offered = (await waiting.holds())["first"].id
    assert offered != lost
    assert [(event.kind, event.reservation) for event in found] == [
        (EventKind.HELD, offered),
        (EventKind.OFFERED, offered),
    ]


async def pause(service: Service, venue: str = "", subject: str = "", **more: Any) -> Pause:
    wanted = {"stops_changes": False, "reason": "why", "retry_after_s": 60, "since_ms": 0, **more}
    return await pause_exam(service.stores, "exam-1", Pause(venue, subject, **wanted))


async def resume(service: Service, venue: str = "", subject: str = "") -> None:
    await resume_exam(service.stores.maintenance, "exam-1", venue, subject, "", extend_holds=False)


async def test_pauses_and_their_ends_are_told_each(imported: Service) -> None:
    await pause(imported)
    await pause(imported, "jinan", "general")
    await resume(imported)
    await import_exam(imported.stores.maintenance, exam(title={"zh": "另", "en": "Another"}))
    await resume(imported, "jinan", "general")

    found = await order(imported)

    everything = {"exam": "exam-1", "venue": None, "subject": None}
    one = {"exam": "exam-1", "venue": "jinan", "subject": "general"}
    why = {"reason": "why", "stops_changes": False}
    assert [(event.kind, data(event)) for event in found] == [
        (EventKind.PAUSED, {**everything, **why}),
        (EventKind.PAUSED, {**one, **why}),
        (EventKind.RESUMED, everything),
        (EventKind.RESUMED, one),
    ]


async def test_a_pause_whose_process_dies_before_the_commit_is_not_told(imported: Service) -> None:
    wanted = Pause("", "", stops_changes=False, reason="why", retry_after_s=60, since_ms=0)
    for line in ("pause: in redis", "pause: before commit"):
        with pytest.raises(DiedError):
            await pause_exam(dying(imported.stores, line), "exam-1", wanted)
        assert await order(imported) == []

    with pytest.raises(DiedError):
        await pause_exam(dying(imported.stores, "pause: after commit"), "exam-1", wanted)

    assert [event.kind for event in await order(imported)] == [EventKind.PAUSED]


async def test_seats_are_told_of_once_redis_has_them(imported: Service) -> None:
    stores = imported.stores
    await stores.clock.read()
    at_ms = round(time.time() * 1000) + 600_000
    more = SeatRelease("more", at_ms, Announce.EVERYTHING, {Quota("jinan", "general"): 2})
    await plan_release(stores, "exam-1", more, "a hall more")
    async with stores.ledger.connection() as connection:
        await connection.execute("UPDATE seat_releases SET at = now() - interval '1 s'")
    with pytest.raises(DiedError):
        await SeatReleaseWorker(dying(stores, "release: after commit")).run_once()

    before = await order(imported)
    await SeatReleaseWorker(stores).run_once()
    (event,) = await order(imported)

    assert before == []
    assert (event.kind, data(event)) == (
        EventKind.SEATS_RELEASED,
        {"exam": "exam-1", "release": "more", "seats": {"jinan": {"general": 2}}},
    )
