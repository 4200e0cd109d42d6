"""The load window: what a process saw lately, read off its histograms."""

import pytest

from quota_service.observability.load_window import LoadWindow
from quota_service.observability.metrics import Metrics

RESERVE = {"method": "POST", "route": "/v1/exams/{exam}/reservations"}
CALLBACK = {"method": "POST", "route": "/v1/payment-callbacks"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def window(metrics: Metrics, backlog: int = 0) -> LoadWindow:
    return LoadWindow(metrics, lambda: backlog)


def answer(
    metrics: Metrics, call: dict[str, str], status: str, seconds: float, times: int = 1
) -> None:
    for _ in range(times):
        metrics.http_duration.labels(**call, status=status).observe(seconds)


def test_nothing_seen_is_told_as_nothing_and_not_as_zero(metrics: Metrics) -> None:
    seen = window(metrics, backlog=3).read()

    assert (seen.requests, seen.failures, seen.backlog) == (0, 0, 3)
    assert (seen.reserve_p99_ms, seen.redis_p99_ms, seen.pool_wait_p99_ms) == (None, None, None)


def test_what_was_before_the_window_does_not_count(metrics: Metrics) -> None:
    answer(metrics, RESERVE, "201", 3.0, times=100)
    looking = window(metrics)
    answer(metrics, RESERVE, "201", 0.002, times=100)

    seen = looking.read()

    assert seen.requests == 100
    assert seen.reserve_p99_ms is not None
    assert 1 <= seen.reserve_p99_ms <= 2.5


def test_the_window_forgets(metrics: Metrics) -> None:
    looking = window(metrics)
    answer(metrics, RESERVE, "201", 3.0, times=10)

    requests = [looking.read().requests for _ in range(5)]

    assert requests == [10, 10, 10, 0, 0]


def test_failures_are_answers_that_are_our_fault_of_calls_that_matter(metrics: Metrics) -> None:
    looking = window(metrics)
    for status in ("201", "409", "422", "429", "500", "503"):  # 422 and 429 never got so far
        answer(metrics, RESERVE, status, 0.01)
    answer(metrics, CALLBACK, "503", 0.01)
    answer(metrics, {"method": "GET", "route": "/readyz"}, "503", 0.01)
    answer(metrics, {"method": "POST", "route": "/v1/exams/{exam}/waiting-room"}, "503", 0.01)

    seen = looking.read()

    assert (seen.requests, seen.failures) == (5, 3)


def test_the_quantile_is_that_of_reservations_alone(metrics: Metrics) -> None:
    looking = window(metrics)
    answer(metrics, RESERVE, "201", 0.004, times=99)
    answer(metrics, CALLBACK, "200", 4.0, times=99)

    seen = looking.read()

    assert seen.reserve_p99_ms is not None
    assert 2.5 <= seen.reserve_p99_ms <= 5


@pytest.mark.parametrize(("slow", "low_ms", "high_ms"), [(0, 0, 1), (1, 0, 1), (2, 250, 500)])
def test_one_in_a_hundred_may_be_slow(
    metrics: Metrics, slow: int, low_ms: float, high_ms: float
) -> None:
    looking = window(metrics)
    answer(metrics, RESERVE, "201", 0.0005, times=100 - slow)
    answer(metrics, RESERVE, "409", 0.4, times=slow)

    seen = looking.read()

    assert seen.reserve_p99_ms is not None
    assert low_ms < seen.reserve_p99_ms <= high_ms


def test_what_is_beyond_the_last_bound_is_told_as_that_bound(metrics: Metrics) -> None:
    looking = window(metrics)
    answer(metrics, RESERVE, "503", 60.0)

    assert looking.read().reserve_p99_ms == 10_000


def test_redis_and_the_pool_are_told_over_what_candidates_wait_for(metrics: Metrics) -> None:
    looking = window(metrics)
    for script in ("reserve", "begin_payment"):
        metrics.script_duration.labels(script=script).observe(0.02)
    metrics.pool_wait.observe(0.7)

    seen = looking.read()

    assert seen.redis_p99_ms is not None
    assert seen.pool_wait_p99_ms is not None
    assert 10 < seen.redis_p99_ms <= 25
    assert 500 < seen.pool_wait_p99_ms <= 1000


def test_one_slow_answer_among_a_few_is_left_out_and_two_are_not(metrics: Metrics) -> None:
    looking = window(metrics)
    answer(metrics, RESERVE, "201", 0.002, times=20)
    answer(metrics, RESERVE, "201", 3.0)

    one = looking.read().reserve_p99_ms
    answer(metrics, RESERVE, "201", 3.0)
    two = looking.read().reserve_p99_ms

    assert one is not None
    assert one <= 2.5
    assert two is not None
    assert two > 1000
