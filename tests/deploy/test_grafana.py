"""The dashboards of `deploy/grafana/`: built from code, and asking for what there is."""

import dataclasses
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml

from deploy.grafana import build
from deploy.grafana.build import DASHBOARDS
from deploy.grafana.panels import COLUMNS, Dashboard, Kind, Panel, Query
from tests.support.alerting import ROOT
from tests.support.grafana_provisioning import faults_of
from tests.support.grafana_schema import unknown_fields
from tests.support.promql import UnknownError, exported, labels_of, recorded

FOLDER = ROOT / "deploy/grafana"
SOURCES, PROVIDERS = "datasources/prometheus.yaml", "dashboards/quota-service.yaml"
PROVISIONED = (SOURCES, PROVIDERS)
PICTURE_MAX_BYTES = 60_000
QUERIES = [
    pytest.param(panel, query, id=f"{dashboard.uid}: {panel.title}: {query.legend}")
    for dashboard in DASHBOARDS
    for panel in dashboard.panels
    for query in panel.queries
]
of_each_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each.uid)


def known() -> dict[str, frozenset[str]]:
    return {**exported(), **recorded()}


def test_the_committed_dashboards_are_what_the_code_builds() -> None:
    assert build.differences(FOLDER / "dashboards") == [], "python -m deploy.grafana.build"


@of_each_dashboard
def test_a_dashboard_that_was_edited_by_hand_is_named_with_the_value(
    dashboard: Dashboard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "dashboards"
    shutil.copytree(FOLDER / "dashboards", folder)
    file = folder / f"{dashboard.uid}.json"
    file.write_text(file.read_text().replace('"refresh": "5s"', '"refresh": "9s"'))

    status = build.main(["--check", "--folder", str(folder)])

    (line,) = capsys.readouterr().err.splitlines()
    assert status == 1
    assert line.startswith(f"{file.name}:")
    assert '"refresh": "9s",, not "refresh": "5s"' in line


def test_a_dashboard_that_is_missing_or_one_too_many_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "dashboards"
    shutil.copytree(FOLDER / "dashboards", folder)
    (folder / "quota-seats.json").rename(folder / "seats.json")

    told = build.differences(folder)

    assert told == ["seats.json: is no dashboard of build.py", "quota-seats.json:1: nothing, not {"]


@pytest.mark.parametrize(("panel", "query"), QUERIES)
def test_a_query_names_metrics_and_labels_that_there_are(panel: Panel, query: Query) -> None:
    labels = labels_of(query.expr, known())

    assert set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= labels
    assert set(panel.labels) <= labels


@pytest.mark.parametrize(
    ("expr", "named"),
    [
        ("sum(quota_seats_left)", "metric quota_seats_left"),
        ('quota_seats_held{city="jinan"}', "label city of quota_seats_held"),
        ("sum by (venue) (quota_holds_live)", "label venue"),
        ('exam_outcome:quota_reservations:rate1m{slug="sold-out"}', "label slug"),
        ("sum by (exam) (sum by (venue) (quota_seats_held))", "label exam"),
        ("quota_connections / on (exam) quota_streams", "label exam"),
    ],
)
def test_a_metric_or_label_that_there_is_not_is_named(expr: str, named: str) -> None:
    with pytest.raises(UnknownError, match=re.escape(named)):
        labels_of(expr, known())


def test_a_query_that_is_no_promql_is_refused() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        labels_of("sum(rate(quota_refunds_total[1m])", known())


@of_each_dashboard
def test_a_dashboard_is_few_panels_that_each_have_a_title_and_fit(dashboard: Dashboard) -> None:
    assert len(dashboard.panels) <= 12
    assert max(Counter(panel.title for panel in dashboard.panels).values()) == 1
    panels = json.loads(build.render(dashboard))["panels"]
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken)), "panels overlap"
    assert max(x for x, _ in taken) < COLUMNS


@of_each_dashboard
def test_a_dashboard_with_a_choice_of_exams_asks_by_it(dashboard: Dashboard) -> None:
    asked = any("$exam" in q.expr for panel in dashboard.panels for q in panel.queries)

    assert asked == dashboard.by_exam


@of_each_dashboard
def test_grafanas_schema_knows_every_field(dashboard: Dashboard) -> None:
    assert unknown_fields(build.render(dashboard)) == []


def test_a_field_that_grafana_does_not_know_is_named() -> None:
    text = build.render(DASHBOARDS[0]).replace('"graphMode"', '"grafMode"')

    assert unknown_fields(text)[0] == "/panels/0/options/grafMode"


@pytest.mark.parametrize("name", PROVISIONED)
def test_the_provisioning_has_what_grafana_reads(name: str) -> None:
    assert faults_of(FOLDER / "provisioning" / name) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "fault"),
    [
        (SOURCES, "type: prometheus", "type: promtheus", "datasources.0.type: 'promtheus'"),
        (SOURCES, "uid: prometheus", "uid: other", "datasources.0.uid: 'other'"),
        (SOURCES, "url: $PROMETHEUS_URL", "", "datasources.0.url: "),
        (PROVIDERS, "type: file", "type: folder", "providers.0.type: 'folder'"),
        (PROVIDERS, "path: /var", "path: var", "providers.0.options.path: 'var/lib"),
        (PROVIDERS, "folder: quota", "fldr: quota", "providers.0.fldr: 'quota-service'"),
    ],
)
def test_a_wrong_value_of_the_provisioning_is_named_with_its_file(
    name: str, old: str, new: str, fault: str, tmp_path: Path
) -> None:
    text = (FOLDER / "provisioning" / name).read_text(encoding="utf-8")
    assert old in text
    broken = tmp_path / Path(name).name
    broken.write_text(text.replace(old, new, 1), encoding="utf-8")

    told = faults_of(broken)

    assert any(each.startswith(f"{broken.name}: {fault}") for each in told), told


def test_what_a_panel_waits_for_is_told_to_its_reader() -> None:
    query = Query("sum(quota_rebuilds_total)", "rebuilds", waits_for="a Redis that was emptied")
    panel = Panel("Rebuilds", "Shards.", Kind.LINES, "none", (query,))
    dashboard = dataclasses.replace(DASHBOARDS[0], panels=(panel,))

    (rendered,) = json.loads(build.render(dashboard))["panels"]

    assert rendered["description"] == "Shards. Empty until there was a Redis that was emptied."


@of_each_dashboard
def test_the_readme_shows_a_small_picture_of_the_dashboard(dashboard: Dashboard) -> None:
    picture = f"pictures/{dashboard.uid}.png"

    assert f"]({picture})" in (FOLDER / "README.md").read_text(encoding="utf-8")
    assert (FOLDER / picture).stat().st_size < PICTURE_MAX_BYTES


def test_panels_ask_the_data_source_that_is_provisioned() -> None:
    provisioned = FOLDER / "provisioning/datasources/prometheus.yaml"
    (source,) = yaml.safe_load(provisioned.read_text(encoding="utf-8"))["datasources"]

    asked = {(source["type"], source["uid"])}
    for dashboard in DASHBOARDS:
        text = build.render(dashboard)
        assert {(each["type"], each["uid"]) for each in _sources(json.loads(text))} == asked


def _sources(part: object) -> list[dict[str, str]]:
    """Return every data source that a part of a dashboard names."""
    if isinstance(part, list):
        return [source for each in part for source in _sources(each)]
    if not isinstance(part, dict):
        return []
    own = [part["datasource"]] if "datasource" in part else []
    return own + [source for each in part.values() for source in _sources(each)]
