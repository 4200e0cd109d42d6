"""Runs the bench: every section on one testbed, then the table, its JSON and its picture."""

import argparse
import asyncio
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg
import orjson
from redis.exceptions import RedisError

from loadtest.bench.errors import BenchError, MissingError
from loadtest.bench.picture import check_can_draw, draw
from loadtest.bench.sections import SECTIONS
from loadtest.bench.table import Row, table_text
from loadtest.bench.testbed import Plan, open_testbed
from loadtest.bench.wrk import find_wrk
from quota_service.domain.definition import DefinitionError
from quota_service.domain.errors import QuotaError

RESULTS = Path(__file__).parents[1] / "results"
_FAULTS = (
    BenchError,
    DefinitionError,
    QuotaError,
    aiohttp.ClientError,
    asyncpg.PostgresError,
    RedisError,
    OSError,
    TimeoutError,
)
"""What may go wrong in one section without the others being worth less."""
_COUNT_MAX = 1000
_CALLED_WRONGLY, _INTERRUPTED = 2, 130


@dataclass(slots=True)
class Outcome:
    """The rows of a run, and the doubts about its other sections."""

    rows: list[Row] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def main() -> int:
    """Run the bench; return 0, 1 when a measurement is in doubt, 2 when a tool is missing."""
    options = _options()
    # As Ctrl-C does, so that the stores are stopped in order and their data is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.perf_counter()
    try:
        find_wrk()
        check_can_draw()
        _allow_many_files()
        with tempfile.TemporaryDirectory(prefix="quota-bench-") as folder:
            outcome = asyncio.run(_bench(_plan(options), options.only, Path(folder)))
    except MissingError as error:
        print(f"bench: {error}", file=sys.stderr)
        return _CALLED_WRONGLY
    except KeyboardInterrupt:
        return _INTERRUPTED
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"\n{table_text(outcome.rows)}\n\n{machine}, {time.perf_counter() - started:.0f} s")
    _write(outcome.rows, machine, options.results)
    for doubt in outcome.doubts:
        print(f"bench: in doubt: {doubt}", file=sys.stderr)
    return 1 if outcome.doubts else 0


async def _bench(plan: Plan, only: list[str], folder: Path) -> Outcome:
    """Run the sections; one in doubt is reported and gives no rows, the others go on."""
    outcome = Outcome()
    async with open_testbed(plan, folder) as testbed:
        for name in only or SECTIONS:
            started = time.perf_counter()
            try:
                outcome.rows += await SECTIONS[name](testbed)
                ended = "done"
            except _FAULTS as error:
                outcome.doubts.append(f"{name}: {type(error).__name__}: {error}")
                ended = "in doubt"
            elapsed_s = time.perf_counter() - started
            print(f"{name}: {ended} after {elapsed_s:.0f} s", file=sys.stderr, flush=True)
        outcome.doubts += testbed.errors_logged()
    return outcome


def _write(rows: list[Row], machine: str, results: Path) -> None:
    """Write the rows as JSON and as a picture."""
    results.mkdir(parents=True, exist_ok=True)
    document = orjson.dumps([row.document() for row in rows], option=orjson.OPT_INDENT_2)
    (results / "bench.json").write_bytes(document + b"\n")
    draw(rows, machine, results / "bench.png")
    print(f"written: {results / 'bench.json'} and bench.png")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench",
        description="Measure the service against baselines of the same run, and print the table.",
    )
    parser.add_argument("--rounds", type=_count, default=5, help="rounds that count (%(default)s)")
    parser.add_argument(
        "--seconds", type=_count, default=2, help="seconds of each measurement (%(default)s)"
    )
    parser.add_argument(
        "--connections",
        type=_counts,
        default="64,256",
        help="connections of the client, comma-separated (%(default)s)",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=list(SECTIONS),
        metavar="NAME",
        default=[],
        help=f"only these sections, each with --only: {', '.join(SECTIONS)}",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one short round at small sizes: whether it works, not how fast",
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of the results (%(default)s)"
    )
    return parser.parse_args()


def _count(text: str) -> int:
    """Return a number from 1 up to a limit that no bench needs."""
    number = int(text)
    if not 1 <= number <= _COUNT_MAX:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to {_COUNT_MAX}")
    return number


def _counts(text: str) -> list[int]:
    """Return such numbers, separated by commas."""
    return [_count(part) for part in text.split(",")]


def _plan(options: argparse.Namespace) -> Plan:
    """Return how much is to be done."""
    if options.quick:
        return Plan(
            rounds=1,
            seconds=1,
            connections=options.connections[:1],
            live_holds=20_000,
            expiring_holds=5_000,
            watchers=200,
        )
    return Plan(
        rounds=options.rounds,
        seconds=options.seconds,
        connections=options.connections,
        live_holds=1_000_000,
        expiring_holds=100_000,
        watchers=5_000,
    )


def _allow_many_files() -> None:
    """Allow us and our children as many open files as the system lets us: watchers are many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
