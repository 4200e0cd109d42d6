"""The adaptive limit: how it follows latency, and what does not move it."""

from hypothesis import given
from hypothesis import strategies as st

from quota_service.http.gradient import GradientLimit, Latencies
from quota_service.settings import Settings

FLOOR_S = 0.05


def make_limit(initial: int = 500, *, low: int = 16, high: int = 2000) -> GradientLimit:
    return GradientLimit(
        initial=initial, low=low, high=high, smoothing=0.2, tolerance=1.5, floor_s=FLOOR_S
    )


def seen(*latencies_s: float, count: int = 100) -> list[Latencies]:
    """One window: so many requests of each class, each taking so long; 0 for a class unseen."""
    return [Latencies(count if s else 0, s * count) for s in latencies_s]


def after(limit: GradientLimit, window: list[Latencies], windows: int) -> int:
    for _ in range(windows):
        limit.update(window, is_pressed=True)
    return limit.limit


def test_it_grows_while_latency_stays_and_never_beyond_its_most() -> None:
    limit = make_limit()

    assert after(limit, seen(0.2), 10) > 500
    assert after(limit, seen(0.2), 2000) == 2000


def test_it_shrinks_when_requests_take_longer_than_they_used_to_and_never_below_its_least() -> None:
    limit = make_limit()
    after(limit, seen(0.2), 50)
    before = limit.limit

    assert after(limit, seen(1.0), 10) < before / 2
    assert after(limit, seen(5.0), 100) == 16


def test_it_comes_back_once_latency_has() -> None:
    limit = make_limit()
    after(limit, seen(0.2), 50)
    shrunk = after(limit, seen(2.0), 20)

    assert after(limit, seen(0.2), 200) > shrunk * 2


def test_one_window_moves_it_by_no_more_than_its_smoothing_allows() -> None:
    limit = make_limit()
    after(limit, seen(0.1), 1)
    before = limit.limit

    assert after(limit, seen(60.0), 1) >= before * 0.9


def test_latency_below_the_floor_is_never_taken_for_overload() -> None:
    limit = make_limit()
    after(limit, seen(0.001), 100)
    before = limit.limit

    assert after(limit, seen(FLOOR_S), 50) >= before


def test_a_change_in_the_mix_of_calls_is_not_taken_for_latency() -> None:
    limit = make_limit()
    for _ in range(100):
        limit.update([Latencies(1000, 100.0), Latencies(1, 2.0)], is_pressed=True)
    before = limit.limit
    for _ in range(20):
        limit.update([Latencies(1, 0.1), Latencies(1000, 2000.0)], is_pressed=True)

    assert limit.limit >= before


def test_a_limit_nobody_came_near_is_left_alone() -> None:
    limit = make_limit()

    for latency_s in (0.1, 5.0, 0.1):
        limit.update(seen(latency_s), is_pressed=False)

    assert limit.limit == 500


def test_a_window_in_which_nothing_ended_moves_nothing() -> None:
    limit = make_limit()

    assert limit.update(seen(0.0, 0.0), is_pressed=True) == 500


@given(
    windows=st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 10_000), st.floats(0, 1e6)), min_size=1, max_size=7),
            st.booleans(),
        ),
        max_size=50,
    )
)
def test_whatever_it_sees_it_stays_within_its_limits(
    windows: list[tuple[list[tuple[int, float]], bool]],
) -> None:
    limit = make_limit(100, low=50, high=150)

    for window, is_pressed in windows:
        moved = limit.update([Latencies(*each) for each in window], is_pressed=is_pressed)
        assert 50 <= moved <= 150
        assert moved == limit.limit


def test_a_most_below_the_usual_start_and_least_is_where_it_starts_and_stays() -> None:
    limit = GradientLimit.of(Settings(work_limit_max=100))

    assert (limit.limit, limit.high) == (100, 100)
    assert after(limit, seen(0.1), 10) == 100
    assert after(limit, seen(9.0), 10) == 100
