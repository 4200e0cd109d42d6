"""Writes the dashboards as Grafana reads them, or compares: `python -m deploy.grafana.build`.

Each dashboard has a module, which says what it asks; here is how a panel of each kind looks. The
output depends on nothing else, so that a test can compare it with the committed files.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from deploy.grafana.opening import OPENING
from deploy.grafana.panels import COLUMNS, Dashboard, Kind, Panel, Query
from deploy.grafana.payments import PAYMENTS
from deploy.grafana.seats import SEATS
from deploy.grafana.stores import STORES

DASHBOARDS = (OPENING, PAYMENTS, STORES, SEATS)

FOLDER = Path(__file__).parent / "dashboards"
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
"""The data source of `provisioning/datasources/`."""

SCHEMA_VERSION = 39
"""The form of a dashboard that Grafana 11 writes; newer ones convert it."""


def render(dashboard: Dashboard) -> str:
    """Return a dashboard as the text of its file."""
    variables = [_choice_of_exams()] if dashboard.by_exam else []
    model = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.question,
        "tags": ["quota-service"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "5s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "browser",
        "templating": {"list": variables},
        "links": [
            {
                "type": "dashboards",
                "tags": ["quota-service"],
                "title": "Other questions",
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "panels": [
            {
                "id": number,
                "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
                **_panel(panel),
            }
            for number, (panel, x, y) in enumerate(place(dashboard.panels), start=1)
        ],
    }
    return json.dumps(model, indent=1, ensure_ascii=False) + "\n"


def _choice_of_exams() -> dict[str, Any]:
    """Return the variable `$exam`: every exam that has seats, all of them unless one is chosen."""
    return {
        "name": "exam",
        "label": "Exam",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {
            "query": "label_values(quota_seats_capacity, exam)",
            "qryType": 1,
            "refId": "exam",
        },
        "refresh": 2,
        "sort": 1,
        "includeAll": True,
        "allValue": ".+",
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def place(panels: Iterable[Panel]) -> Iterator[tuple[Panel, int, int]]:
    """Yield the panels in reading order with column and row, each row as high as its highest."""
    x = y = row_height = 0
    for panel in panels:
        if x + panel.width > COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        yield panel, x, y
        x, row_height = x + panel.width, max(row_height, panel.height)


def _panel(panel: Panel) -> dict[str, Any]:
    is_instant = panel.kind in {Kind.MATRIX, Kind.TABLE}
    waits = [query.waits_for for query in panel.queries if query.waits_for]
    about = " ".join([panel.about, *(f"Empty until there was {each}." for each in waits)])
    defaults, options, changes = _look(panel)
    return {
        "title": panel.title,
        "description": about,
        "type": {Kind.AREAS: "timeseries", Kind.MATRIX: "table"}.get(panel.kind, panel.kind.value),
        "datasource": DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                "instant": is_instant,
                "range": not is_instant,
                "format": "table" if is_instant else "time_series",
            }
            for index, query in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "noValue": "none", **defaults},
            "overrides": _other_units(panel.queries),
        },
        "options": options,
        "transformations": changes,
    }


def _look(panel: Panel) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Return the defaults of its fields, its options and its transformations."""
    match panel.kind:
        case Kind.STAT:
            return (
                {"thresholds": _thresholds(panel.red_above), "color": {"mode": "thresholds"}},
                {
                    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                    "colorMode": "background" if panel.red_above is not None else "value",
                    "graphMode": "area",
                    "textMode": "auto",
                },
                [],
            )
        case Kind.MATRIX:
            rows, columns = panel.labels
            return (
                {
                    "color": {"mode": "continuous-RdYlGr"},
                    "min": 0,
                    "max": 1,
                    "custom": {"cellOptions": {"type": "color-background", "mode": "basic"}},
                },
                {"showHeader": True, "cellHeight": "sm"},
                [
                    {
                        "id": "groupingToMatrix",
                        "options": {
                            "rowField": rows,
                            "columnField": columns,
                            "valueField": "Value",
                            "emptyValue": "null",
                        },
                    }
                ],
            )
        case Kind.TABLE:
            (rows,) = panel.labels
            return ({}, {"showHeader": True, "cellHeight": "sm"}, _joined(rows, panel.queries))
        case Kind.LINES | Kind.AREAS:
            is_sum = panel.kind is Kind.AREAS
            custom = {
                "lineWidth": 1,
                "fillOpacity": 40 if is_sum else 0,
                "stacking": {"mode": "normal" if is_sum else "none", "group": "A"},
                "showPoints": "never",
            }
            legend = {
                "showLegend": True,
                "displayMode": "table",
                "placement": "right",
                "calcs": ["lastNotNull", "max"],
            }
            return (
                {"min": 0, "custom": custom},
                {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}},
                [],
            )


def _thresholds(red_above: float | None) -> dict[str, Any]:
    """Return the steps from green to red; a step holds from its value on, inclusive."""
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if red_above is not None:
        steps.append({"color": "red", "value": red_above or 1e-9})
    return {"mode": "absolute", "steps": steps}


def _other_units(queries: Iterable[Query]) -> list[dict[str, Any]]:
    """Return the overrides of series that have a unit, and so an axis, of their own."""
    return [
        {
            "matcher": {"id": "byFrameRefID", "options": chr(ord("A") + index)},
            "properties": [
                {"id": "unit", "value": query.unit},
                {"id": "custom.axisPlacement", "value": "right"},
            ],
        }
        for index, query in enumerate(queries)
        if query.unit
    ]


def _joined(rows: str, queries: tuple[Query, ...]) -> list[dict[str, Any]]:
    """Return the transformations that make one table of queries: a column each."""
    values = [f"Value #{chr(ord('A') + index)}" for index in range(len(queries))]
    names = dict(zip(values, [query.legend for query in queries], strict=True))
    order = {name: index for index, name in enumerate([rows, *values])}
    return [
        {"id": "joinByField", "options": {"byField": rows, "mode": "outer"}},
        {"id": "filterFieldsByName", "options": {"include": {"names": list(order)}}},
        {"id": "organize", "options": {"renameByName": names, "indexByName": order}},
    ]


def differences(folder: Path) -> list[str]:
    """Return what of a folder is not what the code builds: a line for each file, with its value."""
    built = {f"{dashboard.uid}.json": render(dashboard).splitlines() for dashboard in DASHBOARDS}
    found = {path.name: path.read_text(encoding="utf-8").splitlines() for path in folder.iterdir()}
    told = [f"{name}: is no dashboard of build.py" for name in sorted(found.keys() - built.keys())]
    for name, lines in built.items():
        pairs = itertools.zip_longest(found.get(name, []), lines, fillvalue="")
        for number, (line, right) in enumerate(pairs, start=1):
            if line != right:
                told.append(f"{name}:{number}: {line.strip() or 'nothing'}, not {right.strip()}")
                break
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file of every dashboard, or say which are others than the code builds."""
    parser = argparse.ArgumentParser(description="Builds the dashboards.")
    parser.add_argument("--check", action="store_true", help="write nothing, name what differs")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the files are")
    options = parser.parse_args(arguments)
    if options.check:
        told = differences(options.folder)
        sys.stderr.writelines(f"{line}\n" for line in told)
        return 1 if told else 0
    for dashboard in DASHBOARDS:
        file = options.folder / f"{dashboard.uid}.json"
        file.write_text(render(dashboard), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
