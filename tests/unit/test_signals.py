"""Signals: how they travel, and what those of all processes add up to."""

import dataclasses
import math

import pytest

from quota_service.waiting_room.signals import Report, Signals, Targets, add_up, parse_signals

TARGETS = Targets(
    reserve_p99_ms=250,
    redis_p99_ms=50,
    pool_wait_p99_ms=100,
    failure_rate=0.02,
    backlog=500,
    hold_after_s=2.5,
    stop_after_s=5,
)
QUIET = Signals(
    requests=0,
    failures=0,
    reserve_p99_ms=None,
    redis_p99_ms=None,
    pool_wait_p99_ms=None,
    backlog=0,
)


def report(process: str = "a", age_s: float = 0.5, **measures: float) -> Report:
    return Report(process, age_s, dataclasses.replace(QUIET, **measures))


def test_signals_survive_the_way_through_redis() -> None:
    seen = dataclasses.replace(QUIET, requests=7, reserve_p99_ms=12.5)

    assert parse_signals(seen.text()) == seen


def test_members_of_a_later_version_are_left_out() -> None:
    text = QUIET.text().replace("{", '{"novel":1,')

    assert parse_signals(text) == QUIET


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"requests":1}',
        QUIET.text().replace('"backlog":0', '"backlog":"0"'),
        QUIET.text().replace('"backlog":0', '"backlog":-1'),
        QUIET.text().replace('"backlog":0', '"backlog":true'),
        QUIET.text().replace('"backlog":0', '"backlog":null'),
        QUIET.text().replace('"backlog":0', '"backlog":0.5'),
        QUIET.text().replace('"reserve_p99_ms":null', '"reserve_p99_ms":NaN'),
        QUIET.text().replace('"reserve_p99_ms":null', '"reserve_p99_ms":Infinity'),
    ],
)
def test_what_is_not_understood_is_no_signal(text: str) -> None:
    assert parse_signals(text) is None


def test_nobody_heard_is_silence_and_not_calm() -> None:
    load = add_up([], TARGETS)

    assert (load.silent_s, load.is_complete) == (math.inf, False)


def test_the_slowest_process_counts() -> None:
    load = add_up([report("a", redis_p99_ms=5), report("b", redis_p99_ms=100)], TARGETS)

    assert (load.value, load.cause) == (2, "redis_p99")


@pytest.mark.parametrize(
    ("measures", "value", "cause"),
    [
        ({"reserve_p99_ms": 500}, 2, "reserve_p99"),
        ({"redis_p99_ms": 150}, 3, "redis_p99"),
        ({"pool_wait_p99_ms": 400}, 4, "pool_wait_p99"),
        ({"requests": 100, "failures": 10}, 5, "failure_rate"),
        ({"backlog": 3000}, 6, "backlog"),
    ],
)
def test_each_measure_alone_can_be_too_much(
    measures: dict[str, float], value: float, cause: str
) -> None:
    load = add_up([report(**measures)], TARGETS)

    assert (load.value, load.cause) == (pytest.approx(value), cause)


def test_backlogs_and_failures_of_all_processes_are_added() -> None:
    reports = [
        report("a", requests=100, failures=1, backlog=200),
        report("b", requests=100, failures=3, backlog=150),
    ]

    load = add_up(reports, TARGETS)

    assert load.failure_rate == pytest.approx(0.02)
    assert load.value == pytest.approx(1)


def test_one_failure_among_few_requests_is_no_high_rate() -> None:
    assert add_up([report(requests=2, failures=1)], TARGETS).failure_rate == pytest.approx(0.05)


def test_an_old_report_tells_nothing_but_that_somebody_is_silent() -> None:
    load = add_up([report("a", age_s=0.5), report("b", age_s=4, reserve_p99_ms=9000)], TARGETS)

    assert (load.value, load.silent_s, load.is_complete) == (0, 0.5, False)


def test_a_report_that_is_not_understood_is_a_silent_process() -> None:
    heard = add_up([report("a"), Report("b", 0.1, None)], TARGETS)
    alone = add_up([Report("b", 0.1, None)], TARGETS)

    assert (heard.is_complete, heard.silent_s) == (False, 0.5)
    assert alone.silent_s == math.inf
