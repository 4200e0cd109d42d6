"""Admission over both stores: whom it serves, in what order, and whose grace goes by."""

import dataclasses
import logging
import time

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import NotReady
from quota_service.domain.exam import Pause, Window
from quota_service.ledger.admission import Position
from quota_service.registration.admit import AdmissionLimits
from quota_service.registration.pause import pause_exam, resume_exam
from quota_service.seats.keys import Shard
from quota_service.waiting_room.room import FIRST_RANK, LAST_RANK
from quota_service.workers.admission import AdmissionWorker
from tests.support.admissions import CALM, RoomUnderTest, open_room
from tests.support.lost_shards import lose_everything, recover_shards, rows
from tests.support.redis_clients import redis_of


async def test_a_queue_is_served_at_the_rate(service: Service) -> None:
    room = await open_room(service)
    await room.queue(1000)

    served = [await room.second() for _ in range(3)]

    standing = await room.room()
    assert served == [0, 10, 11]
    assert standing.serving == 21
    assert standing.rate == pytest.approx(10 * 1.05**2, rel=0.01)


async def test_a_step_that_changes_the_room_has_one_line_with_counts_and_the_numbers_served(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    room = await open_room(service)
    await room.queue(12)

    for _ in range(5):
        await room.second()

    told = [vars(record) for record in caplog.records if record.message == "waiting room"]
    assert [(line["served_before"], line["serving"], line["admitted"]) for line in told] == [
        (0, 0, 0),
        (0, 10, 10),
        (10, 12, 2),
    ]
    assert {(line["exam"], line["last_number"]) for line in told} == {(room.exam.id, 12)}


async def test_no_more_are_served_than_have_a_number(service: Service) -> None:
    room = await open_room(service)
    await room.queue(12)

    for _ in range(4):
        await room.second()

    assert (await room.room()).serving == 12


async def test_the_draw_comes_before_the_queue(service: Service) -> None:
    room = await open_room(service, draw=True)
    await room.join_draw(40)
    await room.queue(1000)
    seen = []

    for _ in range(8):
        await room.second()
        standing = await room.room()
        seen.append((standing.threshold, standing.serving))

    assert seen == sorted(seen)
    assert FIRST_RANK < seen[1][0] < LAST_RANK
    assert all(serving == 0 for threshold, serving in seen if threshold < LAST_RANK)
    assert seen[-1][0] == LAST_RANK
    assert seen[-1][1] > 0


async def test_before_the_opening_the_draw_is_counted_for_good_and_nobody_is_admitted(
    service: Service,
) -> None:
    room = await open_room(service, opens_in_s=3600)
    await room.join_draw(500)
    await room.second()
    await redis_of(service).delete(room.shard.key("drawn"))

    for _ in range(3):
        assert await room.second() == 0

    standing = await room.room()
    assert (standing.threshold, standing.serving) == (FIRST_RANK, 0)
    assert standing.drawn == pytest.approx(500, rel=0.03)


async def test_a_rate_that_is_imported_before_the_opening_is_the_one_it_begins_with(
    service: Service,
) -> None:
    room = await open_room(service, opens_in_s=3600, rate_per_s=20)
    await room.second()
    before = (await room.room()).rate

    room.exam = (await open_room(service, opens_in_s=3600, rate_per_s=80)).exam
    await room.second()
    changed = (await room.room()).rate
    room.exam = (await open_room(service, opens_in_s=-1, rate_per_s=80)).exam
    await room.join_draw(2000)
    served = await room.second()

    assert (before, changed) == (20, 80)
    assert 80 <= served <= 84


async def test_a_position_never_goes_back(service: Service) -> None:
    room = await open_room(service)
    await room.queue(1000)
    ledger = service.stores.waiting_room.admission
    lease = await ledger.lease(room.exam.id, "leader-1", 60)
    assert lease is not None
    await ledger.step(lease.room, room.exam.revision, Position(LAST_RANK, 9, 10, 0, 0), 0)

    assert not await ledger.step(
        lease.room, room.exam.revision, Position(LAST_RANK, 8, 10, 0, 0), 0
    )
    assert (await room.room()).serving == 9


async def test_turns_pass_after_the_grace_and_older_steps_are_forgotten(service: Service) -> None:
    room = await open_room(service, claim_grace_s=3)
    await room.queue(1000)
    await service.stores.waiting_room.admission.set_rate(room.exam.id, 10)
    served, passed = [], []
    for _ in range(10):
        await room.second()
        standing = await room.room()
        served.append(standing.serving)
        passed.append(standing.late_through)

    # Turns that came at least three seconds ago have passed, and no others.
    assert passed == [0, 0, 0, *served[:-3]]
    assert passed[-1] >= 60
    assert len(await room.steps()) <= 5


async def test_a_pause_or_silence_or_failure_eats_nobodys_grace(service: Service) -> None:
    room = await open_room(service, claim_grace_s=3)
    await room.queue(1000)
    await service.stores.waiting_room.admission.set_rate(room.exam.id, 10)
    for _ in range(3):
        await room.second()
    before = await room.steps()

    await service.stores.waiting_room.admission.set_paused(room.exam.id, paused=True)
    for _ in range(5):
        await room.second()
    await service.stores.waiting_room.admission.set_paused(room.exam.id, paused=False)
    await room.fall_silent(6_000)
    for _ in range(5):
        await room.second(signals=None)
    for _ in range(5):
        await room.second(signals=dataclasses.replace(CALM, failures=80))

    standing, steps = await room.room(), await room.steps()
    assert standing.late_through == 0
    assert standing.serving > before[-1][0]  # fixed by ops, it went on while most failed
    assert {healthy for _, healthy in steps} == {healthy for _, healthy in before}


async def test_time_without_a_leader_eats_nobodys_grace(service: Service) -> None:
    room = await open_room(service, claim_grace_s=10)
    await room.queue(1000)
    await room.second()
    await room.second()
    await room.end_lease()
    await room.pass_time(3600)

    await room.second(room.another_leader())

    assert (await room.room()).late_through == 0
    assert (await room.steps())[-1][1] == 2_000


async def test_an_emptied_redis_moves_nobodys_place(service: Service) -> None:
    room = await open_room(service, draw=True)
    await room.join_draw(1000)
    await room.queue(500)
    for _ in range(4):
        await room.second()
    before = await room.room()
    await lose_everything(service)

    with pytest.raises(NotReady):
        await room.leader.admit(room.exam)
    unmoved = await room.room()
    await recover_shards(service)
    await room.pass_time(600)
    served = await room.second()

    after = await room.room()
    assert FIRST_RANK < before.threshold == unmoved.threshold < after.threshold < LAST_RANK
    assert unmoved.late_threshold == after.late_threshold == FIRST_RANK
    assert served <= 13  # and the crowd that has waited does not come at once
    assert after.drawn == before.drawn


async def test_numbers_that_redis_has_forgotten_are_served_all_the_same(service: Service) -> None:
    room = await open_room(service)
    await room.queue(25)
    await room.second()
    await lose_everything(service)
    await recover_shards(service)

    for _ in range(5):
        await room.second()

    assert (await room.room()).serving == 25


async def test_places_that_redis_has_forgotten_go_on_counting(service: Service) -> None:
    """Their passes are good, and each of them is taken up again when it is used."""
    room = await open_room(service, places_max=5)
    await room.queue(1000)
    await room.enter(5)
    full = [await room.second() for _ in range(2)]
    await lose_everything(service)
    await recover_shards(service)

    forgotten = [await room.second() for _ in range(3)]
    await lose_everything(service)
    await recover_shards(service)
    forgotten += [await room.second() for _ in range(2)]

    assert (await service.stores.waiting_room.room_statistics.read(room.shard)).places == 0
    assert (full, forgotten) == ([0, 0], [0, 0, 0, 0, 0])


async def test_admission_ends_with_the_registration(service: Service) -> None:
    room = await open_room(service)
    await room.queue(1000)
    for _ in range(3):
        await room.second()
    led = await room.room()
    now_ms = round(time.time() * 1000)
    await room.move(Window(now_ms - 60_000, now_ms - 1))

    served = await room.second()

    closed = await room.room()
    assert (served, closed.serving) == (0, led.serving)
    assert (closed.leader, closed.lease_until_ms, await room.steps()) == (None, None, [])
    assert closed.leader_epoch > led.leader_epoch
    assert room.gauge("rate") is None


async def test_the_worker_steps_every_room_and_leaves_other_exams_alone(service: Service) -> None:
    room = await open_room(service)
    await room.queue(1000)
    settings = service.settings.with_limits(AdmissionLimits(interval_s=0.5))
    worker = AdmissionWorker(service.stores.waiting_room, settings)
    await worker.run_once()
    await room.pass_time(1)
    await room.report()

    counts = await worker.run_once()

    assert counts["admitted"] == (await room.room()).serving == 10


async def test_neither_script_of_the_admission_serves_another_epoch(service: Service) -> None:
    room: RoomUnderTest = await open_room(service)
    other = Shard(room.exam.id, room.shard.epoch + 1)

    with pytest.raises(NotReady):
        await service.stores.waiting_room.room_statistics.read(other)
    with pytest.raises(NotReady):
        await service.stores.waiting_room.room_statistics.report(other, "process-1", CALM)

    assert not await redis_of(service).exists(room.shard.key("signals"))


async def healthy_ms(room: RoomUnderTest) -> int:
    """Return the time that counts towards the grace of claims."""
    ((counted_ms,),) = await rows(room.service, "SELECT healthy_ms FROM waiting_rooms")
    return int(counted_ms)


async def test_nobody_is_admitted_while_the_exam_is_paused_and_no_grace_goes_by(
    service: Service,
) -> None:
    room = await open_room(service)
    await room.queue(1000)
    await room.second()
    before = [await room.second() for _ in range(2)]
    standing, healthy = (await room.room()).serving, await healthy_ms(room)
    pause = Pause("", "", stops_changes=False, reason="a test", retry_after_s=60, since_ms=0)

    await pause_exam(service.stores, room.exam.id, pause)
    forgotten = await room.second()  # by the definition before
    room.exam = service.stores.registry.find(room.exam.id)
    paused = [await room.second() for _ in range(2)]
    during = ((await room.room()).serving, await healthy_ms(room))
    await resume_exam(service.stores.maintenance, room.exam.id, "", "", "", extend_holds=False)
    room.exam = service.stores.registry.find(room.exam.id)
    after = await room.second()

    assert (before[0] > 0, forgotten, paused) == (True, 0, [0, 0])
    assert during == (standing, healthy)
    assert after > 0
