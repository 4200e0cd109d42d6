"""Draws the table: how far each row got towards its reach, which is one line for all of them."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from loadtest.bench.errors import MissingError
from loadtest.bench.table import Row

_REACHED, _MISSED = "#2a7f62", "#c0392b"
_ROW_INCHES, _DPI = 0.42, 130
_BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
"""The box behind a label, so that the line of the goal does not run through it."""
_SHARE_MAX = 2.5
"""Bars end here; the label gives a larger value."""


def check_can_draw() -> None:
    """Raise MissingError when what draws is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingError("matplotlib is not installed; it comes with the extra `loadtest`")


def draw(rows: Sequence[Row], machine: str, file: Path) -> None:
    """Write the picture of the rows that have a reach."""
    # What only the picture needs is no reason for the rest of the bench to fail to load.
    from matplotlib.figure import Figure  # noqa: PLC0415

    shown = [row for row in rows if row.reach is not None][::-1]
    figure = Figure(
        figsize=(11, 1.6 + _ROW_INCHES * max(len(shown), 1)), layout="constrained", dpi=_DPI
    )
    axes = figure.add_subplot()
    for place, row in enumerate(shown):
        if row.reach is None:
            continue
        share = row.reach.share(row.ratio.median)
        ends = sorted(row.reach.share(ratio) for ratio in (row.ratio.min, row.ratio.max))
        color = _REACHED if row.is_reached else _MISSED
        axes.barh(place, min(share, _SHARE_MAX), color=color, height=0.62)
        low, high = (min(end, _SHARE_MAX) for end in ends)
        axes.plot([low, high], [place, place], color="black", linewidth=1.2)
        unit = f" {row.unit}" if row.unit else ""
        label = f" {row.ratio.median:.3g}{unit} (wanted {row.reach.text})"
        axes.text(
            max(min(share, _SHARE_MAX), high), place, label, va="center", fontsize=8, bbox=_BEHIND
        )
    axes.axvline(1, color="black", linewidth=1, linestyle="--")
    axes.set_yticks(range(len(shown)), [row.name for row in shown], fontsize=8)
    axes.set_xlim(0, _SHARE_MAX * 1.35)
    axes.set_xlabel("share of what is wanted: 1 is reached, further right is better")
    axes.set_title(f"Medians over rounds, lines from worst to best round; {machine}", fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(file)
