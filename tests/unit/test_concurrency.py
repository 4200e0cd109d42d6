"""The concurrency limiter: never more than the limit, each class its share, no place lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_service.http.concurrency import ConcurrencyLimiter
from quota_service.http.gradient import GradientLimit
from quota_service.http.priority import PARTS, Priority
from quota_service.observability.metrics import Metrics

CLASSES = sorted(PARTS)
LOWER_FIRST = [
    Priority.JOIN,
    Priority.PUBLIC_READ,
    Priority.OWN_READ,
    Priority.RESERVE,
    Priority.RELEASE,
]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def make_limiter(
    limit: int, *, low: int = 16, high: int = 4096, clock: Clock | None = None
) -> ConcurrencyLimiter:
    adaptive = GradientLimit(
        initial=limit, low=low, high=high, smoothing=0.2, tolerance=1.5, floor_s=0.05
    )
    return ConcurrencyLimiter(adaptive, Metrics(), window_s=0.1, clock=clock or Clock())


def fill(limiter: ConcurrencyLimiter, priority: Priority) -> int:
    """Let as much of a class in as may enter, and return how much that was."""
    count = 0
    while limiter.acquire(priority):
        count += 1
    return count


def steps() -> st.SearchStrategy[list[tuple[bool, Priority]]]:
    return st.lists(st.tuples(st.booleans(), st.sampled_from(CLASSES)), max_size=400)


@given(limit=st.integers(16, 200), steps=steps())
def test_there_is_never_more_at_work_than_the_limit_and_never_less_than_nothing(
    limit: int, steps: list[tuple[bool, Priority]]
) -> None:
    limiter = make_limiter(limit)
    inside = dict.fromkeys(CLASSES, 0)

    for enters, priority in steps:
        if enters:
            inside[priority] += limiter.acquire(priority)
        elif inside[priority]:
            limiter.release(priority)
            inside[priority] -= 1

        assert {priority: limiter.at_work(priority) for priority in CLASSES} == inside
        assert limiter.at_work() - limiter.at_work(Priority.CONFIRM) <= limit
        assert limiter.at_work(Priority.CONFIRM) <= limiter.guaranteed_for(Priority.CONFIRM)


@given(limit=st.integers(16, 500), order=st.permutations(CLASSES))
def test_a_class_always_gets_its_share_whatever_else_is_at_work(
    limit: int, order: list[Priority]
) -> None:
    limiter = make_limiter(limit)
    *others, last = order
    for priority in others:
        fill(limiter, priority)

    assert limiter.guaranteed_for(last) >= 1
    assert fill(limiter, last) >= limiter.guaranteed_for(last)
    assert limiter.at_work() - limiter.at_work(Priority.CONFIRM) <= limit


@given(limit=st.integers(16, 500), steps=steps())
def test_when_all_have_left_every_place_is_free_again(
    limit: int, steps: list[tuple[bool, Priority]]
) -> None:
    limiter = make_limiter(limit)
    alone = {priority: fill(make_limiter(limit), priority) for priority in CLASSES}
    inside = [priority for enters, priority in steps if enters and limiter.acquire(priority)]

    for priority in inside:
        limiter.release(priority)

    assert limiter.at_work() == 0
    for priority in CLASSES:
        assert fill(limiter, priority) == alone[priority]
        for _ in range(alone[priority]):
            limiter.release(priority)


@pytest.mark.parametrize("limit", [16, 100, 1024])
def test_the_class_that_matters_least_is_refused_first(limit: int) -> None:
    borrowed = {}
    for priority in CLASSES:
        limiter = make_limiter(limit)
        borrowed[priority] = fill(limiter, priority) - limiter.guaranteed_for(priority)

    places = [borrowed[priority] for priority in LOWER_FIRST]
    assert places == sorted(places)
    assert borrowed[Priority.JOIN] < borrowed[Priority.RESERVE]


def test_a_flood_of_the_lower_classes_leaves_room_to_borrow_for_the_higher() -> None:
    limiter = make_limiter(200)
    for priority in (Priority.JOIN, Priority.PUBLIC_READ, Priority.OWN_READ, Priority.RESERVE):
        fill(limiter, priority)

    assert fill(limiter, Priority.RELEASE) > limiter.guaranteed_for(Priority.RELEASE)


def test_payments_have_as_much_room_however_far_the_limit_has_shrunk() -> None:
    wide, shrunk = make_limiter(4000, high=4000), make_limiter(16, high=4000)
    fill(shrunk, Priority.RESERVE)

    assert fill(shrunk, Priority.CONFIRM) == fill(wide, Priority.CONFIRM) == 1000


def test_what_is_free_is_neither_counted_nor_refused() -> None:
    limiter = make_limiter(16)
    for priority in CLASSES:
        fill(limiter, priority)
    before = limiter.at_work()

    assert limiter.acquire(Priority.FREE)
    assert limiter.at_work() == before
    limiter.release(Priority.FREE, 0.1)
    assert limiter.at_work() == before


@given(times_s=st.lists(st.floats(0.001, 2), min_size=1, max_size=60))
def test_places_stay_right_while_the_limit_moves(times_s: list[float]) -> None:
    clock = Clock()
    limiter = make_limiter(300, clock=clock)
    kept_least = min(limiter.guaranteed_for(priority) for priority in CLASSES)
    for elapsed_s in times_s:
        entered = fill(limiter, Priority.RESERVE)
        clock.now_s += 0.2
        for _ in range(entered):
            limiter.release(Priority.RESERVE, elapsed_s)

        assert limiter.at_work() == 0
        assert 16 <= limiter.limit <= 4096
    assert kept_least >= 1
    assert fill(limiter, Priority.RELEASE) + fill(limiter, Priority.RESERVE) <= limiter.limit


def test_after_the_limit_has_shrunk_nobody_borrows_until_there_is_room_and_shares_still_hold() -> (
    None
):
    clock = Clock()
    limiter = make_limiter(1000, clock=clock)
    for _ in range(5):
        entered = fill(limiter, Priority.RESERVE)
        clock.now_s += 0.2
        for _ in range(entered):
            limiter.release(Priority.RESERVE, 0.01)
    high = limiter.limit
    inside = fill(limiter, Priority.RESERVE)
    for _ in range(10):
        clock.now_s += 0.2
        for _ in range(20):
            limiter.release(Priority.RESERVE, 5.0)
        fill(limiter, Priority.RESERVE)

    assert limiter.limit < high / 1.5
    assert not limiter.acquire(Priority.RESERVE)
    assert limiter.at_work() <= inside
    assert fill(limiter, Priority.RELEASE) == limiter.guaranteed_for(Priority.RELEASE)
