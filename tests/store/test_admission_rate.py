"""The rate of admission over both stores: what lowers, raises and stops it."""

import pytest

from quota_service.app.opening import Service
from quota_service.ledger.admission import Position
from quota_service.waiting_room.room import FIRST_RANK, LAST_RANK
from tests.support.admissions import BUSY, CALM, open_room
from tests.support.redis_clients import redis_of


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
    room.leader = room.another_leader(hold_after_s=1, stop_after_s=9)
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
    await service.stores.waiting_room.admission.set_paused(room.exam.id, paused=True)
    during = [await room.second() for _ in range(3)]
    await service.stores.waiting_room.admission.set_paused(room.exam.id, paused=False)

    after = await room.second()

    assert during == [0, 0, 0]
    assert 10 <= after <= 11


async def test_a_pause_that_comes_between_the_look_and_the_step_stops_the_step(
    service: Service,
) -> None:
    room = await open_room(service)
    await room.queue(1000)
    ledger = service.stores.waiting_room.admission
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
    await service.stores.waiting_room.admission.set_rate(room.exam.id, 3)
    fixed = [await room.second(signals=BUSY) for _ in range(3)]
    await service.stores.waiting_room.admission.set_rate(room.exam.id, None)

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
    forgetful = room.another_leader(claim_window_s=0)
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


async def test_reports_are_kept_for_a_while_and_bounded(service: Service) -> None:
    room = await open_room(service)
    room_statistics = service.stores.waiting_room.room_statistics
    await room.report(BUSY, "process-1")
    await room.report(CALM, "process-2")
    first = {
        each.process: each.signals for each in (await room_statistics.read(room.shard)).reports
    }
    await room.fall_silent(5_000)
    await room.report(CALM, "process-2")
    still = {each.process for each in (await room_statistics.read(room.shard)).reports}
    await room.fall_silent(6_000)
    later = {each.process for each in (await room_statistics.read(room.shard)).reports}
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
    assert (await service.stores.waiting_room.room_statistics.read(room.shard)).reports == ()
    assert not await redis_of(service).exists(room.shard.key("signals"))
