"""What this process saw in the last seconds, for the admission of the waiting room.

It is read off the histograms that are kept for ops anyway, as the difference between two looks at
them, so that it costs a look a second and nothing at all on the way of a request.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import Histogram

from quota_service.domain.errors import Paused
from quota_service.observability.metrics import Metrics
from quota_service.waiting_room.signals import Signals

_LOOKS = 3
"""The window is as long as this many pauses between looks: one second alone is too noisy."""
_QUANTILE = 0.99
_RESERVE = ("POST", "/v1/exams/{exam}/reservations")
_CALLBACK = ("POST", "/v1/payment-callbacks")
_DONE, _FAILED = ("200", "201", "409"), ("500", "503")
"""How a request ends that the stores had to do with; others are turned down before, and quickly."""
_SCRIPTS = ("report", "reserve", "begin_payment", "confirm")
"""The scripts that candidates wait for; a report is made each second, also without requests."""

Buckets = Counter[float]
"""How many observations were at most so many seconds, by that bound."""


@dataclass(frozen=True, slots=True)
class _Look:
    """Everything counted since the process started."""

    requests: int
    failures: int
    reserve: Buckets
    redis: Buckets
    pool_wait: Buckets


class LoadWindow:
    """The window of one process; `backlog` returns how many payments wait for a transaction."""

    def __init__(self, metrics: Metrics, backlog: Callable[[], int]) -> None:
        self._backlog = backlog
        self._reserved, self._not_reserved = _answers(metrics, *_RESERVE)
        self._paid, self._not_paid = _answers(metrics, *_CALLBACK)
        self._scripts = [metrics.script_duration.labels(script=name) for name in _SCRIPTS]
        self._pool_wait = metrics.pool_wait
        self._reservations = metrics.reservations
        self._looks = deque([self._look()], maxlen=_LOOKS + 1)

    def read(self) -> Signals:
        """Return what was seen since the oldest look, and let this one be the newest."""
        self._looks.append(self._look())
        before, now = self._looks[0], self._looks[-1]
        return Signals(
            requests=now.requests - before.requests,
            failures=now.failures - before.failures,
            reserve_p99_ms=_quantile_ms(_since(before.reserve, now.reserve)),
            redis_p99_ms=_quantile_ms(_since(before.redis, now.redis)),
            pool_wait_p99_ms=_quantile_ms(_since(before.pool_wait, now.pool_wait)),
            backlog=self._backlog(),
        )

    def _look(self) -> _Look:
        reserve = _counted([*self._reserved, *self._not_reserved])
        failures = _counted([*self._not_reserved, *self._not_paid])
        everything = reserve + _counted([*self._paid, *self._not_paid])
        return _Look(
            _total(everything),
            _total(failures) - self._paused(),
            reserve,
            _counted(self._scripts),
            _counted([self._pool_wait]),
        )

    def _paused(self) -> int:
        """Return how many orders were refused because ops have paused what they ask for."""
        return sum(
            int(sample.value)
            for metric in self._reservations.collect()
            for sample in metric.samples
            if sample.name.endswith("_total") and sample.labels["outcome"] == Paused.slug
        )


def _answers(metrics: Metrics, method: str, route: str) -> tuple[list[Histogram], list[Histogram]]:
    """Return the histograms of a call's answers: those that did, and those that failed."""
    done, failed = (
        [metrics.http_duration.labels(method=method, route=route, status=s) for s in statuses]
        for statuses in (_DONE, _FAILED)
    )
    return done, failed


def _counted(histograms: Iterable[Histogram]) -> Buckets:
    """Return the buckets of histograms, added up."""
    found: Buckets = Counter()
    for histogram in histograms:
        for metric in histogram.collect():
            for sample in metric.samples:
                if sample.name.endswith("_bucket"):
                    found[float(sample.labels["le"])] += int(sample.value)
    return found


def _total(buckets: Buckets) -> int:
    return max(buckets.values(), default=0)


def _since(before: Buckets, now: Buckets) -> Buckets:
    """Return what was observed between two looks, bounds that saw nothing included."""
    return Counter({bound_s: count - before[bound_s] for bound_s, count in now.items()})


def _quantile_ms(buckets: Buckets) -> float | None:
    """Return the quantile in ms, evenly spread within its bucket; None without observations.

    Longer times than the last bound count as the last bound.
    """
    total = _total(buckets)
    if total == 0:
        return None
    # The slowest of a few is one bad moment, not how they fare: alone it is left out.
    wanted, low_s, below = max(min(_QUANTILE * total, total - 1), _QUANTILE), 0.0, 0
    for bound_s, count in sorted(buckets.items()):
        if count >= wanted:
            if bound_s == float("inf"):
                break
            return 1000 * (low_s + (bound_s - low_s) * (wanted - below) / (count - below))
        low_s, below = bound_s, count
    return 1000 * low_s
