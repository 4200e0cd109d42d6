"""The table of a run, printed as its rounds end, and the same as JSON."""

import json
import sys
from pathlib import Path

from tests.faults.evidence import Violation
from tests.faults.rounds import Cell

_HEAD = (
    *("fault", "workload", "operations", "unknowns", "violations", "holds lost"),
    *("recovered s", "outage s", "  recoveries"),
)
_WIDTHS = (43, 9, 11, 9, 11, 11, 12, 10, 13)
_SHOWN_MAX = 5


class Report:
    """Collects the cells of a run."""

    def __init__(self, seed: int, breaks: frozenset[str]) -> None:
        self._seed = seed
        self._breaks = sorted(breaks)
        self._cells: list[Cell] = []
        self.seconds = 0.0
        broken = f", without {' and '.join(self._breaks)}" if breaks else ""
        _print(f"seed {seed}{broken}")
        _print(_row(_HEAD))

    @property
    def violations(self) -> list[Violation]:
        return [violation for cell in self._cells for violation in cell.violations]

    def add(self, cells: list[Cell]) -> None:
        for cell in cells:
            self._cells.append(cell)
            recovered = "-" if cell.recovered_s is None else f"{cell.recovered_s:.2f}"
            told = (cell.fault, cell.workload, cell.operations, cell.unknowns)
            ways = ", ".join(f"{n} {way}" for way, n in sorted(cell.recoveries.items()))
            ways = "on another primary" if cell.is_spared and not ways else ways
            counts = (len(cell.violations), cell.holds_lost, recovered, f"{cell.outage_s:.2f}")
            _print(_row((*told, *counts, f"  {ways}")))
            for violation in cell.violations[:_SHOWN_MAX]:
                _print(f"    {violation.promise}: {violation.evidence}")

    def write(self, path: Path) -> None:
        told = {
            "seed": self._seed,
            "breaks": self._breaks,
            "seconds": round(self.seconds, 1),
            "violations": len(self.violations),
            "cells": [cell.as_json() for cell in self._cells],
        }
        path.write_text(json.dumps(told, indent=1), encoding="utf-8")

    def finish(self) -> None:
        operations = sum(cell.operations for cell in self._cells)
        _print(
            f"{len(self._cells)} cells, {operations} operations, {len(self.violations)} "
            f"violations, {self.seconds:.0f} s; replay with --seed {self._seed}"
        )


def _row(members: tuple[object, ...]) -> str:
    fault, workload, *numbers = zip(members, _WIDTHS, strict=True)
    left = "".join(f"{member!s:<{width}}" for member, width in (fault, workload))
    *numbers, (ways, _) = numbers
    return left + "".join(f"{member!s:>{width}}" for member, width in numbers) + str(ways)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
