"""Alerts: each has what a person on duty needs, is tested both ways, and asks for what there is."""

import re

import pytest

from tests.support.alerting import FOLDER, alerts, read_yaml, rules, samples

SEVERITIES = {"critical", "warning"}
EXPORTERS = ("node_filesystem_", "probe_", "redis_memory_")
"""What exporters other than the service's own processes tell."""

of_each_alert = pytest.mark.parametrize("name", alerts())


@of_each_alert
def test_an_alert_has_a_severity_a_summary_and_a_runbook_of_its_name(name: str) -> None:
    alert = alerts()[name]

    assert alert["labels"]["severity"] in SEVERITIES
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["description"]
    expected = f"{{{{ $externalLabels.runbooks }}}}/{name}.md"
    assert alert["annotations"]["runbook_url"] == expected
    assert read_yaml(FOLDER / "prometheus.yml")["global"]["external_labels"]["runbooks"]


@of_each_alert
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(name: str) -> None:
    cases = [
        case
        for test in read_yaml(FOLDER / "alerts_test.yml")["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == name
    ]

    assert {bool(case["exp_alerts"]) for case in cases} == {True, False}


def test_rules_ask_for_metrics_that_are_exported_or_recorded() -> None:
    recorded = {rule["record"] for rule in rules("record")}
    known = samples() | recorded

    for rule in [*rules("record"), *rules("alert")]:
        without_strings = re.sub(r'"[^"]*"', "", rule["expr"])
        named = set(re.findall(r"\b[a-z]+:?[a-z]*_[a-z0-9_:]+\b(?!\()", without_strings))
        named -= {"histogram_quantile", "clamp_min"}
        unknown = {each for each in named - known if not each.startswith(EXPORTERS)}
        assert unknown == set(), rule["expr"]
