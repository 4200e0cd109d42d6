"""The picture of a rush: arrivals, admissions, seats left and p99, one below the other in time."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.rush.figures import Figures, Series

_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#2b6cb0", "#dd6b20", "#2f855a", "#c53030", "#718096"
_P99_COLOURS = {"reserve": _RED, "callback": _ORANGE, "poll": _BLUE}
_SIZE_INCHES = (10, 11)
_DOTS_AN_INCH = 110


def draw(found: Figures, path: Path) -> None:
    """Draw the picture into a PNG file."""
    mpl.use("Agg")
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DOTS_AN_INCH, layout="constrained")
    arrivals, admissions, seats, p99 = figure.subplots(4, 1, sharex=True)
    _steps(arrivals, found.arrivals, _BLUE, "candidates arriving, each second")
    arrivals.set_ylabel("arrivals / s")
    if found.admissions.values:
        _steps(admissions, found.admissions, _GREEN, "admitted by the waiting room, each second")
        rate = found.rate
        admissions.plot(rate.at_s, rate.values, color=_GREY, label="its rate", linestyle="--")
    taken = found.taken
    admissions.step(
        taken.at_s, taken.values, where="post", color=_ORANGE, label="seats taken, each second"
    )
    admissions.set_ylabel("admitted, taken / s")
    seats.plot(found.seats.at_s, found.seats.values, color=_GREEN, label="seats left")
    if any(found.waiting.values):
        seats.plot(found.waiting.at_s, found.waiting.values, color=_GREY, label="people waiting")
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
    p99.set_xlabel("seconds from the opening")
    for axes in (arrivals, admissions, seats, p99):
        axes.axvline(0, color=_GREY, linestyle=":", linewidth=1)
        axes.grid(visible=True, alpha=0.25)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=9)
    for axes in (arrivals, admissions, seats):
        axes.set_ylim(bottom=0)
    figure.savefig(path)


def _steps(axes: Axes, series: Series, colour: str, label: str) -> None:
    """Draw counts as filled steps, so that no second looks like a trend between two."""
    axes.fill_between(series.at_s, series.values, step="post", color=colour, alpha=0.3)
    axes.step(series.at_s, series.values, where="post", color=colour, label=label, linewidth=1)
