"""Goals of latency that a run reaches or misses: `reserve:p99=250`, in milliseconds."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.rush.figures import PERCENTILES, Figures

MAX = "max"
MEASURES = (*(f"p{percent}" for percent in PERCENTILES), MAX)
STEPS = (
    "availability",
    "callback",
    "change",
    "checkout",
    "claim",
    "join",
    "look at exam",
    "own reads",
    "poll",
    "refund",
    "release",
    "repeat",
    "reserve",
)
"""The calls of candidates and provider that a goal can be set for."""


@dataclass(frozen=True, slots=True)
class Goal:
    """The time that a measure of a step's answers must not exceed."""

    step: str
    measure: str
    limit_ms: float


@dataclass(frozen=True, slots=True)
class Reached:
    """A goal and what was measured, None when the step was never called: that is missed, too."""

    goal: Goal
    took_ms: float | None

    @property
    def is_met(self) -> bool:
        """Whether the goal was reached."""
        return self.took_ms is not None and self.took_ms <= self.goal.limit_ms


def read_goal(text: str) -> Goal:
    """Return the goal that `STEP:MEASURE=MS` says; ValueError says what is wrong."""
    name, _, limit = text.partition("=")
    step, _, measure = name.partition(":")
    if step not in STEPS:
        raise ValueError(f"{step!r} is no step; the steps are {', '.join(STEPS)}")
    if measure not in MEASURES:
        raise ValueError(f"{measure!r} is not measured; {', '.join(MEASURES)} are")
    try:
        limit_ms = float(limit)
    except ValueError:
        limit_ms = 0.0
    if not 0 < limit_ms < float("inf"):
        raise ValueError(f"{limit!r} is no time in milliseconds above 0")
    return Goal(step, measure, limit_ms)


def reached(goals: Sequence[Goal], found: Figures) -> list[Reached]:
    """Return what was measured for each goal."""
    took = {
        (times.step, measure): ms
        for times in found.steps
        for measure, ms in zip(MEASURES, (*times.percentiles_ms, times.longest_ms), strict=True)
    }
    return [Reached(goal, took.get((goal.step, goal.measure))) for goal in goals]
