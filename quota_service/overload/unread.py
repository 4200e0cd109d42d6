"""How many requests may wait in their sockets until they are read.

The gate bounds what is at work; what waits in front of it is bounded here. The bound is a time,
because that is what a caller feels: as many may wait as are read within that time at the pace of
the last moments. Who comes then is turned away at once instead of after a wait that would have been
for nothing. The pace is only learned while some wait: an idle reader has none.
"""

import time
from collections.abc import Callable

from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings

_LIMIT_MIN = 512
"""Never fewer: a burst of this size is over before its last one could come again."""
_MEMORY_S = 0.5
"""How much of the past the pace is taken from."""
_REFUSING_SHARE = 0.1
"""The most of the time that is spent on turning away."""
_REFUSING_MAX_S = 0.02
"""The most time saved up for it."""
_REFUSAL_S = 50e-6
"""What a refusal is taken to cost until some were made."""
_PAUSE_S = 1.0
"""A turn that took longer was no reading: the whole process stood still."""


class UnreadLimit:
    """Follows the pace of reading; one for each process."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        wait_max_s: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.limit = _LIMIT_MIN
        """How many may wait, by now."""
        self.waiting = 0
        """How many do; told by the reader."""
        self._wait_max_s = wait_max_s
        self._clock = clock
        self._each_s: float | None = None
        self._turn_began_at = 0.0
        self._read = 0
        self._refusing_s = 0.0
        self._refusal_s = _REFUSAL_S
        self._waiting_gauge = metrics.requests_unread
        self._limit_gauge = metrics.unread_limit

    @classmethod
    def of(cls, settings: Settings, metrics: Metrics) -> "UnreadLimit":
        """Return the limit the settings ask for."""
        return cls(metrics, wait_max_s=settings.unread_wait_max_ms / 1000)

    def begin_turn(self) -> None:
        """Learn from the turn before, which has had its time by now."""
        now = self._clock()
        took_s = now - self._turn_began_at
        self._turn_began_at = now
        self._refusing_s = min(self._refusing_s + took_s * _REFUSING_SHARE, _REFUSING_MAX_S)
        if self._read and took_s < _PAUSE_S:
            each_s = took_s / self._read
            weight = min(took_s / _MEMORY_S, 1.0)
            before_s = each_s if self._each_s is None else self._each_s
            self._each_s = before_s + (each_s - before_s) * weight
            self.limit = max(_LIMIT_MIN, int(self._wait_max_s / self._each_s))
        self._read = 0

    def may_turn_away(self) -> int:
        """Return how many may be turned away by the reader itself, now.

        That has a small share of the time and no more, or it would leave none for service: what is
        beyond it waits in its socket.
        """
        return max(int(self._refusing_s / self._refusal_s), 0)

    def turned_away(self, count: int, took_s: float) -> None:
        """Learn what it took to turn some away."""
        if not count:
            return
        self._refusing_s -= took_s
        weight = min(took_s / _MEMORY_S, 1.0)
        self._refusal_s += (took_s / count - self._refusal_s) * weight

    def end_turn(self, read: int, waiting: int) -> None:
        """Note how many requests a turn read for service, and how many wait for the next."""
        # With nobody waiting the time until the next turn is idle: nothing is learned of it.
        self._read = read if waiting else 0
        self.waiting = waiting

    async def show(self) -> None:
        """Bring the gauges up to date."""
        self._waiting_gauge.set(self.waiting)
        self._limit_gauge.set(self.limit)
