"""The files of `deploy/prometheus/`, checked by the programs that read them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.alerting import FOLDER
from tests.support.programs import need_program

pytestmark = pytest.mark.system

LIMIT_S = 300


def run(program: str, *arguments: str, folder: Path = FOLDER) -> tuple[int, str]:
    """Run a program in a folder; return its exit status and everything it printed."""
    done = subprocess.run(
        [need_program(program), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return done.returncode, done.stdout


def test_prometheus_and_alertmanager_accept_their_files() -> None:
    for program, *arguments in (
        ("promtool", "check", "config", "prometheus.yml"),
        ("amtool", "check-config", "alertmanager.yml"),
    ):
        status, printed = run(program, *arguments)
        assert status == 0, printed
        assert "SUCCESS" in printed


def test_every_alert_fires_and_keeps_silent_as_its_cases_say() -> None:
    status, printed = run("promtool", "test", "rules", "alerts_test.yml")

    assert status == 0, printed


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "on-duty"), ("warning", "office")])
def test_an_alert_goes_to_who_is_on_duty_when_it_is_critical(severity: str, receiver: str) -> None:
    told = ("config", "routes", "test", "--config.file=alertmanager.yml", f"severity={severity}")

    status, printed = run("amtool", *told)

    assert (status, printed.splitlines()[-1]) == (0, receiver), printed


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("prometheus.yml", "scrape_interval: 5s", "scrape_interval: 5 seconds", "5 seconds"),
        ("prometheus.yml", "targets/redis.yml", "targets/redis.ini", "targets/redis.ini"),
        ("rules/alerts.yml", "quota_audit_differences) > 0", "quota_audit_differences) >> 0", ">"),
        ("rules/recording.yml", "quota_reservations:rate1m", "quota reservations", "reservations"),
        ("targets/quota-api.yml", "- targets:", "- target:", "target"),
        ("targets/quota-worker.yml", "    - 127", "    127", "127.0.0"),
        ("targets/haproxy.yml", "- targets:", "- target:", "target"),
        ("targets/node.yml", '["127.0.0.1:9100"]', "127.0.0.1:9100", "127.0.0"),
        ("targets/redis.yml", '["127.0.0.1:9121"]', "127.0.0.1:9121", "127.0.0"),
        ("targets/certificate.yml", "- targets:", "- target:", "target"),
        ("alertmanager.yml", "receiver: on-duty", "receiver: nobody", "nobody"),
        ("alerts_test.yml", "eval_time: 45s", "eval_time: 45 seconds", "45 seconds"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(
    tmp_path: Path, file: str, old: str, new: str, named: str
) -> None:
    folder = tmp_path / "prometheus"
    shutil.copytree(FOLDER, folder)
    path = folder / file
    assert old in path.read_text(), f"{file} is not what this test breaks"
    path.write_text(path.read_text().replace(old, new, 1))
    check = {
        "alertmanager.yml": ("amtool", "check-config", "alertmanager.yml"),
        "alerts_test.yml": ("promtool", "test", "rules", "alerts_test.yml"),
    }.get(file, ("promtool", "check", "config", "prometheus.yml"))

    status, printed = run(*check, folder=folder)

    assert status != 0
    assert path.name in printed
    assert named in printed
