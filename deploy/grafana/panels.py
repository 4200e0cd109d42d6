"""What a dashboard is made of: a question, and the panels and queries that answer it.

What the recording rules of `deploy/prometheus/` have is asked by their names. Rates are over a
minute; what is rare is counted over an hour. The gauges of seats, holds and entries come from one
process, so `sum` counts each once; what every process exports of an exam is taken by `max`.
"""

from dataclasses import dataclass
from enum import StrEnum

COLUMNS = 24
"""The width of a dashboard, in Grafana's columns."""


class Kind(StrEnum):
    """How a panel shows what its queries answer."""

    STAT = "stat"
    """The newest value, large."""
    LINES = "timeseries"
    """A line for each series."""
    AREAS = "areas"
    """Series on top of each other, whose sum means something."""
    MATRIX = "matrix"
    """Rows by the first label of the query, columns by the second, cells coloured by value."""
    TABLE = "table"
    """Rows by the label of the queries, a column for each query."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query and the name of its series, which may have labels as `{{exam}}`.

    `waits_for` says what has to go wrong before the query answers anything; empty if nothing.
    """

    expr: str
    legend: str
    waits_for: str = ""
    unit: str = ""
    """The unit of this query's series, drawn on the right, where it is another than the panel's."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: its title, what its reader should know, and its size in Grafana's grid."""

    title: str
    about: str
    kind: Kind
    unit: str
    queries: tuple[Query, ...]
    width: int = 12
    height: int = 8
    labels: tuple[str, ...] = ()
    """Of a matrix and a table: the labels that are its rows, and its columns."""
    red_above: float | None = None
    """Of a stat: the value above which it is red; it is green below."""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard; `by_exam` gives it a choice of exams, `$exam` in its queries."""

    uid: str
    title: str
    question: str
    by_exam: bool
    panels: tuple[Panel, ...]


def stat(
    title: str,
    about: str,
    unit: str,
    *queries: Query,
    width: int = 4,
    red_above: float | None = None,
) -> Panel:
    """Return a panel that shows the newest value of a query."""
    return Panel(title, about, Kind.STAT, unit, queries, width, 4, red_above=red_above)


def times(title: str, about: str, *routes: tuple[str, str]) -> Panel:
    """Return a panel of p50 and p99 of calls, by their route."""
    queries = tuple(
        Query(
            f'route:quota_request_duration_seconds:{quantile}_1m{{route="{route}"}}',
            f"{name} {quantile}",
        )
        for route, name in routes
        for quantile in ("p50", "p99")
    )
    return Panel(title, about, Kind.LINES, "s", queries)
