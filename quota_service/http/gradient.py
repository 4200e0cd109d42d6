"""The limit on work in progress, found by the gradient of latency.

Once a process is saturated, more work at once only makes everybody wait. So the limit follows the
ratio of the latency of the last moments to the latency of the last minutes, as in the Gradient2
limit of Netflix's concurrency-limits: when requests take longer than they did, the limit shrinks by
that ratio; else it grows by the square root of itself, which allows a short queue.

Two things are our own. Latencies are compared class by class, so that a change in the mix of calls
is not taken for a change in latency. And a latency under a floor is never taken for overload: one
event loop that serves a burst takes longer than an idle one without being in trouble.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quota_service.settings import Settings

INITIAL = 2048
"""Requests at work at once, at the start."""
_LOW = 512
"""The least the limit adapts to."""
_SMOOTHING = 0.2
"""How far one window moves the limit towards what it has shown."""
_TOLERANCE = 1.5
"""How many times its usual latency a request may take before the limit shrinks."""
_GRADIENT_MIN = 0.5
"""The most that one window can ask to shrink: one bad moment must not close the service."""
_LONG_WINDOWS = 600
"""Over how many windows the long-term latency is averaged."""
_RECOVERED = 2.0
"""How many times the latency of now the long-term one may be before it is brought down faster."""
_RECOVERY = 0.95


@dataclass(frozen=True, slots=True)
class LatencyFloor:
    """A latency that is never taken for overload."""

    floor_ms: float = 200.0


@dataclass(frozen=True, slots=True)
class Latencies:
    """What one window saw of a class: how many requests ended and the sum of their times."""

    count: int
    total_s: float


class GradientLimit:
    """The limit, brought up to date once a window."""

    def __init__(
        self,
        *,
        initial: int,
        low: int,
        high: int,
        smoothing: float,
        tolerance: float,
        floor_s: float,
    ) -> None:
        """Where `low` is above `high`, or `initial` outside of both, the nearest value is taken."""
        self._low = min(low, high)
        self._high = high
        self._smoothing = smoothing
        self._tolerance = tolerance
        self._floor_s = floor_s
        self._limit = float(min(max(initial, self._low), high))
        self._long_s: dict[int, float] = {}

    @classmethod
    def of(cls, settings: Settings) -> "GradientLimit":
        """Return the limit the settings ask for."""
        return cls(
            initial=INITIAL,
            low=_LOW,
            high=settings.work_limit_max,
            smoothing=_SMOOTHING,
            tolerance=_TOLERANCE,
            floor_s=settings.limits_of(LatencyFloor).floor_ms / 1000,
        )

    @property
    def limit(self) -> int:
        """The limit of requests in progress."""
        return int(self._limit)

    @property
    def high(self) -> int:
        """The most it adapts to."""
        return self._high

    def update(self, seen: Sequence[Latencies], *, is_pressed: bool) -> int:
        """Learn from one window, class by class, and return the limit.

        A limit that was not approached says nothing about capacity, so it moves only when
        `is_pressed`: when a request was refused, or half of it was in use.
        """
        gradient = self._gradient(seen)
        if gradient is not None and is_pressed:
            wanted = self._limit * gradient + math.sqrt(self._limit)
            moved = self._limit + (wanted - self._limit) * self._smoothing
            self._limit = min(max(moved, self._low), self._high)
        return self.limit

    def _gradient(self, seen: Sequence[Latencies]) -> float | None:
        """Return by how much latencies have risen, from 0.5 to 1 (not at all); None unseen."""
        weighted, counted = 0.0, 0
        for number, window in enumerate(seen):
            if window.count:
                short_s = window.total_s / window.count
                usual_s = max(self._learn(number, short_s), self._floor_s)
                gradient = 1.0 if short_s <= 0 else self._tolerance * usual_s / short_s
                weighted += min(max(gradient, _GRADIENT_MIN), 1.0) * window.count
                counted += window.count
        return weighted / counted if counted else None

    def _learn(self, number: int, short_s: float) -> float:
        """Move the long-term latency of a class by one window and return it."""
        long_s = self._long_s.get(number, short_s)
        long_s += (short_s - long_s) / _LONG_WINDOWS
        if long_s > short_s * _RECOVERED:
            long_s *= _RECOVERY
        self._long_s[number] = long_s
        return long_s
