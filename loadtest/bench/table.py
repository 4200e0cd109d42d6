"""The rows of the table: ratios against their reach, medians and spreads, as text and as JSON.

A ratio is the median of the ratios of the rounds. Both sides of a round run within seconds of each
other, so what the machine does to one it mostly does to the other.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some measurements, the smallest and the largest."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of at least one value."""
        return cls(*(round(v, 4) for v in (statistics.median(values), min(values), max(values))))

    def text(self, unit: str = "") -> str:
        """Return the spread as the table shows it."""
        return f"{_short(self.median)}{unit} ({_short(self.min)} to {_short(self.max)})"


@dataclass(frozen=True, slots=True)
class Reach:
    """What a ratio is to reach: a floor, or a ceiling."""

    limit: float
    is_floor: bool

    def is_reached_by(self, ratio: float) -> bool:
        """Return whether a ratio is on the right side."""
        return ratio >= self.limit if self.is_floor else ratio <= self.limit

    def share(self, ratio: float) -> float:
        """Return how far a ratio got: 1 is exactly the limit, more is better."""
        return ratio / self.limit if self.is_floor else self.limit / ratio

    @property
    def text(self) -> str:
        """The reach as the table shows it."""
        return f"{'≥' if self.is_floor else '≤'} {_short(self.limit)}"


def at_least(limit: float) -> Reach:
    """Return a floor."""
    return Reach(limit, is_floor=True)


def at_most(limit: float) -> Reach:
    """Return a ceiling."""
    return Reach(limit, is_floor=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; a row without a goal is shown for information."""

    name: str
    ratio: Spread
    reach: Reach | None
    figures: Figures
    unit: str = ""

    @property
    def is_reached(self) -> bool | None:
        """Whether the reach is reached; None without one."""
        return None if self.reach is None else self.reach.is_reached_by(self.ratio.median)

    def with_figures(self, **more: Any) -> "Row":
        """Return the row with further figures."""
        return replace(self, figures={**self.figures, **more})

    def document(self) -> dict[str, Any]:
        """Return the row as JSON has it: the ratio and its limit as numbers."""
        reach = self.reach
        return {
            "name": self.name,
            "ratio": self.ratio.median,
            "reach": reach and reach.limit,
            "wanted": reach and ("at least" if reach.is_floor else "at most"),
            "reached": self.is_reached,
            "figures": {"ratio": self.ratio, "unit": self.unit or "ratio", **self.figures},
        }


def row_of_rounds(
    name: str,
    reach: Reach | None,
    upper: Sequence[float],
    lower: Sequence[float],
    figures: Figures,
) -> Row:
    """Return the row of `upper` ÷ `lower`, measured round by round."""
    ratios = [a / b for a, b in zip(upper, lower, strict=True)]
    return Row(name, Spread.of(ratios), reach, {**figures, "rounds": len(ratios)})


def table_text(rows: Sequence[Row]) -> str:
    """Return the table, each row with its absolute figures below."""
    lines = []
    for row in rows:
        verdict = {True: "reached", False: "MISSED", None: ""}[row.is_reached]
        reach = row.reach.text if row.reach else ""
        ratio = row.ratio.text(f" {row.unit}" if row.unit else "")
        lines.append(f"{row.name:56} {ratio:26} {reach:8} {verdict}".rstrip())
        lines += [f"    {line}" for line in _figure_lines(row.figures)]
    return "\n".join(lines)


def _figure_lines(figures: Figures) -> list[str]:
    """Return one line for each measured thing, and one for the conditions."""
    lines, conditions = [], []
    for name, value in figures.items():
        if isinstance(value, Mapping):
            parts = (f"{key} {_value_text(each)}" for key, each in value.items())
            lines.append(f"{name}: {', '.join(parts)}")
        elif isinstance(value, Spread):
            lines.append(f"{name}: {value.text()}")
        else:
            conditions.append(f"{name} {_value_text(value)}")
    return [*lines, ", ".join(conditions)] if conditions else lines


def _value_text(value: object) -> str:
    if isinstance(value, Spread):
        return value.text()
    return _short(value) if isinstance(value, int | float) else str(value)


def _short(value: float) -> str:
    """Return a number with its significant digits."""
    if isinstance(value, int) or abs(value) >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.2f}"
