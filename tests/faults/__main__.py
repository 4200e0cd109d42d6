"""`python -m tests.faults`: injects faults under load and checks that every promise is kept.

Exit status 0 when there is no violation, 1 when there is one, 2 when called wrongly.
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.breaks import BREAKS
from tests.faults.deployment import Deployment
from tests.faults.faults import FAULTS
from tests.faults.injection import Fault
from tests.faults.report import Report
from tests.faults.rounds import Limits, Round
from tests.faults.workloads import ON_REQUEST, WORKLOADS
from tests.support.servers import stores_on_path

RESULTS = Path(__file__).parents[1] / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with stores_on_path():
        return asyncio.run(run(options))


async def run(options: argparse.Namespace) -> int:
    seed = options.seed
    rounds = _rounds(options)
    breaks = frozenset(options.breaks)
    results: Path = options.results
    logs = _empty_folder(results / "faults")
    given = {name: getattr(options, name) for name in ("quiet_s", "recover_s", "machine_s")}
    limits = Limits(**{name: limit for name, limit in given.items() if limit is not None})
    report = Report(seed, breaks)
    started = time.monotonic()
    deployment: Deployment | None = None
    try:
        for number, (fault, names) in enumerate(rounds, 1):
            if deployment is None or deployment.is_spent or deployment.layout != fault.layout:
                await _stop(deployment)
                deployment = Deployment(fault.layout, logs, breaks)
                await deployment.start()
            workloads = [WORKLOADS[name] for name in names]
            one = Round(deployment, fault, str(seed), logs, limits)
            report.add(await one.run(number, workloads))
    finally:
        await _stop(deployment)
        report.seconds = time.monotonic() - started
        report.write(results / "faults.json")
    report.finish()
    return 1 if report.violations else 0


async def _stop(deployment: Deployment | None) -> None:
    if deployment is not None:
        await deployment.stop()


def _empty_folder(folder: Path) -> Path:
    """Make the folder of histories and logs, without those of the run before."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("*.json*"), *folder.glob("*.log")]:
        old.unlink()
    return folder


def _rounds(options: argparse.Namespace) -> list[tuple[Fault, list[str]]]:
    wanted = [fault for fault in FAULTS if not options.quick or fault.is_quick]
    if options.only:
        wanted = [fault for fault in FAULTS if fault.name in options.only]
    rounds = [(fault, _workloads(fault, options.workloads)) for fault in wanted]
    return [(fault, names) for fault, names in rounds if names]


def _workloads(fault: Fault, wanted: Sequence[str]) -> list[str]:
    asked_for = [name for name in wanted if name in ON_REQUEST]
    return asked_for + [name for name in fault.workloads if not wanted or name in wanted]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--quick", action="store_true", help="a subset, in less than a minute")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9), help="to replay")
    parser.add_argument("--only", action="append", choices=names, metavar="FAULT", help=str(names))
    parser.add_argument(
        "--workload", dest="workloads", action="append", default=[], choices=list(WORKLOADS)
    )
    parser.add_argument(
        "--break",
        dest="breaks",
        action="append",
        default=[],
        choices=sorted({*BREAKS, "check"}),
        help="take a guard out of the service, to see the harness go red",
    )
    parser.add_argument("--quiet-s", type=float, help="how long to wait for quiet")
    parser.add_argument("--recover-s", type=float, help="how long to wait for it to reserve again")
    parser.add_argument("--machine-s", type=float, help="what a busy machine may add to a time")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
