"""Admission over both stores: who leads, what lowers and stops it, and whose grace goes by.

Over 400 lines because all of it needs the same leader, room and clock.
"""

import asyncio
import dataclasses
import time

import pytest

from quota_service.app import Service
from quota_service.domain.errors import NotReady
from quota_service.domain.exam import Window
from quota_service.ledger.admission import Position
from quota_service.registration.admit import Admission
from quota_service.seats.keys import Shard
from quota_service.waiting_room.room import FIRST_RANK, LAST_RANK
from quota_service.workers.admission import AdmissionWorker
from tests.store.test_outage_sweepers import stopped
from tests.support.admissions import BUSY, CALM, RoomUnderTest, open_room
from tests.support.lost_shards import lose_everything, recover_shards
from tests.support.protocols import DiedError, dying
from tests.support.redis_clients import redis_of


async def test_a_queue_is_served_at_the_rate(service: Service) -> None:
    room = await open_room(service)
    await room.queue(1000)

    served = [await room.second() for _ in range(3)]

    standing = await room.room()
    assert served == [0, 10, 11]
    assert standing.serving == 21
    assert standing.rate == pytest.approx(10 * 1.05**2, rel=0.01)


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
    ledger = service.stores.admission
    lease = await ledger.lease(room.exam.id, "leader-1", 60)
    assert lease is not None
    to = Position(LAST_RANK, 5, 10, 0, 1000)

    await room.end_lease()

    assert not await ledger.step(lease.room, room.exam.revision, to, 300_000)
    assert (await room.room()).serving == 0


async def test_a_leader_that_was_overtaken_finds_its_writes_refused(service: Service) -> None:
    room = await open_room(service)
    await room.queue(1000)
    ledger, to = service.stores.admission, Position(LAST_RANK, 5, 10, 0, 1000)
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


@pytest.mark.parametrize("line", ["surveyed", "leased"])
async def test_a_leader_that_dies_before_its_step_has_admitted_nobody(
    service: Service, line: str
) -> None:
    room = await open_room(service)
    await room.queue(1000)
    await room.second()
    stores = dying(service.stores, f"admit: {line}")
    mortal = Admission(stores, service.settings)
    await room.end_lease()

    with pytest.raises(DiedError):
        await room.second(mortal)
    before = await room.room()
    await room.end_lease()
    served = await room.second()

    assert before.serving == 0
    assert (await room.room()).serving == served > 0


async def test_a_position_never_goes_back(service: Service) -> None:
    room = await open_room(service)
    await room.queue(1000)
    ledger = service.stores.admission
    lease = await ledger.lease(room.exam.id, "leader-1", 60)
    assert lease is not None
    await ledger.step(lease.room, room.exam.revision, Position(LAST_RANK, 9, 10, 0, 0), 0)

    assert not await ledger.step(
        lease.room, room.exam.revision, Position(LAST_RANK, 8, 10, 0, 0), 0
    )
    assert (await room.room()).serving == 9


async def test_a_load_above_its_target_lowers_the_rate_and_calm_raises_it(
    service: Service,
) -> None:
    room = await open_room(service)
    await room.queue(100_000)
    rates = []
    for signals in (CALM, CALM, BUSY, BUSY, CALM, CALM):
        await room.second(signals=signals)
        rates.append((await room.room()).rate)

    assert rates[1] > rates[0]
    assert rates[2] == pytest.approx(rates[1] * 0.7, rel=0.01)
    assert rates[3] == rates[2]  # the fall gets time to show
    assert rates[5] > rates[4] > rates[3]


async def test_one_busy_process_among_calm_ones_is_enough(service: Service) -> None:
    room = await open_room(service)
    await room.queue(100_000)
    await room.second()
    await room.report(BUSY, "process-2")

    await room.second()

    assert (await room.room()).rate < 10


async def test_without_reports_the_rate_holds_then_nobody_is_admitted_and_then_all_goes_on(
    service: Service,
) -> None:
    room = await open_room(service)
    room.leader = room.another_leader(admission_hold_after_s=1, admission_stop_after_s=9)
    await room.queue(100_000)
    await room.second()
    await room.fall_silent(2_000)
    holding, rate = await room.second(signals=None), (await room.room()).rate
    await room.fall_silent(7_000)

    stopped_at = [await room.second(signals=None) for _ in range(3)]
    again = await room.second()

    assert (holding, rate) == (10, 10)
    assert stopped_at == [0, 0, 0]
    assert 10 <= again <= 11


async def test_a_room_that_never_had_a_report_admits_nobody(service: Service) -> None:
    room = await open_room(service, draw=True)
    await room.join_draw(10)
    await room.queue(100)

    for _ in range(5):
        await room.second(signals=None)

    standing = await room.room()
    assert (standing.threshold, standing.serving) == (FIRST_RANK, 0)


async def test_a_pause_stops_admission_until_it_is_lifted(service: Service) -> None:
    room = await open_room(service)
    await room.queue(1000)
    await room.second()
    await service.stores.admission.set_paused(room.exam.id, paused=True)
    during = [await room.second() for _ in range(3)]
    await service.stores.admission.set_paused(room.exam.id, paused=False)

    after = await room.second()

    assert during == [0, 0, 0]
    assert 10 <= after <= 11


async def test_a_pause_that_comes_between_the_look_and_the_step_stops_the_step(
    service: Service,
) -> None:
    room = await open_room(service)
    await room.queue(1000)
    ledger = service.stores.admission
    lease = await ledger.lease(room.exam.id, "leader-1", 60)
    assert lease is not None

    await ledger.set_paused(room.exam.id, paused=True)

    assert not await ledger.step(
        lease.room, room.exam.revision, Position(LAST_RANK, 5, 10, 0, 0), 0
    )


async def test_a_rate_that_ops_set_holds_until_it_may_adapt_again(service: Service) -> None:
    room = await open_room(service)
    await room.queue(100_000)
    await room.second()
    await service.stores.admission.set_rate(room.exam.id, 3)
    fixed = [await room.second(signals=BUSY) for _ in range(3)]
    await service.stores.admission.set_rate(room.exam.id, None)

    free = await room.second()

    assert fixed == [3, 3, 3]
    assert 3 <= free <= 4


async def test_full_places_stop_admission_and_idle_ones_do_not_count(service: Service) -> None:
    room = await open_room(service, places_max=20)
    await room.queue(1000)
    await room.second()
    await room.enter(20)
    full = await room.second()
    await room.enter(20, idle_in_ms=-1)

    free = await room.second()

    assert (full, free) == (0, 10)
    assert await redis_of(service).zcard(room.shard.key("places")) == 0
    assert room.gauge("places") == 0


async def test_those_on_their_way_are_expected_but_no_shows_cost_nothing(
    service: Service,
) -> None:
    room = await open_room(service, places_max=15)
    await room.queue(1000)
    await room.second()

    served = [await room.second() for _ in range(4)]
    forgetful = room.another_leader(admission_claim_window_s=0)
    await room.end_lease()
    without = [await room.second(forgetful) for _ in range(3)]

    # Nobody claimed: fifteen may still come, and when they have not come their places are free.
    assert served == [10, 5, 0, 0]
    assert all(people >= 10 for people in without)


async def test_who_has_claimed_is_not_expected_any_more(service: Service) -> None:
    room = await open_room(service, places_max=15)
    await room.queue(1000)
    await room.second()
    await room.second()
    await room.enter(10)

    assert await room.second() == 5


async def test_turns_pass_after_the_grace_and_older_steps_are_forgotten(service: Service) -> None:
    room = await open_room(service, claim_grace_s=3)
    await room.queue(1000)
    await service.stores.admission.set_rate(room.exam.id, 10)
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
    await service.stores.admission.set_rate(room.exam.id, 10)
    for _ in range(3):
        await room.second()
    before = await room.steps()

    await service.stores.admission.set_paused(room.exam.id, paused=True)
    for _ in range(5):
        await room.second()
    await service.stores.admission.set_paused(room.exam.id, paused=False)
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

    assert (await service.stores.surveyor.survey(room.shard)).places == 0
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


async def test_the_worker_steps_every_room_and_leaves_other_exams_alone(service: Service) -> None:
    room = await open_room(service)
    await room.queue(1000)
    settings = dataclasses.replace(service.settings, admission_interval_s=0.5)
    worker = AdmissionWorker(service.stores, settings)
    await worker.run_once()
    await room.pass_time(1)
    await room.report()

    counts = await worker.run_once()

    assert counts["admitted"] == (await room.room()).serving == 10


async def test_reports_are_kept_for_a_while_and_bounded(service: Service) -> None:
    room = await open_room(service)
    surveyor = service.stores.surveyor
    await room.report(BUSY, "process-1")
    await room.report(CALM, "process-2")
    first = {each.process: each.signals for each in (await surveyor.survey(room.shard)).reports}
    await room.fall_silent(5_000)
    await room.report(CALM, "process-2")
    still = {each.process for each in (await surveyor.survey(room.shard)).reports}
    await room.fall_silent(6_000)
    later = {each.process for each in (await surveyor.survey(room.shard)).reports}
    key = room.shard.key("signals")

    assert first == {"process-1": BUSY, "process-2": CALM}
    assert (still, later) == ({"process-1", "process-2"}, {"process-2"})
    assert 0 < await redis_of(service).pttl(key) <= 10_000
    await redis_of(service).hset(key, mapping={f"p{n}": "1|x" for n in range(1000)})
    await room.report(CALM, "process-3")
    assert await redis_of(service).hlen(key) == 1


async def test_a_report_from_the_future_is_not_fresh(service: Service) -> None:
    """A clock that was set back must not keep a dead process's report alive."""
    room = await open_room(service)
    await room.queue(1000)
    await room.second()
    await room.fall_silent(-3_600_000)

    served = await room.second(signals=None)

    assert served == 0
    assert (await service.stores.surveyor.survey(room.shard)).reports == ()
    assert not await redis_of(service).exists(room.shard.key("signals"))


async def test_neither_script_of_the_admission_serves_another_epoch(service: Service) -> None:
    room: RoomUnderTest = await open_room(service)
    other = Shard(room.exam.id, 0, room.shard.epoch + 1)

    with pytest.raises(NotReady):
        await service.stores.surveyor.survey(other)
    with pytest.raises(NotReady):
        await service.stores.surveyor.report(other, "process-1", CALM)

    assert not await redis_of(service).exists(room.shard.key("signals"))
