"""Measures targets alternately, round by round, and makes rows of the results.

A shared machine is noisy, and its noise lasts longer than a turn. So targets that are compared
run within seconds of each other, every other round in the opposite order, after a short turn each
that only warms up.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from loadtest.bench.table import Figures, Reach, Row, Spread, row_of_rounds
from loadtest.bench.targets import Sample, Target
from loadtest.bench.testbed import Plan, Testbed

_WARM_UP_S = 1

Reaches = Reach | Mapping[int, Reach] | None
"""What a row is to reach, the same for all or by how many connections there are."""

Pair = tuple[str, Reaches, Target, Target]
"""A row to be: its name, what it is to reach, what is measured, and against what."""


async def alternating_rows(
    testbed: Testbed,
    pairs: Sequence[Pair],
    connections: Sequence[int] | None = None,
    seconds: int | None = None,
) -> list[Row]:
    """Measure every target of the pairs alternately; return a row a pair and connection count.

    Connections and seconds are those of the plan unless given.
    """
    plan = testbed.plan
    if seconds is not None:
        plan = dataclasses.replace(plan, seconds=seconds)
    targets = list(dict.fromkeys(c for _, _, *both in pairs for c in both))
    rows = []
    await warm_up(targets, plan)
    for count in connections or plan.connections:
        samples = await alternate(targets, plan, count)
        for name, reaches, upper, lower in pairs:
            reach = reaches.get(count) if isinstance(reaches, Mapping) else reaches
            figures = {each.name: _figures(samples[each]) for each in (upper, lower)}
            above, below = ([s.per_s for s in samples[each]] for each in (upper, lower))
            conditions = {"connections": count, "seconds": plan.seconds}
            title = f"{name}, {count} connections"
            rows.append(row_of_rounds(title, reach, above, below, {**figures, **conditions}))
    return rows


async def warm_up(targets: Sequence[Target], plan: Plan) -> None:
    """Measure every target once for a short time that does not count."""
    for target in targets:
        await target.measure(plan.connections[0], _WARM_UP_S)


async def alternate(
    targets: Sequence[Target], plan: Plan, connections: int
) -> dict[Target, list[Sample]]:
    """Return what each target measured in each round."""
    samples: dict[Target, list[Sample]] = {target: [] for target in targets}
    for turn in range(plan.rounds):
        for target in targets if turn % 2 else reversed(targets):
            samples[target].append(await target.measure(connections, plan.seconds))
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
