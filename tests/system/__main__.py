"""`python -m tests.system`: tests with programs of the system, long tests, tests on other stores.

The property tests run with more histories. What needs no other store is one run, so that no process
waits for the longest test of each. Options are pytest's, for each run; `--packages` prints the
Debian packages that are missing instead. Exit status 0 when every run passes, 1 when one does not
or a program is missing.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.examples import MORE
from tests.support.programs import PACKAGES, find_program
from tests.support.servers import version_of

ROOT = Path(__file__).parents[2]
OLDEST_REDIS = "Redis 7.0"
OLDEST_POSTGRES = Path("/usr/lib/postgresql/15/bin")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of pytest: what it chooses, and what its environment says beside ours."""

    title: str
    chosen: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    missing = {name: PACKAGES[name] for name in PACKAGES if find_program(name) is None}
    if "--packages" in arguments:
        print(*missing.values())
        return 0
    if missing:
        print(
            f"make test-system needs {', '.join(missing)}; "
            f"on Debian: apt-get install {' '.join(missing.values())}",
            file=sys.stderr,
        )
        return 1
    failed = [run.title for run in _runs() if not _passes(run, arguments)]
    for title in failed:
        print(f"failed: {title}", file=sys.stderr)
    return 1 if failed else 0


def _runs() -> Iterator[Run]:
    title = "programs of the system, pages, long tests, more histories of the property tests"
    yield Run(title, ["-m", "system or browser or long or histories", "tests"], MORE)
    yield _on_oldest_redis()
    if OLDEST_POSTGRES.is_dir():
        stores = {"TEST_POSTGRES_BIN": str(OLDEST_POSTGRES)}
        title = f"ledger on {version_of(OLDEST_POSTGRES / 'postgres')}"
        yield Run(title, _files("test_ledger_*.py"), stores)
    else:
        print(f"there is no Postgres in {OLDEST_POSTGRES}: nothing is tested on it")


def _on_oldest_redis() -> Run:
    program = find_program("redis-server")
    assert program is not None
    title = f"scripts and recovery on {version_of(program)}"
    if not version_of(program).startswith(f"{OLDEST_REDIS}."):
        title += f", which is not the oldest supported, {OLDEST_REDIS}"
    files = _files("test_seats_*.py", "test_recovery*.py", "test_waiting_room*.py")
    return Run(title, files, {"TEST_REDIS_SERVER": str(program)})


def _files(*patterns: str) -> list[str]:
    files: list[str] = []
    for pattern in patterns:
        found = sorted((ROOT / "tests/store").glob(pattern))
        assert found, f"no file is named {pattern} in tests/store any more"
        files += map(str, found)
    return files


def _passes(run: Run, arguments: Sequence[str]) -> bool:
    print(f"--- {run.title}", flush=True)
    command = [sys.executable, "-m", "pytest", *run.chosen, *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **run.environment}, check=False)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
