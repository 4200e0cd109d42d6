"""The admission's decision: when the rate rises, falls and stays, and how far the room goes on."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_service.waiting_room.admission import (
    RANK_END,
    Demand,
    Limit,
    Policy,
    Progress,
    Step,
    decide,
)
from quota_service.waiting_room.signals import Load, Targets

TARGETS = Targets(
    reserve_p99_ms=250,
    redis_p99_ms=50,
    pool_wait_p99_ms=100,
    failure_rate=0.02,
    backlog=500,
    hold_after_s=2.5,
    stop_after_s=5,
)
POLICY = Policy(
    targets=TARGETS, rate_min=1, rate_max=1000, places_max=5000, rise_max=0.05, fall_effect_s=3
)
CALM = Load(value=0.0, cause="backlog", failure_rate=0.0, silent_s=0.5, is_complete=True)
QUEUE = Progress(rate=20, fixed_rate=None, is_paused=False, threshold=RANK_END, serving=0)
DRAW = dataclasses.replace(QUEUE, threshold=0)
CROWD = Demand(drawn=0, claimed=0, last_number=100_000, places=0)
LOTS = Demand(drawn=10_000, claimed=0, last_number=500, places=0)


def step(
    progress: Progress = QUEUE, demand: Demand = CROWD, load: Load = CALM, elapsed_s: float = 1.0
) -> Step:
    return decide(progress, demand, load, POLICY, elapsed_s)


def loaded(value: float, **changes: float) -> Load:
    return dataclasses.replace(CALM, value=value, cause="reserve_p99", **changes)


def share(threshold: int) -> float:
    return threshold / RANK_END


def test_an_idle_service_raises_the_rate_by_its_share_and_admits_at_it() -> None:
    taken = step()

    assert taken.rate == pytest.approx(20 * 1.05)
    assert (taken.serving, taken.limit) == (21, Limit.RATE)
    assert taken.people == 21


def test_the_rate_rises_the_less_the_nearer_the_load_is_to_its_target() -> None:
    rates = [step(load=loaded(value)).rate for value in (0.0, 0.3, 0.6, 0.89, 0.9, 1.0)]

    assert rates == sorted(rates, reverse=True)
    assert len(set(rates[:4])) == 4
    assert rates[4:] == [20, 20]


@pytest.mark.parametrize(("load", "left"), [(1.05, 0.9), (1.25, 0.8), (2, 0.7), (50, 0.7)])
def test_a_load_above_its_target_lowers_the_rate_at_once(load: float, left: float) -> None:
    taken = step(load=loaded(load))

    assert taken.rate == pytest.approx(20 * left)
    assert taken.has_fallen
    assert taken.serving == int(20 * left)


def test_a_fall_is_given_time_to_show_before_the_next_one() -> None:
    fallen = dataclasses.replace(QUEUE, since_fall_s=1)

    assert step(fallen, load=loaded(1.5)).rate == 20
    assert step(dataclasses.replace(fallen, since_fall_s=3), load=loaded(1.5)).rate < 20


def test_the_rate_stays_between_its_limits() -> None:
    low, high = dataclasses.replace(QUEUE, rate=1.2), dataclasses.replace(QUEUE, rate=990)

    assert step(low, load=loaded(9)).rate == POLICY.rate_min
    assert step(high).rate == POLICY.rate_max


def test_limits_that_were_changed_hold_from_the_next_step_on() -> None:
    assert step(dataclasses.replace(QUEUE, rate=0.1)).rate == pytest.approx(POLICY.rate_min * 1.05)
    assert step(dataclasses.replace(QUEUE, rate=5000)).rate == POLICY.rate_max


@pytest.mark.parametrize(
    ("demand", "limit"),
    [
        (dataclasses.replace(CROWD, last_number=5), Limit.DEMAND),
        (dataclasses.replace(CROWD, places=4995), Limit.PLACES),
        (dataclasses.replace(CROWD, coming=4995), Limit.PLACES),
    ],
)
def test_a_rate_that_was_not_put_to_the_test_does_not_rise(demand: Demand, limit: Limit) -> None:
    taken = step(demand=demand)

    assert (taken.rate, taken.limit, taken.serving) == (20, limit, 5)


def test_a_process_that_is_silent_keeps_the_rate_from_rising() -> None:
    assert step(load=dataclasses.replace(CALM, is_complete=False)).rate == 20


def test_without_signals_the_rate_holds_and_then_nobody_is_admitted() -> None:
    holding = step(load=dataclasses.replace(CALM, silent_s=3, is_complete=False))
    stopped = step(load=dataclasses.replace(CALM, silent_s=5.1, is_complete=False))
    never = step(load=dataclasses.replace(CALM, silent_s=math.inf, is_complete=False))

    assert (holding.rate, holding.serving, holding.is_healthy) == (20, 20, False)
    assert (stopped.serving, stopped.limit, stopped.is_healthy) == (0, Limit.SILENCE, False)
    assert (never.serving, never.limit) == (0, Limit.SILENCE)


def test_a_rate_that_ops_have_set_holds_under_load_but_not_without_signals() -> None:
    fixed = dataclasses.replace(QUEUE, fixed_rate=7)

    assert (step(fixed).rate, step(fixed).serving) == (7, 7)
    assert step(fixed, load=loaded(9)).serving == 7
    assert step(fixed, load=dataclasses.replace(CALM, silent_s=6)).serving == 0


def test_a_pause_stops_everything_and_eats_nobodys_grace() -> None:
    taken = step(dataclasses.replace(QUEUE, is_paused=True, fixed_rate=7))

    assert (taken.serving, taken.people, taken.limit) == (0, 0, Limit.PAUSED)
    assert not taken.is_healthy


def test_a_service_that_mostly_fails_eats_nobodys_grace() -> None:
    assert step(load=loaded(1, failure_rate=0.4)).is_healthy
    assert not step(load=loaded(25, failure_rate=0.5)).is_healthy


def test_a_slow_rate_saves_up_for_whole_people() -> None:
    progress = dataclasses.replace(QUEUE, fixed_rate=0.4)
    served = []
    for _ in range(10):
        taken = step(progress)
        progress = dataclasses.replace(progress, serving=taken.serving, carry=taken.carry)
        served.append(taken.serving)

    assert served == [0, 0, 1, 1, 2, 2, 2, 3, 3, 4]


def test_an_empty_queue_saves_nothing_up() -> None:
    taken = step(demand=dataclasses.replace(CROWD, last_number=0))

    assert (taken.serving, taken.carry, taken.people) == (0, 0, 0)


def test_the_draw_goes_on_by_the_rate_over_those_in_it() -> None:
    taken = step(DRAW, LOTS)

    assert share(taken.threshold) == pytest.approx(21 / 10_000)
    assert taken.people == pytest.approx(21)
    assert taken.serving == 0


def test_numbers_are_served_when_the_draw_is_done_and_not_before() -> None:
    nearly = dataclasses.replace(DRAW, threshold=RANK_END - RANK_END // 1000)

    taken = step(nearly, LOTS)

    assert taken.threshold == RANK_END
    assert taken.serving == 11  # of 21 earned, ten were still in the draw
    assert taken.people == pytest.approx(21, abs=1)


def test_a_draw_of_nobody_takes_a_few_seconds_all_the_same() -> None:
    progress, steps = DRAW, 0
    while progress.threshold < RANK_END:
        taken = step(progress, dataclasses.replace(LOTS, drawn=0, last_number=0))
        progress = dataclasses.replace(progress, threshold=taken.threshold)
        steps += 1

    assert 5 <= steps <= 6


def test_a_count_of_the_draw_that_was_lost_is_corrected_by_the_claims() -> None:
    progress = dataclasses.replace(DRAW, threshold=RANK_END // 5)

    taken = step(progress, dataclasses.replace(LOTS, drawn=0, claimed=2000))

    # Two thousand claims from a fifth of the ranks: about ten thousand are in the draw.
    assert share(taken.threshold - progress.threshold) == pytest.approx(21 / 10_000, rel=0.1)


def test_a_few_claims_more_than_expected_correct_nothing() -> None:
    progress = dataclasses.replace(DRAW, threshold=RANK_END // 100)

    taken = step(progress, dataclasses.replace(LOTS, claimed=115))

    assert share(taken.threshold - progress.threshold) == pytest.approx(21 / 10_000)


PROGRESS = st.builds(
    Progress,
    rate=st.floats(0, 2000),
    fixed_rate=st.none() | st.floats(0.01, 2000),
    is_paused=st.booleans(),
    threshold=st.integers(0, RANK_END) | st.just(RANK_END) | st.just(0),
    serving=st.integers(0, 1000),
    carry=st.floats(0, 1),
    since_fall_s=st.floats(0, 100),
)
DEMAND = st.builds(
    Demand,
    drawn=st.integers(0, 1_000_000),
    claimed=st.integers(0, 1_000_000),
    last_number=st.integers(0, 2000),
    places=st.integers(0, 6000),
    coming=st.floats(0, 6000),
)
LOAD = st.builds(
    Load,
    value=st.floats(0, 100),
    cause=st.just("reserve_p99"),
    failure_rate=st.floats(0, 1),
    silent_s=st.floats(0, 10) | st.just(math.inf),
    is_complete=st.booleans(),
)


@given(PROGRESS, DEMAND, LOAD, st.floats(0.01, 2))
def test_a_step_goes_forward_within_its_bounds_and_never_without_leave(
    progress: Progress, demand: Demand, load: Load, elapsed_s: float
) -> None:
    taken = decide(progress, demand, load, POLICY, elapsed_s)

    moved = (taken.threshold, taken.serving) != (progress.threshold, progress.serving)
    free = max(0.0, POLICY.places_max - demand.places - demand.coming)
    assert progress.threshold <= taken.threshold <= RANK_END
    assert progress.serving <= taken.serving <= max(demand.last_number, progress.serving)
    assert 0 <= taken.carry <= 1
    assert taken.people <= min(free, taken.rate * elapsed_s + progress.carry) * (1 + 1e-9) + 1e-6
    if taken.serving > progress.serving:
        assert taken.threshold == RANK_END
    if progress.is_paused or load.silent_s > TARGETS.stop_after_s or free == 0:
        assert not moved
    elif progress.fixed_rate is not None:
        assert taken.rate == progress.fixed_rate
    else:
        assert POLICY.rate_min <= taken.rate <= POLICY.rate_max
    if load.value > 1 or not load.is_complete or load.silent_s > TARGETS.hold_after_s:
        before = min(max(progress.rate, POLICY.rate_min), POLICY.rate_max)
        assert taken.rate <= max(progress.fixed_rate or before, progress.rate)
