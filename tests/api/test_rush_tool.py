"""The rehearsal as a tool: from a wheel against a service it did not start, and locust's web UI."""

import json
import os
import subprocess
import sys
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from quota_service.embedded.ports import free_loopback_port
from tests.support.demo import Demo, running_demo
from tests.support.patience import LIMIT_S
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
EXAM = "ccaa-2023-1"
ANSWER_LIMIT_S = 60


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_dir=tmp_path_factory.mktemp("demo")) as running:
        yield running


def environment(demo: Demo) -> dict[str, str]:
    """A shell with the keys of the demo, and with nothing of the repository."""
    inherited = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("QUOTA_", "PYTHON", "VIRTUAL_ENV"))
    }
    return {**inherited, **demo.env}


def site_with_the_wheel(folder: Path) -> Path:
    """Install the wheel alone into an environment that sees what this one has installed."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    make = [sys.executable, "-m", "venv", "--without-pip", str(site)]
    subprocess.run(make, check=True, capture_output=True)
    python = site / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    subprocess.run([*install, "--no-index", str(wheel)], check=True, capture_output=True)
    # A folder named in a .pth file is on the path, and the .pth files in it are not read: the
    # repository, which is installed by one of them, is not there.
    (packages,) = site.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return site


def test_the_wheel_rehearses_a_copy_on_a_service_it_did_not_start(
    demo: Demo, tmp_path: Path
) -> None:
    site = site_with_the_wheel(tmp_path)

    done = subprocess.run(
        [
            site / "bin" / "quota-rehearse",
            *("--target", demo.env["QUOTA_URL"], "--like", EXAM, "--size", "15s"),
            *("--candidates", "12", "--folder", "run"),
        ],
        cwd=tmp_path,
        env=environment(demo),
        capture_output=True,
        text=True,
        check=False,
    )

    # What only a quick machine does in so few seconds is not asked for.
    assert "archived" in done.stdout, done.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (run["target"], run["options"]["like"]) == (demo.env["QUOTA_URL"], EXAM)
    assert run["promises"]["P1"] is True
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"rush.html", "rush.png"}
    assert not list(site.glob("lib/python*/site-packages/loadtest/bench"))


def test_the_locustfile_runs_under_the_web_ui_of_locust(demo: Demo) -> None:
    port = free_loopback_port()
    command = [
        *(sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest" / "locustfile.py")),
        *("--host", demo.env["QUOTA_URL"], "--exam", EXAM, "-u", "3", "-r", "3"),
        *("--web-host", "127.0.0.1", "--web-port", str(port), "--autostart"),
    ]
    with subprocess.Popen(command, env=environment(demo), stderr=subprocess.DEVNULL) as locust:
        try:
            stats = awaited_calls(
                f"http://127.0.0.1:{port}/stats/requests", {"reserve", "callback"}
            )
        finally:
            locust.kill()

    assert {row["name"]: row["num_failures"] for row in stats if row["num_failures"]} == {}


def test_the_locustfile_runs_without_the_web_ui_and_names_what_is_missing(demo: Demo) -> None:
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest" / "locustfile.py")]
    headless = [*command, "--host", demo.env["QUOTA_URL"], "--headless", "-u", "2", "-t", "1s"]

    def run(*more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*headless, *more],
            env=environment(demo),
            capture_output=True,
            text=True,
            check=False,
        )

    whole, without_exam = run("--exam", EXAM), run()

    assert whole.returncode == 0, whole.stderr
    assert without_exam.returncode != 0
    assert "--exam is missing" in without_exam.stderr


def awaited_calls(url: str, names: set[str]) -> list[dict[str, Any]]:
    """Ask locust for its statistics until it has calls of these names."""
    called: list[dict[str, Any]] = []

    def has_called() -> bool:
        with (
            suppress(urllib.error.URLError, ConnectionError),
            urllib.request.urlopen(url, timeout=LIMIT_S) as answer,  # noqa: S310  loopback
        ):
            called[:] = json.load(answer)["stats"]
        return names <= {row["name"] for row in called}

    assert wait_until(has_called, ANSWER_LIMIT_S), [row["name"] for row in called]
    return called
