"""Exams that are over have their turns, a few at a time; those that go on come in every round."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from quota_service.registration.registry import ExamRegistry, Progress
from quota_service.workers import schedule
from quota_service.workers.schedule import Schedule


class Clock:
    """Stands for the monotonic clock."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(schedule, "time", clock)
    return clock


def registry(progress: Progress) -> ExamRegistry:
    known: Any = SimpleNamespace(progress=lambda: progress)
    return cast("ExamRegistry", known)


OLD = tuple(f"old-{n:03}" for n in range(120))


def test_the_first_round_looks_at_everything_and_the_next_at_what_goes_on(clock: Clock) -> None:
    turns = Schedule(registry(Progress(("now-1", "now-2"), OLD)), 60)

    first = turns.exams()
    clock.now_s += 0.2
    second = turns.exams()

    assert first == ["now-1", "now-2", *OLD]
    assert second == ["now-1", "now-2"]


def test_each_exam_that_is_over_has_its_turn_once_in_the_span(clock: Clock) -> None:
    turns = Schedule(registry(Progress((), OLD)), 60)
    turns.exams()

    seen = []
    for _ in range(240):
        clock.now_s += 0.25
        over = turns.exams()
        assert len(over) <= 3
        seen += over

    assert sorted(seen) == list(OLD)


def test_a_few_exams_that_are_over_have_their_turns_too(clock: Clock) -> None:
    turns = Schedule(registry(Progress((), ("old-1", "old-2"))), 60)
    turns.exams()

    seen = []
    for _ in range(130):
        clock.now_s += 1
        seen += turns.exams()

    assert seen == ["old-1", "old-2", "old-1", "old-2"]


def test_turns_that_were_missed_are_not_all_made_up_for(clock: Clock) -> None:
    turns = Schedule(registry(Progress((), OLD)), 60)
    turns.exams()

    clock.now_s += 86_400
    over = turns.exams()

    assert sorted(over) == list(OLD)
