"""From a simulated opening to what it takes: processes, primaries, memory, what breaks first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtest.capacity.crowd import Opening
from loadtest.capacity.simulation import Day, cpu_us, simulate, together
from loadtest.capacity.units import Units

_MEMORY_FACTOR = 3
"""Redis's `maxmemory` for each byte that is expected, as `deploy/redis/` says."""


@dataclass(frozen=True, slots=True)
class Primary:
    """A Redis primary with its exams; how busy its core is at the worst second."""

    days: Sequence[Day]
    busy_share: float


@dataclass(frozen=True, slots=True)
class Sizing:
    """What an opening takes. Busy cores are those of the worst second.

    `redis_bytes` is the `maxmemory` of each primary. `first` is what has the least room: by which
    factor the crowd and the rates may grow, everything else as it is, until it is always busy.
    """

    opening: Opening
    api_busy_cores: float
    api_processes: int
    primaries: Sequence[Primary]
    redis_bytes: int
    postgres_busy_cores: float
    postgres_cores: int
    commits_per_s: float
    worker_busy_cores: float
    workers: int
    peaks: Mapping[str, int]
    polls_max: int
    queue_max: int
    wait_max_s: float
    first: tuple[str, float]


def size(opening: Opening, units: Units, seed: int) -> Sizing:
    """Simulate an opening and return what it takes."""
    days = [simulate(exam, units, seed) for exam in opening.exams]
    for day in days:
        day.check()
    api, postgres, worker = (
        max(together(days, [cpu_us(day, part, units) for day in days])) / 1e6
        for part in ("api_us", "postgres_us", "worker_us")
    )
    peaks = {
        kind: round(max(together(days, [[a.get(kind, 0) for a in d.requests] for d in days])))
        for kind in units.costs
    }
    processes = math.ceil(api / units.busy_share)
    # More than one, so that one may fail.
    workers = max(2, math.ceil(worker / units.busy_share))
    postgres_cores = math.ceil(postgres / units.busy_share)
    primaries = place(days, units)
    busiest = max(primaries, key=lambda primary: primary.busy_share)
    group_share = units.group_s / (processes * units.groups_max * units.group_max)
    shares = {
        "API processes": api / processes,
        "a Redis primary": busiest.busy_share,
        "Postgres": postgres / postgres_cores,
        "workers": worker / workers,
        "groups of payments": peaks["payment"] * group_share,
    }
    first = max(shares, key=lambda name: shares[name])
    return Sizing(
        opening=opening,
        api_busy_cores=api,
        api_processes=processes,
        primaries=primaries,
        redis_bytes=_MEMORY_FACTOR * max(_bytes_of(each.days, units) for each in primaries),
        postgres_busy_cores=postgres,
        postgres_cores=postgres_cores,
        commits_per_s=commits_per_s(peaks["payment"], processes, units),
        worker_busy_cores=worker,
        workers=workers,
        peaks=peaks,
        polls_max=sum(day.polls_max for day in days),
        queue_max=sum(day.queue_max for day in days),
        wait_max_s=max(day.wait_max_s for day in days),
        first=(first, 1 / shares[first]),
    )


def place(days: Sequence[Day], units: Units) -> list[Primary]:
    """Deal exams over as few primaries as are busy enough at most; the largest exam comes first.

    An exam is never split: one that needs more than a primary is alone on its own.
    """
    loads = {day.exam.name: cpu_us(day, "redis_us", units) for day in days}
    primaries: list[Primary] = []
    for day in sorted(days, key=lambda each: -max(loads[each.exam.name])):
        for n, primary in enumerate(primaries):
            wider = _primary([*primary.days, day], loads)
            if wider.busy_share <= units.busy_share:
                primaries[n] = wider
                break
        else:
            primaries.append(_primary([day], loads))
    return primaries


def commits_per_s(payments_per_s: float, processes: int, units: Units) -> float:
    """Return the commits of payments in a second: one each when few, of groups when many."""
    return min(payments_per_s, processes * units.groups_max / units.group_s)


def _primary(days: Sequence[Day], loads: Mapping[str, Sequence[float]]) -> Primary:
    busiest_us = max(together(days, [loads[day.exam.name] for day in days]))
    return Primary(days, busiest_us / 1e6)


def _bytes_of(days: Sequence[Day], units: Units) -> int:
    """Return the bytes of Redis's memory that exams need at most."""
    return sum(
        day.held * units.reservation_bytes + day.queue_max * units.queued_bytes for day in days
    )
