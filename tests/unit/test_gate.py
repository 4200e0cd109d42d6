"""The gate: never more at work than the limit, each class its share, no place lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quota_service.observability.metrics import Metrics
from quota_service.overload.classes import PARTS, Work
from quota_service.overload.gate import Gate
from quota_service.overload.gradient import GradientLimit

CLASSES = sorted(PARTS)
LOWER_FIRST = [Work.JOIN, Work.PUBLIC_READ, Work.OWN_READ, Work.RESERVE, Work.RELEASE]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def make_gate(limit: int, *, low: int = 16, high: int = 4096, clock: Clock | None = None) -> Gate:
    adaptive = GradientLimit(
        initial=limit, low=low, high=high, smoothing=0.2, tolerance=1.5, floor_s=0.05
    )
    return Gate(adaptive, Metrics(), window_s=0.1, clock=clock or Clock())


def fill(gate: Gate, work: Work) -> int:
    """Let as much of a class in as may enter, and return how much that was."""
    count = 0
    while gate.enter(work):
        count += 1
    return count


def steps() -> st.SearchStrategy[list[tuple[bool, Work]]]:
    return st.lists(st.tuples(st.booleans(), st.sampled_from(CLASSES)), max_size=400)


@given(limit=st.integers(16, 200), steps=steps())
def test_there_is_never_more_at_work_than_the_limit_and_never_less_than_nothing(
    limit: int, steps: list[tuple[bool, Work]]
) -> None:
    gate = make_gate(limit)
    inside = dict.fromkeys(CLASSES, 0)

    for enters, work in steps:
        if enters:
            inside[work] += gate.enter(work)
        elif inside[work]:
            gate.leave(work)
            inside[work] -= 1

        assert {work: gate.at_work(work) for work in CLASSES} == inside
        assert gate.at_work() - gate.at_work(Work.CONFIRM) <= limit
        assert gate.at_work(Work.CONFIRM) <= gate.kept_for(Work.CONFIRM)


@given(limit=st.integers(16, 500), order=st.permutations(CLASSES))
def test_a_class_always_gets_its_share_whatever_else_is_at_work(
    limit: int, order: list[Work]
) -> None:
    gate = make_gate(limit)
    *others, last = order
    for work in others:
        fill(gate, work)

    assert gate.kept_for(last) >= 1
    assert fill(gate, last) >= gate.kept_for(last)
    assert gate.at_work() - gate.at_work(Work.CONFIRM) <= limit


@given(limit=st.integers(16, 500), steps=steps())
def test_when_all_have_left_every_place_is_free_again(
    limit: int, steps: list[tuple[bool, Work]]
) -> None:
    gate = make_gate(limit)
    alone = {work: fill(make_gate(limit), work) for work in CLASSES}
    inside = [work for enters, work in steps if enters and gate.enter(work)]

    for work in inside:
        gate.leave(work)

    assert gate.at_work() == 0
    for work in CLASSES:
        assert fill(gate, work) == alone[work]
        for _ in range(alone[work]):
            gate.leave(work)


@pytest.mark.parametrize("limit", [16, 100, 1024])
def test_the_class_that_matters_least_is_refused_first(limit: int) -> None:
    borrowed = {}
    for work in CLASSES:
        gate = make_gate(limit)
        borrowed[work] = fill(gate, work) - gate.kept_for(work)

    places = [borrowed[work] for work in LOWER_FIRST]
    assert places == sorted(places)
    assert borrowed[Work.JOIN] < borrowed[Work.RESERVE]


def test_a_flood_of_the_lower_classes_leaves_room_to_borrow_for_the_higher() -> None:
    gate = make_gate(200)
    for work in (Work.JOIN, Work.PUBLIC_READ, Work.OWN_READ, Work.RESERVE):
        fill(gate, work)

    assert fill(gate, Work.RELEASE) > gate.kept_for(Work.RELEASE)


def test_payments_have_as_much_room_however_far_the_limit_has_shrunk() -> None:
    wide, shrunk = make_gate(4000, high=4000), make_gate(16, high=4000)
    fill(shrunk, Work.RESERVE)

    assert fill(shrunk, Work.CONFIRM) == fill(wide, Work.CONFIRM) == 1000


def test_what_is_free_is_neither_counted_nor_refused() -> None:
    gate = make_gate(16)
    for work in CLASSES:
        fill(gate, work)
    before = gate.at_work()

    assert gate.enter(Work.FREE)
    assert gate.at_work() == before
    gate.leave(Work.FREE, 0.1)
    assert gate.at_work() == before


@settings(deadline=None)
@given(times_s=st.lists(st.floats(0.001, 2), min_size=1, max_size=60))
def test_places_stay_right_while_the_limit_moves(times_s: list[float]) -> None:
    clock = Clock()
    gate = make_gate(300, clock=clock)
    kept_least = min(gate.kept_for(work) for work in CLASSES)
    for elapsed_s in times_s:
        entered = fill(gate, Work.RESERVE)
        clock.now_s += 0.2
        for _ in range(entered):
            gate.leave(Work.RESERVE, elapsed_s)

        assert gate.at_work() == 0
        assert 16 <= gate.limit <= 4096
    assert kept_least >= 1
    assert fill(gate, Work.RELEASE) + fill(gate, Work.RESERVE) <= gate.limit


def test_after_the_limit_has_shrunk_nobody_borrows_until_there_is_room_and_shares_still_hold() -> (
    None
):
    clock = Clock()
    gate = make_gate(1000, clock=clock)
    for _ in range(5):
        entered = fill(gate, Work.RESERVE)
        clock.now_s += 0.2
        for _ in range(entered):
            gate.leave(Work.RESERVE, 0.01)
    high = gate.limit
    inside = fill(gate, Work.RESERVE)
    for _ in range(10):
        clock.now_s += 0.2
        for _ in range(20):
            gate.leave(Work.RESERVE, 5.0)
        fill(gate, Work.RESERVE)

    assert gate.limit < high / 1.5
    assert not gate.enter(Work.RESERVE)
    assert gate.at_work() <= inside
    assert fill(gate, Work.RELEASE) == gate.kept_for(Work.RELEASE)


def test_it_is_alert_from_a_quarter_of_the_limit_and_calm_again_after_a_quiet_window() -> None:
    clock = Clock()
    gate = make_gate(400, clock=clock)

    def serve(count: int) -> bool:
        """Have so many at work at once, let them out at the end of a window, and look."""
        for _ in range(count):
            assert gate.enter(Work.RESERVE)
        was_alert = gate.is_alert
        clock.now_s += 1.0
        for _ in range(count):
            gate.leave(Work.RESERVE, 0.001)
        return was_alert

    assert not serve(50)
    assert serve(100)
    serve(20)
    assert not gate.is_alert


def test_a_refusal_makes_it_alert() -> None:
    gate = make_gate(16)
    fill(gate, Work.JOIN)

    assert gate.is_alert
