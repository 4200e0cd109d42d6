"""The picture of a rush: arrivals, admissions, seats left, p99, and the service's own metrics.

One below the other in time; without metrics of the service the last two are left out.
"""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.rush.figures import Figures, Series

_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#2b6cb0", "#dd6b20", "#2f855a", "#c53030", "#718096"
_P99_COLOURS = {"reserve": _RED, "callback": _ORANGE, "poll": _BLUE}
_WIDTH_INCHES, _PANEL_INCHES = 10, 2.75
_DOTS_AN_INCH = 110


def draw(found: Figures, path: Path) -> None:
    """Draw the picture into a PNG file."""
    mpl.use("Agg")
    count = 6 if found.at_work.values else 4
    size = (_WIDTH_INCHES, _PANEL_INCHES * count)
    figure = Figure(figsize=size, dpi=_DOTS_AN_INCH, layout="constrained")
    panels = list(figure.subplots(count, 1, sharex=True))
    arrivals, admissions, seats, p99, *of_service = panels
    _steps(arrivals, found.arrivals, _BLUE, "candidates arriving, each second")
    arrivals.set_ylabel("arrivals / s")
    if found.admissions.values:
        _steps(admissions, found.admissions, _GREEN, "admitted by the waiting room, each second")
        rate = found.rate
        admissions.plot(
            rate.at_s, rate.values, color=_GREY, label="rate of admission", linestyle="--"
        )
    taken = found.taken
    admissions.step(
        taken.at_s, taken.values, where="post", color=_ORANGE, label="seats taken, each second"
    )
    if found.offered.values:
        _steps(admissions, found.offered, _BLUE, "offered to the waiting list, each second")
    admissions.set_ylabel("admitted, taken / s")
    seats.plot(found.seats.at_s, found.seats.values, color=_GREEN, label="seats left")
    if any(found.waiting.values):
        seats.plot(found.waiting.at_s, found.waiting.values, color=_GREY, label="people waiting")
    if any(found.listed.values):
        listed = found.listed
        seats.plot(listed.at_s, listed.values, color=_ORANGE, label="people in the waiting list")
    seats.set_ylabel("seats, people")
    for step, series in found.p99_ms.items():
        colour = _P99_COLOURS[step]
        p99.plot(
            series.at_s,
            series.values,
            color=colour,
            label=f"p99 of {step}",
            linewidth=1,
            marker=".",
        )
    p99.set_yscale("log")
    p99.set_ylabel("ms")
    if of_service:
        _service(found, *of_service)
    panels[-1].set_xlabel("seconds from the opening")
    for axes in panels:
        axes.axvline(0, color=_GREY, linestyle=":", linewidth=1)
        axes.grid(visible=True, alpha=0.25)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9)
    for axes in (arrivals, admissions, seats, *of_service):
        axes.set_ylim(bottom=0)
    figure.savefig(path)


def _service(found: Figures, requests: Axes, load: Axes) -> None:
    """Draw what the service exported of itself."""
    for axes, series, colour, label in (
        (requests, found.at_work, _BLUE, "requests in progress"),
        (requests, found.waiting_requests, _GREY, "requests that wait"),
        (requests, found.refused, _RED, "refused before they were started, each second"),
        (load, found.cores_used, _GREEN, "cores used by API and workers"),
        (load, found.journal_lag_s, _ORANGE, "age of the oldest journal entry not yet drained, s"),
    ):
        axes.plot(series.at_s, series.values, color=colour, label=label, linewidth=1)
    requests.set_ylabel("requests")
    load.set_ylabel("cores, s")


def _steps(axes: Axes, series: Series, colour: str, label: str) -> None:
    """Draw counts as filled steps, so that no second looks like a trend between two."""
    axes.fill_between(series.at_s, series.values, step="post", color=colour, alpha=0.3)
    axes.step(series.at_s, series.values, where="post", color=colour, label=label, linewidth=1)
