"""What is expected of those who were admitted: places for who comes, none for who does not."""

import dataclasses
import random
from collections import Counter

import pytest
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from quota_service.waiting_room.admission import RANK_END, Demand, Policy, Progress, decide
from quota_service.waiting_room.turnout import Turnout
from tests.unit.test_admission import CALM, TARGETS

WINDOW_S = 20.0
LATEST_CLAIM_S = 15
"""The longest time after which a client asks again, by the settings that are shipped."""


def seen(*steps: tuple[float, float, int]) -> Turnout:
    """Return what is known after steps: when, how many people, and the claims before it."""
    turnout = Turnout(WINDOW_S)
    for step in steps:
        turnout.note(*step)
    return turnout


def test_everybody_is_expected_until_there_was_time_to_come() -> None:
    turnout = seen((0, 20, 0))

    assert turnout.coming(0, 0) == 20
    assert turnout.coming(10, 0) == 20
    assert turnout.share(10, 0) == 1


def test_who_has_claimed_is_not_expected_any_more() -> None:
    assert seen((0, 20, 5)).coming(1, 12) == 13
    assert seen((0, 20, 5)).coming(1, 40) == 0


def test_claims_of_those_who_were_admitted_before_do_not_stand_for_those_who_follow() -> None:
    turnout = seen((0, 20, 0), (10, 20, 0))

    assert turnout.coming(10, 15) == 25
    assert turnout.coming(10, 20) == 20


def test_who_has_not_come_within_the_window_is_not_expected() -> None:
    assert seen((0, 20, 0)).coming(20.1, 0) == 0


def test_those_who_follow_no_shows_are_expected_by_the_share_that_came() -> None:
    turnout = seen((0, 1000, 0), (20, 100, 50))

    # Three deviations above the fifty that came of a thousand, and three more.
    assert turnout.share(21, 50) == pytest.approx(0.074, abs=0.001)
    assert turnout.coming(21, 50) == pytest.approx(7.4, abs=0.1)


def test_nobody_is_expected_less_than_a_twentieth() -> None:
    assert seen((0, 1_000_000, 0)).share(20, 0) == 0.05


def test_what_is_long_ago_tells_nothing() -> None:
    turnout = seen((0, 1000, 0), (90, 10, 0))

    assert turnout.share(99, 0) < 1
    assert turnout.share(101, 0) == 1


def test_a_count_that_was_lost_tells_nothing() -> None:
    turnout = seen((0, 1000, 500), (20, 100, 900))

    assert turnout.share(40, 3) == 1


def test_a_room_that_stands_still_expects_those_it_has_let_in() -> None:
    turnout = seen((0, 20, 0))

    for now_s in range(9, 3001):
        turnout.pause(now_s)

    assert turnout.coming(3010, 0) == 20


STEPS = st.lists(st.tuples(st.floats(0, 3), st.floats(0, 500), st.integers(0, 200)), min_size=1)


@given(STEPS, st.floats(0, 40), st.integers(0, 300))
def test_no_more_are_expected_than_were_admitted_lately(
    steps: list[tuple[float, float, int]], later_s: float, more: int
) -> None:
    turnout, now_s, claims = Turnout(WINDOW_S), 0.0, 0
    for pause_s, people, came in steps:
        now_s += pause_s
        turnout.note(now_s, people, claims)
        claims += came
    now_s, claims = now_s + later_s, claims + more

    coming, share = turnout.coming(now_s, claims), turnout.share(now_s, claims)

    lately = [step for step in turnout.steps if now_s - step.at_s <= WINDOW_S]
    assert 0.05 <= share <= 1
    assert 0 <= coming <= sum(step.people for step in lately)
    assert all(0 <= step.unclaimed <= step.people for step in turnout.steps)


@dataclasses.dataclass
class Night:
    """How an opening went: when each who came got in, and how many were inside at most."""

    entered_s: list[int]
    inside_most: int


def live_through(
    crowd: int, comes: float, places_max: int, stay_s: int, *, seed: int, turnout: Turnout
) -> Night:
    """Let a draw have its turn at 20 a second; of its crowd a share comes, and the rest never."""
    chance = random.Random(seed)  # noqa: S311
    policy = Policy(TARGETS, 5, 1000, places_max, 0.02, 15)
    progress = Progress(20, 20.0, is_paused=False, threshold=0, serving=0)
    arriving: Counter[int] = Counter()
    leaving: Counter[int] = Counter()
    inside = claims = admitted = most = 0
    entered: list[int] = []
    for now_s in range(600):
        came = arriving.pop(now_s, 0)
        claims, inside = claims + came, inside + came - leaving.pop(now_s, 0)
        entered += [now_s] * came
        leaving[now_s + stay_s] += came
        most = max(most, inside)
        coming = turnout.coming(now_s, claims)
        demand = Demand(crowd, claims, 0, inside, coming)
        step = decide(progress, demand, CALM, policy, 1.0)
        turnout.note(now_s, step.people, claims)
        progress = dataclasses.replace(progress, threshold=step.threshold)
        reached = round(crowd * (step.threshold / RANK_END))
        for _ in range(reached - admitted):
            if chance.random() < comes:
                arriving[now_s + 1 + round(chance.uniform(0, LATEST_CLAIM_S))] += 1
        admitted = reached
    return Night(entered, most)


@hypothesis_settings(max_examples=20, phases=[Phase.explicit, Phase.generate])
@given(st.integers(0, 1000), st.sampled_from([1.0, 0.9, 0.5, 0.1, 0.03]), st.integers(20, 200))
def test_the_places_are_kept_to_however_many_come(seed: int, comes: float, places_max: int) -> None:
    night = live_through(2000, comes, places_max, 60, seed=seed, turnout=Turnout(WINDOW_S))

    assert night.inside_most <= 1.1 * places_max + 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_crowd_that_never_comes_does_not_starve_those_who_do(seed: int) -> None:
    night = live_through(620, 0.03, 20, 2, seed=seed, turnout=Turnout(WINDOW_S))

    # At 20 a second the whole draw takes 31 s; one full house a window takes 620 s.
    assert max(night.entered_s) <= 150


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_crowd_that_comes_is_let_in_as_if_no_shows_were_unknown(seed: int) -> None:
    night = live_through(600, 1.0, 100, 30, seed=seed, turnout=Turnout(WINDOW_S))

    assert night.inside_most <= 100
    assert len(night.entered_s) == 600
