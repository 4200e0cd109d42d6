"""How many requests may be in progress at once, by class, within a limit that adapts.

Each class has a guaranteed part of the limit, payments beside the limit; the rest is shared, and
the classes that matter least are refused first. A slot is taken and given back
by a few integer operations, as every request does both. No request waits for a slot: they wait
before in the fair queue and afterwards for a batch, and a third queue would only delay the
refusal.
"""

import time
from collections.abc import Callable

from quota_service.http.gradient import GradientLimit, Latencies
from quota_service.http.priority import PARTS, Priority
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings

_CLASSES = tuple(PARTS)
_SAMPLED = frozenset(_CLASSES) - {Priority.OPS}
"""Classes whose latency says how busy the process is; an export takes as long as its reader."""

_WINDOW_S = 0.1
"""How often the limit is moved, at most."""
_SAMPLES_MIN = 10
"""Requests a window has to see before it closes: one slow answer is no trend."""


class ConcurrencyLimiter:
    """Counts requests in progress and decides whether another may start; one for each process.

    A request that `acquire` let in has to `release`, however it ends.
    """

    def __init__(
        self,
        limit: GradientLimit,
        metrics: Metrics,
        *,
        window_s: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._refused_total = {
            (priority, reason): metrics.requests_refused.labels(work=priority.label, reason=reason)
            for priority in _CLASSES
            for reason in ("limit", "queue", "deadline", "caller_left")
        }
        self._at_work = [0] * len(Priority)
        self._guaranteed = [0] * len(Priority)
        self._ceiling = [0] * len(Priority)
        self._all = 0
        self._shared = 0
        self._refused = 0
        self._counts = [0] * len(Priority)
        self._totals_s = [0.0] * len(Priority)
        self._opened_at = clock()
        self._closes_at = self._opened_at + window_s
        self._deal()
        self._limit_gauge = metrics.work_limit
        self._gauges = {
            priority: metrics.requests_at_work.labels(work=priority.label) for priority in _CLASSES
        }

    @classmethod
    def of(cls, settings: Settings, metrics: Metrics) -> "ConcurrencyLimiter":
        """Return the limiter the settings ask for."""
        return cls(GradientLimit.of(settings), metrics, window_s=_WINDOW_S)

    @property
    def limit(self) -> int:
        """The current limit of requests in progress."""
        return self._limit.limit

    def at_work(self, priority: Priority | None = None) -> int:
        """Return how many requests are in progress, of one class or of all but FREE ones."""
        return self._all if priority is None else self._at_work[priority]

    def guaranteed_for(self, priority: Priority) -> int:
        """Return how many requests of a class may be in progress at any load of the others."""
        return self._guaranteed[priority]

    def acquire(self, priority: Priority) -> bool:
        """Count a request of a class as in progress; return whether the limit allows it."""
        if priority is Priority.FREE:
            return True
        at_work = self._at_work[priority]
        if at_work >= self._guaranteed[priority]:
            if self._shared >= self._ceiling[priority]:
                self._refused += 1
                return False
            self._shared += 1
        self._at_work[priority] = at_work + 1
        self._all += 1
        return True

    def release(self, priority: Priority, elapsed_s: float | None = None) -> None:
        """Count a request as ended; `elapsed_s` is its duration, None when it was not answered."""
        if priority is Priority.FREE:
            return
        at_work = self._at_work[priority]
        if at_work > self._guaranteed[priority]:
            self._shared -= 1
        self._at_work[priority] = at_work - 1
        self._all -= 1
        if elapsed_s is not None:
            self._counts[priority] += 1
            self._totals_s[priority] += elapsed_s
        now = self._clock()
        if now >= self._closes_at and sum(self._counts) >= _SAMPLES_MIN:
            self._close_window(now)

    async def show(self) -> None:
        """Bring the gauges up to date; once a second is often enough, each request is too often."""
        self._limit_gauge.set(self._limit.limit)
        for priority, gauge in self._gauges.items():
            gauge.set(self._at_work[priority])

    def count_refusal(self, priority: Priority, reason: str = "limit", count: int = 1) -> None:
        """Count requests that were turned away, for the metrics."""
        if count and priority is not Priority.FREE:
            self._refused_total[priority, reason].inc(count)

    def _close_window(self, now: float) -> None:
        """Move the limit by what the window has shown, and begin the next."""
        before = self._limit.limit
        seen = [
            Latencies(
                self._counts[priority] if priority in _SAMPLED else 0, self._totals_s[priority]
            )
            for priority in _CLASSES
        ]
        # By Little's law the times spent in a window add up to the average number in progress.
        busy = sum(self._totals_s) / (now - self._opened_at)
        self._limit.update(seen, is_pressed=self._refused > 0 or busy * 2 >= before)
        self._refused = 0
        self._counts = [0] * len(Priority)
        self._totals_s = [0.0] * len(Priority)
        self._opened_at = now
        self._closes_at = now + self._window_s
        if self._limit.limit != before:
            self._deal()

    def _deal(self) -> None:
        """Deal the limit out to the classes."""
        limit = self._limit.limit
        for priority, part in PARTS.items():
            of_what = self._limit.high if priority is Priority.CONFIRM else limit
            self._guaranteed[priority] = max(int(of_what * part.share), 1)
        rest = limit - sum(self._guaranteed) + self._guaranteed[Priority.CONFIRM]
        for priority, part in PARTS.items():
            self._ceiling[priority] = int(rest * part.ceiling)
        # Under another limit other requests are in the shared part.
        self._shared = sum(
            max(self._at_work[priority] - self._guaranteed[priority], 0) for priority in PARTS
        )
