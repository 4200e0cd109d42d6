"""A seeded simulation of an opening, second by second: who waits, holds, pays, and what is asked.

Every candidate who came waits or was let in; every one let in has a hold or was refused; every hold
is live, paid or expired: `Day.check` holds the figures to that. Chance decides when they come and
who pays.
"""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from loadtest.capacity.crowd import ExamCrowd
from loadtest.capacity.units import Units

_POLLS_TO_TURN = 10
"""How often a candidate polls before its turn, as the service asks for."""

_CACHED_POLLS = 10
"""Polls in a second that shared caches let through: each asks once a second."""

_PARTS_MAX = 20
"""The payments of one second's holds are spread over so many later seconds."""

_GOLDEN = 0.618034
"""Its multiples are evenly spread between whole numbers."""


@dataclass(slots=True)
class Day:
    """What happened: requests by kind in each second, and where everybody is at the end."""

    exam: ExamCrowd
    requests: list[Mapping[str, int]] = field(default_factory=list)
    come: int = 0
    waiting: int = 0
    admitted: int = 0
    refused: int = 0
    live: int = 0
    paid: int = 0
    expired: int = 0
    seats_left: int = 0
    queue_max: int = 0
    wait_max_s: float = 0.0
    polls_max: int = 0
    """Polls of the waiting room in the worst second, also those that a cache answers."""
    sold_at_s: int | None = None
    """When no seat was left, from the opening."""

    @property
    def held(self) -> int:
        """All holds that were made; Redis keeps each for a day after its end at least."""
        return self.live + self.paid + self.expired

    def total(self, kind: str) -> int:
        """Return how many requests of a kind there were."""
        return sum(asked.get(kind, 0) for asked in self.requests)

    def check(self) -> None:
        """Raise AssertionError unless everybody is somewhere, and every seat too."""
        sums = {
            "candidates who came": (self.come, self.waiting + self.admitted),
            "candidates let in": (self.admitted, self.held + self.refused),
            "seats": (self.exam.seats, self.seats_left + self.live + self.paid),
        }
        for name, (whole, parts) in sums.items():
            if whole != parts:
                raise AssertionError(f"{self.exam.name}: {name}: {whole} are not {parts}")


def simulate(exam: ExamCrowd, units: Units, seed: int) -> Day:
    """Return the day of one exam; the same seed gives the same day."""
    chance = random.Random(f"{seed}/{exam.name}")  # noqa: S311  a simulation
    day = Day(exam, seats_left=exam.seats)
    payments: Counter[int] = Counter()
    ends: Counter[int] = Counter()
    for at_s in range(exam.begins_s, exam.ends_s):
        asked: dict[str, int] = {}
        come = _arrivals(exam, at_s, day.come, chance)
        day.come += come
        day.waiting += come
        if exam.rate_per_s is not None:
            asked["draw" if at_s < 0 else "join"] = come
            polls = _polls(day.waiting, exam.rate_per_s, at_s, units)
            day.polls_max = max(day.polls_max, polls)
            asked["poll"] = min(polls, _CACHED_POLLS) if exam.is_cached else polls
        admitted = 0
        if at_s >= 0:
            admitted = min(day.waiting, exam.rate_per_s or day.waiting)
        day.waiting -= admitted
        day.admitted += admitted
        if exam.rate_per_s is not None:
            asked["claim"] = admitted
            if at_s >= 0:
                day.queue_max = max(day.queue_max, day.waiting)
                day.wait_max_s = max(day.wait_max_s, day.waiting / exam.rate_per_s)
        held = min(admitted, day.seats_left)
        day.refused += admitted - held
        day.seats_left -= held
        if not day.seats_left and day.sold_at_s is None:
            day.sold_at_s = at_s
        day.live += held
        asked["reserve"] = held
        asked["sold_out"] = admitted - held + round(exam.refusals * admitted)
        asked["look"] = round(exam.looks * admitted)
        paying = _binomial(held, exam.pay_share, chance)
        _spread(payments, at_s, paying, exam.pay_s)
        ends[at_s + exam.ttl_s] += held - paying
        paid, expired = payments.pop(at_s, 0), ends.pop(at_s, 0)
        day.live -= paid + expired
        day.paid += paid
        day.expired += expired
        day.seats_left += expired
        asked["payment"] = paid
        # A hold is an entry, its end is one, and a payment has one for its attempt too.
        asked["journal"] = held + 2 * paid + expired
        day.requests.append(asked)
    return day


def together(days: Sequence[Day], figures: Sequence[Sequence[float]]) -> list[float]:
    """Return figures of each second of some days added up; the exams open at one moment."""
    begins_s = min(day.exam.begins_s for day in days)
    sums = [0.0] * (max(day.exam.ends_s for day in days) - begins_s)
    for day, each in zip(days, figures, strict=True):
        for second, figure in enumerate(each, start=day.exam.begins_s - begins_s):
            sums[second] += figure
    return sums


def cpu_us(day: Day, part: str, units: Units) -> list[float]:
    """Return the CPU a day's requests cost in each second, in µs; `part` is a member of Cost."""
    costs = {kind: getattr(cost, part) for kind, cost in units.costs.items()}
    return [sum(count * costs[kind] for kind, count in asked.items()) for asked in day.requests]


def _arrivals(exam: ExamCrowd, at_s: int, come: int, chance: random.Random) -> int:
    """Return how many come in a second; all have come when the curve is over."""
    before, after = exam.arrived_share(at_s), exam.arrived_share(at_s + 1)
    if after >= 1:
        return exam.candidates - come
    return _binomial(exam.candidates - come, (after - before) / (1 - before), chance)


def _polls(waiting: int, rate_per_s: int, at_s: int, units: Units) -> int:
    """Return the polls in a second: the interval grows with the wait, as the document says.

    At the opening everybody polls.
    """
    if at_s == 0:
        return waiting
    eta_s = -at_s if at_s < 0 else waiting / rate_per_s
    interval_s = min(max(eta_s / _POLLS_TO_TURN, units.poll_min_s), units.poll_max_s)
    return round(waiting / interval_s)


def _spread(later: Counter[int], at_s: int, count: int, within_s: tuple[int, int]) -> None:
    """Deal so many over seconds after `at_s`, evenly: payments come one by one, not in lumps."""
    first_s, last_s = within_s
    parts = min(count, _PARTS_MAX)
    phase = at_s * _GOLDEN % 1
    for n in range(parts):
        share = count // parts + (n < count % parts)
        later[at_s + first_s + int((n + phase) * (last_s - first_s + 1) / parts)] += share


def _binomial(count: int, share: float, chance: random.Random) -> int:
    """Return of how many a thing comes true; by the normal distribution where they are many."""
    spread = math.sqrt(count * share * (1 - share)) if 0 < share < 1 else 0.0
    return min(count, max(0, round(chance.gauss(count * share, spread))))
