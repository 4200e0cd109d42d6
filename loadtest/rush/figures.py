"""The figures of a rush: time until sold out, seats a second, percentiles, refusals, and series."""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from loadtest.rush.evidence import (
    Arrived,
    Call,
    Claimed,
    Delivered,
    Evidence,
    Held,
    Looked,
    Measured,
    Offered,
)
from loadtest.rush.fairness import Fairness, fairness

PERCENTILES = (50, 90, 99)
MOST_SOLD = 0.95
"""Which part of the seats is most of them."""

_OK, _REFUSED = 200, 400


@dataclass(frozen=True, slots=True)
class StepTimes:
    """The answers of one step: how many, how many refused or failed, and times in ms."""

    step: str
    count: int
    refused: int
    unanswered: int
    percentiles_ms: tuple[float, ...]
    longest_ms: float


@dataclass(frozen=True, slots=True)
class Series:
    """Counts or levels over time; `at_s` are seconds from the opening."""

    at_s: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is printed and drawn; times in seconds from the opening, None for what never was."""

    arrived: int
    admitted: int
    orders_held: int
    seats_taken: int
    payments: int
    capacity: int
    mostly_sold_s: float | None
    sold_out_s: float | None
    first_quota_sold_out_s: float | None
    half_of_quotas_sold_out_s: float | None
    quotas: int
    quotas_sold_out: int
    seats_left: int
    seats_taken_a_second: float
    seats_taken_a_second_peak: float
    requests: int
    requests_a_second_peak: float
    steps: tuple[StepTimes, ...]
    refusals: tuple[tuple[str, str, int], ...]
    fairness: tuple[Fairness, ...]
    arrivals: Series
    admissions: Series
    taken: Series
    seats: Series
    waiting: Series
    rate: Series
    listed: Series
    offered: Series
    p99_ms: dict[str, Series]
    cores_used: Series
    """Of all processes of the service together, as the series below; empty without metrics."""
    at_work: Series
    waiting_requests: Series
    refused: Series
    journal_lag_s: Series
    """Of the process that says most, as every one exports it."""


def figures(evidence: Evidence, opens_at_s: float) -> Figures:
    """Work out all figures of a run."""
    first = _first_answers(evidence)
    looks = sorted(evidence.of(Looked), key=lambda looked: looked.at_s)
    taken = _each_second(
        [(held.at_s, len(held.reservation["subjects"])) for held in first], opens_at_s
    )
    mostly_sold_s = _first(looks, opens_at_s, _is_mostly_sold)
    calls = evidence.of(Call)
    until_s = mostly_sold_s if mostly_sold_s is not None else max(taken.at_s, default=0.0)
    seats_until = sum(n for at_s, n in zip(taken.at_s, taken.values, strict=True) if at_s < until_s)
    return Figures(
        arrived=len(evidence.of(Arrived)),
        admitted=len(evidence.of(Claimed)),
        orders_held=len(first),
        seats_taken=sum(len(held.reservation["subjects"]) for held in first),
        payments=len({d.event for d in evidence.of(Delivered) if d.status == _OK}),
        capacity=looks[-1].capacity if looks else 0,
        mostly_sold_s=mostly_sold_s,
        sold_out_s=_first(looks, opens_at_s, lambda looked: looked.remaining == 0),
        first_quota_sold_out_s=_first(looks, opens_at_s, lambda looked: looked.quotas_sold_out),
        half_of_quotas_sold_out_s=_first(
            looks, opens_at_s, lambda looked: looked.quotas_sold_out * 2 >= looked.quotas
        ),
        quotas=looks[-1].quotas if looks else 0,
        quotas_sold_out=looks[-1].quotas_sold_out if looks else 0,
        seats_left=looks[-1].remaining if looks else 0,
        seats_taken_a_second=seats_until / until_s if until_s > 0 else 0.0,
        seats_taken_a_second_peak=max(taken.values, default=0.0),
        requests=len(calls),
        requests_a_second_peak=max(
            _each_second([(call.at_s, 1) for call in calls], opens_at_s).values, default=0.0
        ),
        steps=tuple(_step_times(calls)),
        refusals=tuple(_refusals(calls)),
        fairness=tuple(fairness(evidence)) if evidence.of(Claimed) else (),
        arrivals=_each_second([(a.at_s, 1) for a in evidence.of(Arrived)], opens_at_s),
        admissions=_each_second([(c.at_s, 1) for c in evidence.of(Claimed)], opens_at_s),
        taken=taken,
        seats=_levels(looks, opens_at_s, "remaining"),
        waiting=_levels(looks, opens_at_s, "waiting"),
        rate=_levels(looks, opens_at_s, "rate"),
        listed=_levels(looks, opens_at_s, "listed"),
        offered=_each_second([(offer.at_s, 1) for offer in evidence.of(Offered)], opens_at_s),
        p99_ms=_p99_over_time(calls, opens_at_s),
        cores_used=_rate(evidence, opens_at_s, "cpu_s"),
        at_work=_level(evidence, opens_at_s, "at_work", sum),
        waiting_requests=_level(evidence, opens_at_s, "waiting", sum),
        refused=_rate(evidence, opens_at_s, "refused"),
        journal_lag_s=_level(evidence, opens_at_s, "journal_lag_s", max),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the ordered values do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _first_answers(evidence: Evidence) -> list[Held]:
    """Return the first 201 of each reservation."""
    first: dict[str, Held] = {}
    for held in sorted(evidence.of(Held), key=lambda held: held.at_s):
        first.setdefault(held.reservation["id"], held)
    return list(first.values())


def _is_mostly_sold(looked: Looked) -> bool:
    return looked.remaining <= looked.capacity * (1 - MOST_SOLD)


def _first(
    looks: Sequence[Looked], opens_at_s: float, is_so: Callable[[Looked], object]
) -> float | None:
    """Return when the watcher first saw that something is so, seconds from the opening."""
    return next((looked.at_s - opens_at_s for looked in looks if is_so(looked)), None)


def _step_times(calls: Sequence[Call]) -> list[StepTimes]:
    by_step: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_step[call.step].append(call)
    found = []
    for step, made in sorted(by_step.items()):
        times = sorted(call.took_ms for call in made)
        found.append(
            StepTimes(
                step=step,
                count=len(made),
                refused=sum(call.status >= _REFUSED for call in made),
                unanswered=sum(call.status == 0 for call in made),
                percentiles_ms=tuple(percentile(times, percent) for percent in PERCENTILES),
                longest_ms=times[-1],
            )
        )
    return found


def _refusals(calls: Sequence[Call]) -> list[tuple[str, str, int]]:
    counted = Counter(
        (call.step, call.slug) for call in calls if call.status >= _REFUSED or not call.status
    )
    return [(step, slug, count) for (step, slug), count in counted.most_common()]


def _each_second(counted: Sequence[tuple[float, int]], opens_at_s: float) -> Series:
    """Return sums for each second, the empty seconds in between as zero."""
    sums: Counter[int] = Counter()
    for at_s, count in counted:
        sums[math.floor(at_s - opens_at_s)] += count
    if not sums:
        return Series((), ())
    span = range(min(sums), max(sums) + 1)
    return Series(tuple(map(float, span)), tuple(float(sums[second]) for second in span))


def _levels(looks: Sequence[Looked], opens_at_s: float, name: str) -> Series:
    return Series(
        tuple(looked.at_s - opens_at_s for looked in looks),
        tuple(float(getattr(looked, name)) for looked in looks),
    )


def _p99_over_time(calls: Sequence[Call], opens_at_s: float) -> dict[str, Series]:
    """Return the p99 of each second, of the steps that matter most."""
    found = {}
    for step in ("reserve", "callback", "poll"):
        seconds: defaultdict[int, list[float]] = defaultdict(list)
        for call in calls:
            if call.step == step and call.status:
                seconds[math.floor(call.at_s - opens_at_s)].append(call.took_ms)
        if seconds:
            span = sorted(seconds)
            values = tuple(percentile(sorted(seconds[second]), 99) for second in span)
            found[step] = Series(tuple(map(float, span)), values)
    return found


def _level(
    evidence: Evidence,
    opens_at_s: float,
    name: str,
    together: Callable[[Iterable[float]], float],
) -> Series:
    """Return a gauge of all processes of the service in each second."""
    by_second: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for seen in evidence.of(Measured):
        by_second[math.floor(seen.at_s - opens_at_s)][seen.url] = getattr(seen, name)
    span = sorted(by_second)
    values = tuple(together(by_second[second].values()) for second in span)
    return Series(tuple(map(float, span)), values)


def _rate(evidence: Evidence, opens_at_s: float, name: str) -> Series:
    """Return how much a counter of all processes rose a second; a process that began anew is 0."""
    by_process: defaultdict[str, list[Measured]] = defaultdict(list)
    for seen in evidence.of(Measured):
        by_process[seen.url].append(seen)
    sums: defaultdict[int, float] = defaultdict(float)
    for seen_of_one in by_process.values():
        for before, after in itertools.pairwise(seen_of_one):
            risen = max(0.0, getattr(after, name) - getattr(before, name))
            sums[math.floor(after.at_s - opens_at_s)] += risen / (after.at_s - before.at_s)
    span = sorted(sums)
    return Series(tuple(map(float, span)), tuple(sums[second] for second in span))
