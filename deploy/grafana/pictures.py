"""Draws the dashboards from a Prometheus: `python -m deploy.grafana.pictures URL`.

For README.md, and for a report after an opening. A panel has the place, the queries and the kind
that it has in Grafana. matplotlib draws it: it shows what is asked, not how Grafana looks.
"""

import argparse
import datetime as dt
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from deploy.grafana.build import DASHBOARDS, place
from deploy.grafana.panels import COLUMNS, Dashboard, Kind, Panel, Query

FOLDER = Path(__file__).parent / "pictures"
POINTS = 120
"""Steps of a query over the time that is drawn."""

_WIDTH_INCHES, _INCHES_A_ROW, _DOTS_AN_INCH = 12, 0.34, 80
_COLOURS = 64
"""Of a PNG: enough for lines and text, and a third of its size."""
_NAMES_MAX = 8
"""Series that are named in a panel."""
_PAD = 0.012
"""Between panels, as a share of the width."""

Series = Mapping[str, Sequence[tuple[float, float]]]
"""Moments in s since the Unix epoch, and values, by the name of the series."""


class Source:
    """A Prometheus, a span of time, and the exams that are looked at."""

    def __init__(self, url: str, until_s: float, minutes: float, exams: str) -> None:
        self._url = url
        self.until_s = until_s
        self.since_s = self.until_s - minutes * 60
        self._exams = exams

    def over_time(self, query: Query) -> Series:
        """Return the series of a query over the time."""
        step_s = (self.until_s - self.since_s) / POINTS
        span = {"start": self.since_s, "end": self.until_s, "step": step_s}
        return {
            _name(query.legend, each["metric"]): [
                (at_s, float(text)) for at_s, text in each["values"]
            ]
            for each in self._ask("query_range", query, span)
        }

    def now(self, query: Query) -> list[tuple[Mapping[str, str], float]]:
        """Return labels and value of what a query finds at the end of the time."""
        found = self._ask("query", query, {"time": self.until_s})
        return [(each["metric"], float(each["value"][1])) for each in found]

    def _ask(self, call: str, query: Query, members: Mapping[str, float]) -> Any:
        asked = urlencode({"query": query.expr.replace("$exam", self._exams), **members})
        with urlopen(f"{self._url}/api/v1/{call}?{asked}", timeout=30) as answer:  # noqa: S310
            return json.load(answer)["data"]["result"]


def draw(dashboard: Dashboard, source: Source) -> bytes:
    """Return a dashboard as PNG."""
    places = list(place(dashboard.panels))
    rows = max(y + panel.height for panel, _, y in places)
    height_inches = rows * _INCHES_A_ROW
    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), dpi=_DOTS_AN_INCH)
    for panel, x, y in places:
        before = 6 * _PAD if panel.kind is Kind.MATRIX else 3 * _PAD
        after = 3 * _PAD if any(query.unit for query in panel.queries) else _PAD
        left, width = x / COLUMNS + before, panel.width / COLUMNS - before - after
        above, below = 0.9 / rows, 0.9 / rows
        bottom = 1 - (y + panel.height) / rows + below
        axes = figure.add_axes((left, bottom, width, panel.height / rows - above - below))
        axes.set_title(panel.title, fontsize=9, loc="left", fontweight="bold")
        axes.tick_params(labelsize=7)
        _DRAWN_BY[panel.kind](axes, panel, source)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    few = Image.open(drawn).convert("RGB").quantize(_COLOURS)
    written = io.BytesIO()
    few.save(written, format="png", optimize=True)
    return written.getvalue()


def _name(legend: str, labels: Mapping[str, str]) -> str:
    for label, value in labels.items():
        legend = legend.replace("{{" + label + "}}", value)
    return legend


def _text(value: float, unit: str) -> str:
    """Return a value as a person reads it."""
    if math.isnan(value):
        return "none"
    if unit == "percentunit":
        return f"{value:.0%}"
    if unit == "s":
        return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.0f} s"
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def _stat(axes: Axes, panel: Panel, source: Source) -> None:
    axes.axis("off")
    for query in panel.queries:
        found = source.now(query)
        is_red = any(value > (panel.red_above or 0) for _, value in found)
        colour = "#c53030" if panel.red_above is not None and is_red else "#2f855a"
        shown = "   ".join(
            _text(value, panel.unit) + (f" {_name(query.legend, labels)}" if labels else "")
            for labels, value in found
        )
        axes.text(0, 0.6, shown or "none", fontsize=9 if len(found) > 1 else 15, color=colour)


def _lines(axes: Axes, panel: Panel, source: Source) -> None:
    drawn, right = 0, None
    for query in panel.queries:
        for name, points in source.over_time(query).items():
            target, label = axes, name
            if query.unit:
                right = right or axes.twinx()
                right.tick_params(labelsize=7)
                target, label = right, f"{name} ({query.unit}, right)"
            minutes, values = _minutes(points, source), [value for _, value in points]
            style = "--" if query.unit else "-"
            axes.plot([], [], style, color=f"C{drawn}", label=label)
            target.plot(minutes, values, style, color=f"C{drawn}", linewidth=1.2)
            drawn += 1
    for each in filter(None, (axes, right)):
        each.set_ylim(bottom=0)
    _finish(axes, panel, source, count=drawn)


def _areas(axes: Axes, panel: Panel, source: Source) -> None:
    found = {
        name: dict(points)
        for query in panel.queries
        for name, points in source.over_time(query).items()
    }
    moments = sorted({at_s for points in found.values() for at_s in points})
    if moments:
        heights = [[points.get(at_s, 0.0) for at_s in moments] for points in found.values()]
        minutes = _minutes([(at_s, 0.0) for at_s in moments], source)
        axes.stackplot(minutes, heights, labels=list(found), alpha=0.75)
        axes.set_ylim(bottom=0)
    _finish(axes, panel, source, count=len(found))


def _minutes(points: Sequence[tuple[float, float]], source: Source) -> list[float]:
    return [(at_s - source.since_s) / 60 for at_s, _ in points]


def _finish(axes: Axes, panel: Panel, source: Source, *, count: int) -> None:
    axes.set_xlim(0, (source.until_s - source.since_s) / 60)
    axes.set_ylabel({"none": "", "percentunit": "share"}.get(panel.unit, panel.unit), fontsize=7)
    axes.grid(visible=True, alpha=0.3)
    axes.set_xlabel("min", fontsize=7, loc="right", labelpad=-8)
    if count:
        handles, names = axes.get_legend_handles_labels()
        shown = slice(0, _NAMES_MAX)
        axes.legend(handles[shown], names[shown], fontsize=6, loc="upper left")
    else:
        waits = next((query.waits_for for query in panel.queries if query.waits_for), "")
        axes.text(0.5, 0.5, f"waits for {waits}" if waits else "none", transform=axes.transAxes,
                  ha="center", va="center", fontsize=8, color="#718096")  # fmt: skip


def _matrix(axes: Axes, panel: Panel, source: Source) -> None:
    rows_label, columns_label = panel.labels
    (query,) = panel.queries
    found = {
        (labels[rows_label], labels[columns_label]): value for labels, value in source.now(query)
    }
    rows, columns = (sorted({pair[i] for pair in found}) for i in (0, 1))
    shares = [[found.get((row, column), math.nan) for column in columns] for row in rows]
    axes.imshow(shares or [[math.nan]], cmap="RdYlGn", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    for y, row in enumerate(shares):
        for x, value in enumerate(row):
            axes.text(x, y, _text(value, panel.unit), ha="center", va="center", fontsize=7)


def _table(axes: Axes, panel: Panel, source: Source) -> None:
    (label,) = panel.labels
    columns = [
        {labels[label]: value for labels, value in source.now(query)} for query in panel.queries
    ]
    rows = sorted(columns[0])
    axes.axis("off")
    if rows:
        cells = [[_text(column.get(row, 0), panel.unit) for column in columns] for row in rows]
        names = [query.legend for query in panel.queries]
        table = axes.table(cells, rowLabels=rows, colLabels=names, bbox=(0.08, 0, 0.92, 1))
        table.auto_set_font_size(False)
        table.set_fontsize(7)


_DRAWN_BY = {
    Kind.STAT: _stat,
    Kind.LINES: _lines,
    Kind.AREAS: _areas,
    Kind.MATRIX: _matrix,
    Kind.TABLE: _table,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a picture of every dashboard."""
    parser = argparse.ArgumentParser(description="Draws the dashboards from a Prometheus.")
    parser.add_argument("url", help="of Prometheus, as http://127.0.0.1:9490")
    parser.add_argument("--minutes", type=float, default=30, help="of the past (%(default)s)")
    parser.add_argument(
        "--until",
        type=dt.datetime.fromisoformat,
        help="where they end, as 2026-04-01T12:30:00Z (now)",
    )
    parser.add_argument("--exam", default=".+", help="of the panels by exam (all of them)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to (%(default)s)")
    options = parser.parse_args(arguments)
    until = options.until or dt.datetime.now(dt.UTC)
    source = Source(options.url.rstrip("/"), until.timestamp(), options.minutes, options.exam)
    options.folder.mkdir(parents=True, exist_ok=True)
    for dashboard in DASHBOARDS:
        (options.folder / f"{dashboard.uid}.png").write_bytes(draw(dashboard, source))


if __name__ == "__main__":
    main()
