"""Rates: what may come at once, how it comes back, and that the table is bounded."""

import re

from hypothesis import given
from hypothesis import strategies as st

from quota_service.overload.rate_limit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def make_rate(
    clock: Clock, *, rate_per_s: int = 10, burst_s: int = 2, callers_max: int = 100
) -> RateLimit:
    return RateLimit(
        "key", rate_per_s=rate_per_s, burst_s=burst_s, callers_max=callers_max, clock=clock
    )


def test_a_burst_is_taken_whole_and_the_next_request_is_too_much() -> None:
    rate = make_rate(Clock())

    taken = [rate.take("a") for _ in range(21)]

    assert [t.is_allowed for t in taken] == [True] * 20 + [False]
    assert [t.remaining for t in taken] == [*range(19, -1, -1), 0]
    assert taken[0].reset_s == 1
    assert taken[-1].reset_s == 2


def test_what_was_taken_comes_back_with_time_and_not_faster() -> None:
    clock = Clock()
    rate = make_rate(clock)
    for _ in range(20):
        rate.take("a")

    clock.now_s += 0.5
    allowed = [rate.take("a").is_allowed for _ in range(8)]

    assert allowed == [True] * 5 + [False] * 3


def test_a_refused_request_takes_nothing() -> None:
    clock = Clock()
    rate = make_rate(clock)
    for _ in range(200):
        rate.take("a")

    clock.now_s += 0.11

    assert rate.take("a").is_allowed


def test_callers_have_buckets_of_their_own() -> None:
    rate = make_rate(Clock())
    for _ in range(30):
        rate.take("a")

    assert not rate.take("a").is_allowed
    assert rate.take("b").remaining == 19


def test_the_table_forgets_who_asked_least_recently() -> None:
    rate = make_rate(Clock(), callers_max=2)
    for caller in ("a", "a", "b", "a", "c"):
        rate.take(caller)

    assert rate.callers == 2
    assert rate.take("a").remaining == 16
    assert rate.take("b").remaining == 19


def test_the_fields_are_as_the_draft_has_them() -> None:
    rate = make_rate(Clock())

    fields = dict(rate.fields(rate.take("a")))

    assert fields == {"RateLimit-Policy": '"key";q=20;w=2', "RateLimit": '"key";r=19;t=1'}
    assert re.fullmatch(r'"[a-z]+";r=\d+;t=\d+', fields["RateLimit"])


def test_a_rate_of_nothing_is_off() -> None:
    assert make_rate(Clock(), rate_per_s=0).is_off
    assert not make_rate(Clock()).is_off


@given(
    rate_per_s=st.integers(1, 1000),
    burst_s=st.integers(1, 5),
    pauses_ms=st.lists(st.integers(0, 500), min_size=1, max_size=300),
)
def test_nobody_gets_more_than_the_burst_and_the_rate_since(
    rate_per_s: int, burst_s: int, pauses_ms: list[int]
) -> None:
    clock = Clock()
    rate = make_rate(clock, rate_per_s=rate_per_s, burst_s=burst_s)
    allowed = 0
    for pause_ms in pauses_ms:
        clock.now_s += pause_ms / 1000
        allowed += rate.take("a").is_allowed

        elapsed_s = clock.now_s - 1000.0
        assert allowed <= rate_per_s * (burst_s + elapsed_s) + 1e-3
