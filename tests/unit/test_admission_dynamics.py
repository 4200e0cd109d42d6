"""How admission gets on with a service whose load comes late: candidates think before they reserve.

The service is a few lines: so many requests a second, a short queue, and 503 beyond it, after which
candidates come again. The settings are those that are shipped.
"""

import dataclasses
import math
import random
from collections import deque

import pytest

from quota_service.registration import admit
from quota_service.settings import Settings
from quota_service.waiting_room.admission import RANK_END, Demand, Policy, Progress, decide
from quota_service.waiting_room.signals import Report, Signals, Targets, add_up

SHIPPED, LIMITS = Settings(), admit.AdmissionLimits()
POLICY = Policy(
    targets=Targets(
        reserve_p99_ms=SHIPPED.admission_reserve_p99_target_ms,
        redis_p99_ms=admit.REDIS_P99_TARGET_MS,
        pool_wait_p99_ms=admit.POOL_WAIT_P99_TARGET_MS,
        failure_rate=admit.FAILURE_RATE_TARGET,
        backlog=admit.BACKLOG_TARGET,
        hold_after_s=LIMITS.hold_after_s,
        stop_after_s=LIMITS.stop_after_s,
    ),
    rate_min=1,
    rate_max=1000,
    places_max=1_000_000,
    rise_max=LIMITS.rise_max,
    fall_effect_s=admit.FALL_EFFECT_S,
)
ENDLESS = Demand(drawn=0, claimed=0, last_number=10**9, places=0)
REQUESTS_EACH = 2


@dataclasses.dataclass(slots=True)
class BoundedService:
    """Answers `capacity` requests a second, keeps a third of that waiting, and turns more away."""

    capacity: int
    waiting: float = 0.0
    seen: deque[tuple[float, float, float]] = dataclasses.field(
        default_factory=lambda: deque(maxlen=3)
    )

    def second(self, arriving: float) -> tuple[float, float]:
        """Take a second's requests; return how many were answered and how many turned away."""
        offered = arriving + self.waiting
        answered = min(offered, self.capacity)
        self.waiting = min(offered - answered, 0.3 * self.capacity)
        turned_away = offered - answered - self.waiting
        idle = max(0.05, 1 - min(arriving / self.capacity, 1))
        self.seen.append((offered, turned_away, 10 / idle + 1000 * self.waiting / self.capacity))
        return answered, turned_away

    def signals(self) -> Signals:
        """Return what a process would report."""
        return Signals(
            requests=round(sum(offered for offered, _, _ in self.seen)),
            failures=round(sum(away for _, away, _ in self.seen)),
            reserve_p99_ms=max(p99_ms for _, _, p99_ms in self.seen),
            redis_p99_ms=None,
            pool_wait_p99_ms=None,
            backlog=0,
        )


@pytest.mark.parametrize("capacity", [100, 400])
@pytest.mark.parametrize(("think_s", "share"), [(2, 0.8), (8, 0.7)])
def test_a_rate_that_finds_its_own_way_uses_what_there_is_without_breaking_down(
    capacity: int, think_s: float, share: float
) -> None:
    chance, service = random.Random(1), BoundedService(capacity)  # noqa: S311
    progress = Progress(rate=20, fixed_rate=None, is_paused=False, threshold=RANK_END, serving=0)
    arriving: dict[int, float] = {}
    answered, rates, fell_s = [], [], -math.inf
    for now_s in range(600):
        done, turned_away = service.second(arriving.pop(now_s, 0.0))
        for delay_s in (1, 2, 3):
            arriving[now_s + delay_s] = arriving.get(now_s + delay_s, 0.0) + turned_away / 3
        load = add_up([Report("process", 0.5, service.signals())], POLICY.targets)
        progress = dataclasses.replace(progress, since_fall_s=now_s - fell_s)
        taken = decide(progress, ENDLESS, load, POLICY, 1.0)
        fell_s = now_s if taken.has_fallen else fell_s
        for _ in range(taken.serving - progress.serving):
            for nth in range(1, REQUESTS_EACH + 1):
                at = now_s + 1 + max(0, round(chance.gauss(think_s * nth, think_s / 3)))
                arriving[at] = arriving.get(at, 0.0) + 1
        progress = dataclasses.replace(
            progress, rate=taken.rate, serving=taken.serving, carry=taken.carry
        )
        answered.append(done)
        rates.append(taken.rate)

    assert sum(answered[200:]) >= share * 400 * capacity
    assert min(rates[200:]) >= 0.15 * capacity / REQUESTS_EACH
