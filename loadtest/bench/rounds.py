"""Lets candidates take turns, round by round, and makes rows of what they did.

A shared machine is noisy, and its noise lasts longer than a turn. So candidates that are compared
run within seconds of each other, every other round in the opposite order, after a short turn each
that only warms up.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from loadtest.bench.candidates import Candidate, Sample
from loadtest.bench.stage import Plan, Stage
from loadtest.bench.table import Figures, Reach, Row, Spread, row_of_rounds

_WARM_UP_S = 1

Reaches = Reach | Mapping[int, Reach] | None
"""What a row is to reach, the same for all or by how many connections there are."""

Pair = tuple[str, Reaches, Candidate, Candidate]
"""A row to be: its name, what it is to reach, what is measured, and against what."""


async def rows_in_turns(
    stage: Stage,
    pairs: Sequence[Pair],
    connections: Sequence[int] | None = None,
    seconds: int | None = None,
) -> list[Row]:
    """Measure every candidate of the pairs in turns; return a row a pair and connection count.

    Connections and seconds are those of the plan unless told.
    """
    plan = stage.plan
    if seconds is not None:
        plan = dataclasses.replace(plan, seconds=seconds)
    candidates = list(dict.fromkeys(c for _, _, *both in pairs for c in both))
    rows = []
    for candidate in candidates:
        await candidate.measure(plan.connections[0], _WARM_UP_S)
    for count in connections or plan.connections:
        samples = await _measure(candidates, plan, count)
        for name, reaches, upper, lower in pairs:
            reach = reaches.get(count) if isinstance(reaches, Mapping) else reaches
            figures = {each.name: _figures(samples[each]) for each in (upper, lower)}
            above, below = ([s.per_s for s in samples[each]] for each in (upper, lower))
            conditions = {"connections": count, "seconds": plan.seconds}
            title = f"{name}, {count} connections"
            rows.append(row_of_rounds(title, reach, above, below, {**figures, **conditions}))
    return rows


async def _measure(
    candidates: Sequence[Candidate], plan: Plan, connections: int
) -> dict[Candidate, list[Sample]]:
    samples: dict[Candidate, list[Sample]] = {candidate: [] for candidate in candidates}
    for turn in range(plan.rounds):
        for candidate in candidates if turn % 2 else reversed(candidates):
            samples[candidate].append(await candidate.measure(connections, plan.seconds))
    return samples


def _figures(samples: Sequence[Sample]) -> Figures:
    figures = {
        "per_s": Spread.of([sample.per_s for sample in samples]),
        "p50_ms": Spread.of([sample.p50_ms for sample in samples]),
        "p99_ms": Spread.of([sample.p99_ms for sample in samples]),
    }
    for name in samples[0].more:
        figures[name] = Spread.of([sample.more[name] for sample in samples])
    return figures
