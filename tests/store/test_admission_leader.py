"""Who leads the admission of a room over both stores: one at a time, whatever befalls them."""

import asyncio
import dataclasses

import pytest

from quota_service.app.opening import Service
from quota_service.app.upkeep import refresh_memory
from quota_service.ledger.admission import Position
from quota_service.registration.admit import Admission
from quota_service.registration.import_exam import import_exam
from quota_service.waiting_room.room import LAST_RANK
from tests.store.test_outage_sweepers import stopped
from tests.support.admissions import open_room
from tests.support.use_cases import DiedError, dying


async def test_of_two_leaders_at_once_one_admits(service: Service) -> None:
    room = await open_room(service)
    await room.queue(1000)
    await room.second()
    leaders = [room.leader, room.another_leader(), room.another_leader()]

    for _ in range(5):
        await room.pass_time(1)
        await room.report()
        await asyncio.gather(*(leader.admit(room.exam) for leader in leaders))

    standing = await room.room()
    assert standing.leader_epoch == 1
    assert standing.serving == 58  # five seconds' worth, each a twentieth more than the last
    assert room.gauge("leader_changes_total") == 1


async def test_when_a_leader_dies_another_takes_over_where_it_was(service: Service) -> None:
    room = await open_room(service)
    await room.queue(1000)
    await room.second()
    await room.second()
    dead, heir = await room.room(), room.another_leader()

    early = await room.second(heir)
    await room.end_lease()
    await room.pass_time(30)
    late = await room.second(heir)

    standing = await room.room()
    assert (early, dead.serving) == (0, 10)
    assert standing.leader_epoch == dead.leader_epoch + 1
    # It goes on at the pace there was: what nobody admitted meanwhile does not come at once.
    assert standing.serving == dead.serving + late
    assert late == 11


async def test_a_leader_whose_lease_is_over_writes_nothing_though_nobody_took_over(
    service: Service,
) -> None:
    room = await open_room(service)
    await room.queue(1000)
    ledger = service.stores.waiting_room.admission
    lease = await ledger.lease(room.exam.id, "leader-1", 60)
    assert lease is not None
    to = Position(LAST_RANK, 5, 10, 0, 1000)

    await room.end_lease()

    assert not await ledger.step(lease.room, room.exam.revision, to, 300_000)
    assert (await room.room()).serving == 0


async def test_a_leader_that_was_overtaken_finds_its_writes_refused(service: Service) -> None:
    room = await open_room(service)
    await room.queue(1000)
    ledger, to = service.stores.waiting_room.admission, Position(LAST_RANK, 5, 10, 0, 1000)
    old = await ledger.lease(room.exam.id, "leader-1", 60)
    await room.end_lease()
    new = await ledger.lease(room.exam.id, "leader-2", 60)
    assert old is not None
    assert new is not None

    refused = await ledger.step(
        old.room, room.exam.revision, dataclasses.replace(to, serving=99), 300_000
    )
    written = await ledger.step(new.room, room.exam.revision, to, 300_000)

    assert (refused, written) == (False, True)
    assert (await room.room()).serving == 5
    assert await room.steps() == [(5, 1000)]
    assert await ledger.lease(room.exam.id, "leader-1", 60) is None


async def test_a_leader_that_was_stopped_in_its_step_admits_nobody_when_it_goes_on(
    service: Service,
) -> None:
    room = await open_room(service)
    await room.queue(1000)
    await room.second(room.another_leader())
    await room.end_lease()
    await room.pass_time(1)
    await room.report()

    async with stopped(service.settings, "admission") as did:
        taken = (await room.room()).leader_epoch
        await room.end_lease()
        served = await room.second()

    standing = await room.room()
    assert did == {"admitted": 0}
    assert served > 0
    assert (standing.serving, standing.leader_epoch) == (served, taken + 1)


@pytest.mark.parametrize("line", ["read", "leased"])
async def test_a_leader_that_dies_before_its_step_has_admitted_nobody(
    service: Service, line: str
) -> None:
    room = await open_room(service)
    await room.queue(1000)
    await room.second()
    stores = dying(service.stores, f"admit: {line}")
    mortal = Admission(stores.waiting_room, service.settings)
    await room.end_lease()

    with pytest.raises(DiedError):
        await room.second(mortal)
    before = await room.room()
    await room.end_lease()
    served = await room.second()

    assert before.serving == 0
    assert (await room.room()).serving == served > 0


async def test_the_leader_tells_how_the_room_stands_and_who_follows_does_not(
    service: Service,
) -> None:
    room = await open_room(service, draw=True)
    await room.join_draw(400)
    await room.queue(100)
    await room.second()
    await room.second()

    told = {
        name: room.gauge(name)
        for name in ("rate", "threshold_fraction", "serving", "waiting", "places")
    }
    await room.end_lease()
    await room.second(room.another_leader())
    await room.leader.admit(room.exam)

    assert told["rate"] == pytest.approx(10.5, rel=0.01)
    assert told["threshold_fraction"] == pytest.approx(10.5 / 400, rel=0.1)
    assert told["waiting"] == pytest.approx(490, rel=0.05)
    assert (told["serving"], told["places"]) == (0, 0)
    assert room.gauge("rate") is None
    assert room.gauge("leader_changes_total") == 2


async def test_every_process_exports_until_when_an_exam_with_a_room_needs_a_leader(
    service: Service,
) -> None:
    async def closes() -> float | None:
        await refresh_memory(service)
        labels, name = {"exam": "exam-2"}, "quota_waiting_room_closes_timestamp_seconds"
        return service.metrics.registry.get_sample_value(name, labels)

    without = await closes()
    room = await open_room(service)
    with_room = await closes()
    await import_exam(service.stores.maintenance, dataclasses.replace(room.exam, waiting_room=None))
    without_again = await closes()

    assert with_room == room.exam.registration.closes_at_ms / 1000
    assert (without, without_again) == (None, None)
