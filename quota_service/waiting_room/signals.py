"""What the API processes report each second about how they bear the load, and what it adds up to.

Every process reports its last window; the admission reads all reports at once. The
worst of each latency counts, because candidates meet the slow process as often as the quick ones.
A process that has fallen silent is no good news: nothing is concluded from what is not heard.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

_REQUESTS_MIN = 20
"""With fewer requests there is no failure rate: one failure among two is not a rate of a half."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What one API process saw in its last window; a p99 is None when nothing was measured.

    `requests` and `failures` count reservations and payment callbacks, the failures those that were
    answered 5xx. `backlog` is how many payments wait for a transaction.
    """

    requests: int
    failures: int
    reserve_p99_ms: float | None
    redis_p99_ms: float | None
    pool_wait_p99_ms: float | None
    backlog: int

    def text(self) -> str:
        """Return the form in which Redis keeps it."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Report:
    """The last signals of one process and how old they are by Redis's clock.

    `signals` is None when they are not understood, as those of another version may not be.
    """

    process: str
    age_s: float
    signals: Signals | None


@dataclass(frozen=True, slots=True)
class Targets:
    """What the service shall look like while candidates are admitted."""

    reserve_p99_ms: float
    redis_p99_ms: float
    pool_wait_p99_ms: float
    failure_rate: float
    backlog: float
    hold_after_s: float
    stop_after_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """All processes together.

    `value` is the worst measure as a share of its target, named by `cause`: 1 is as much as the
    service shall bear. `silent_s` is the age of the youngest report, infinite when there is none.
    `is_complete` when no process known lately is silent.
    """

    value: float
    cause: str
    failure_rate: float
    silent_s: float
    is_complete: bool


def parse_signals(text: str) -> Signals | None:
    """Return the signals in a text, or None when it is none that this version understands."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    names = {field.name for field in dataclasses.fields(Signals)}
    if not isinstance(found, dict) or not names <= found.keys():
        return None
    values = {name: found[name] for name in names}
    if all(_is_measure(name, value) for name, value in values.items()):
        return Signals(**values)
    return None


def add_up(reports: Sequence[Report], targets: Targets) -> Load:
    """Return the load of all processes by their reports."""
    understood = [(report.age_s, report.signals) for report in reports if report.signals]
    fresh = [signals for age_s, signals in understood if age_s <= targets.hold_after_s]
    requests = sum(signals.requests for signals in fresh)
    failures = sum(signals.failures for signals in fresh)
    failure_rate = failures / max(requests, _REQUESTS_MIN)
    shares: Mapping[str, float] = {
        "reserve_p99": _worst(s.reserve_p99_ms for s in fresh) / targets.reserve_p99_ms,
        "redis_p99": _worst(s.redis_p99_ms for s in fresh) / targets.redis_p99_ms,
        "pool_wait_p99": _worst(s.pool_wait_p99_ms for s in fresh) / targets.pool_wait_p99_ms,
        "failure_rate": failure_rate / targets.failure_rate,
        "backlog": sum(signals.backlog for signals in fresh) / targets.backlog,
    }
    cause = max(shares, key=lambda name: shares[name])
    return Load(
        value=shares[cause],
        cause=cause,
        failure_rate=failure_rate,
        silent_s=min((age_s for age_s, _ in understood), default=math.inf),
        is_complete=bool(fresh) and len(fresh) == len(reports),
    )


def _worst(measures: Iterable[float | None]) -> float:
    return max((measure for measure in measures if measure is not None), default=0.0)


def _is_measure(name: str, value: object) -> bool:
    if value is None:
        return name.endswith("_ms")
    kinds = (int, float) if name.endswith("_ms") else (int,)
    if isinstance(value, bool) or not isinstance(value, kinds):
        return False
    return math.isfinite(value) and value >= 0
