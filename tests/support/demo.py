"""Runs `quota-service demo` as a user does: a process of its own, stopped by a signal."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.patience import PATIENT_VARIABLES
from tests.support.processes import descendants, is_running

STOP_LIMIT_S = 30


class Demo:
    """A demo that is ready, with what it printed."""

    def __init__(self, process: "subprocess.Popen[str]", printed: Sequence[str]) -> None:
        self.process = process
        self.printed = list(printed)
        self.env = dict(
            line.strip().split("=", 1) for line in printed if line.startswith("  QUOTA_")
        )
        self.pids = [process.pid, *descendants(process.pid)]

    @property
    def env_file(self) -> Path:
        (line,) = [line for line in self.printed if "in a shell:" in line]
        return Path(line.split("; . ")[1].split(";")[0])

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(STOP_LIMIT_S)

    def running(self) -> list[int]:
        """The processes of the demo that still run."""
        return [pid for pid in self.pids if is_running(pid)]


@contextmanager
def running_demo(*options: str, tmp_dir: Path) -> Iterator[Demo]:
    """Start a demo on free ports and wait until it is ready; stop it at the end if it runs."""
    with (tmp_dir / "demo.log").open("a") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "quota_service.cli",
                "demo",
                "--port",
                "0",
                "--admin-port",
                "0",
                "--frontend-port",
                "0",
                *options,
            ],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **PATIENT_VARIABLES, "TMPDIR": str(tmp_dir)},
            start_new_session=True,
        )
    try:
        yield Demo(process, _printed_until_ready(process))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_LIMIT_S)
        assert process.stdout is not None
        process.stdout.close()


def await_none_running(demo: Demo) -> list[int]:
    """Wait, for a limited time, until no process of the demo runs; return those that do."""
    deadline = time.monotonic() + STOP_LIMIT_S
    while demo.running() and time.monotonic() < deadline:
        os.sched_yield()
    return demo.running()


def _printed_until_ready(process: "subprocess.Popen[str]") -> list[str]:
    assert process.stdout is not None
    printed: list[str] = []
    for line in process.stdout:
        printed.append(line.rstrip("\n"))
        if "stop it: Ctrl-C" in line:
            return printed
    raise AssertionError(f"the demo ended with {process.wait()} before it was ready: {printed}")
