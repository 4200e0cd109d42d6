"""What a test reports comes through pytest-xdist as it is told without it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SKIPPED_AT_SET_UP = """
import pytest

@pytest.mark.skip(reason="the program is not installed")
def test_skipped():
    pass
"""
LOGGED_A_LONE_SURROGATE = r"""
import logging

def test_failed():
    logging.getLogger().warning("\ud800 was logged")
    assert False
"""


def run_in_a_worker(folder: Path, text: str) -> "subprocess.CompletedProcess[str]":
    """Run a file of tests in one worker of pytest-xdist, with the summary of `make test`."""
    file = folder / "test_reported.py"
    file.write_text(text)
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-ra", "--numprocesses", "1"),
            *("-p", "xdist", "-p", "tests.support.xdist_reports", str(file)),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_skip_at_set_up_is_in_the_summary(tmp_path: Path) -> None:
    done = run_in_a_worker(tmp_path, SKIPPED_AT_SET_UP)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "SKIPPED [1] test_reported.py:4: the program is not installed" in done.stdout


def test_a_lone_surrogate_that_a_failed_test_logged_is_replaced(tmp_path: Path) -> None:
    done = run_in_a_worker(tmp_path, LOGGED_A_LONE_SURROGATE)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "? was logged" in done.stdout
