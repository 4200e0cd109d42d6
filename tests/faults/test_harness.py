"""The fault harness itself: its quick subset is green, and it goes red when a guard is taken out.

Each run is a process of its own, started as `make faults` does. The breaks that take longer to show
are in README.md beside this file, with what they printed.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import redis_programs

ROOT = Path(__file__).parents[2]
RUN_LIMIT_S = 600
SEED = "20230401"
TRIES_MAX = 12
MACHINE_S = "20"
"""No promise is broken here by a machine that is slow or stands still."""


@dataclass(frozen=True, slots=True)
class HarnessRun:
    """What a run of the harness printed, its exit status and its JSON."""

    status: int
    printed: str
    told: Any

    @property
    def promises(self) -> set[str]:
        """The promises that were found broken."""
        return {v["promise"] for cell in self.told["cells"] for v in cell["violations"]}

    def promises_under(self, fault: str) -> set[str]:
        """The promises that were found broken under one fault."""
        cells = [cell for cell in self.told["cells"] if cell["fault"] == fault]
        return {v["promise"] for cell in cells for v in cell["violations"]}

    @property
    def evidence(self) -> str:
        return "\n".join(
            f"{cell['fault']} {v['promise']}: {v['evidence']}"
            for cell in self.told["cells"]
            for v in cell["violations"]
        )


async def harness(
    results: Path, *options: str, seed: str = SEED, redis_server: Path | None = None
) -> HarnessRun:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults",
        "--seed",
        seed,
        "--results",
        str(results),
        *options,
        cwd=ROOT,
        env={**os.environ, **({"TEST_REDIS_SERVER": str(redis_server)} if redis_server else {})},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RUN_LIMIT_S):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    told = json.loads((results / "faults.json").read_text(encoding="utf-8"))
    return HarnessRun(await process.wait(), printed.decode(), told)


@pytest.mark.parametrize("redis_server", redis_programs())
async def test_the_quick_subset_finds_every_promise_kept(
    tmp_path: Path, redis_server: Path
) -> None:
    run = await harness(tmp_path, "--quick", "--machine-s", MACHINE_S, redis_server=redis_server)

    assert run.evidence == "", run.printed
    assert run.status == 0
    assert f"--seed {SEED}" in run.printed
    faults = {cell["fault"] for cell in run.told["cells"]}
    assert {"none", "redis older copy", "redis flushall", "postgres kill -9"} <= faults
    assert all(cell["operations"] > 20 for cell in run.told["cells"]), run.printed


async def runs_until_red(
    results: Path, *options: str, are_red: Callable[[set[str]], object]
) -> list[HarnessRun]:
    """Run the harness until promises are found broken; when a loss hits is a matter of timing."""
    runs: list[HarnessRun] = []
    while len(runs) < TRIES_MAX and not any(are_red(run.promises) for run in runs):
        runs.append(await harness(results, *options, seed=f"{SEED}{len(runs)}"))
    assert are_red(runs[-1].promises), [run.evidence for run in runs]
    assert runs[-1].status == 1
    return runs


LOST_WRITES = ("--only", "redis older copy", "--only", "redis late replica", "--quiet-s", "3")


async def test_the_harness_goes_red_when_nothing_fences_a_redis_that_went_back(
    tmp_path: Path,
) -> None:
    broken = ("--break", "fence", *LOST_WRITES, "--workload", "pay")
    runs = await runs_until_red(tmp_path, *broken, are_red={"P7"}.issubset)

    assert not any("P1" in run.promises for run in runs), "postgres let a quota be oversold"


async def test_the_harness_goes_red_when_a_redis_that_went_back_meets_no_constraint(
    tmp_path: Path,
) -> None:
    broken = ("--break", "fence", "--break", "check")
    broken += (*LOST_WRITES, "--workload", "hoard")
    await runs_until_red(tmp_path, *broken, are_red={"P1"}.issubset)


async def test_the_harness_goes_red_when_a_release_gives_back_in_whatever_state(
    tmp_path: Path,
) -> None:
    broken = ("--break", "release", "--only", "none", "--workload", "churn")
    await runs_until_red(tmp_path, *broken, are_red={"P3", "P7"}.issubset)


BROKEN = {
    "postgres falls back by a drain": ("gap", "journal"),
    "callbacks again and again": ("again", "P4"),
    "redis older copy": ("holds", "P7"),
}
"""Faults by the break that each shows, and no other does, and the promise it breaks."""


async def test_the_harness_goes_red_for_gaps_repeats_and_holds_that_are_not_put_back(
    tmp_path: Path,
) -> None:
    broken = [word for guard, _ in BROKEN.values() for word in ("--break", guard)]
    limits = ("--workload", "churn", "--workload", "late", "--quiet-s", "5")
    unseen, evidence = dict(BROKEN), []
    for n in range(TRIES_MAX):
        faults = [word for fault in unseen for word in ("--only", fault)]
        run = await harness(tmp_path, *broken, *faults, *limits, seed=f"{SEED}{n}")
        evidence.append(run.evidence)
        for fault, (_, promise) in list(unseen.items()):
            if promise in run.promises_under(fault):
                del unseen[fault]
        if not unseen:
            break

    assert unseen == {}, evidence


async def test_the_harness_goes_red_when_two_histories_of_a_shard_are_mixed(
    tmp_path: Path,
) -> None:
    workloads = ("--workload", "churn", "--workload", "mixed", "--quiet-s", "5")
    fault = ("--only", "redis fail-back, two histories", *workloads)
    # Steps of the other history are in Redis alone, or are told as a gap of the ledger's.
    broken = ("--break", "lineage", *fault)
    await runs_until_red(tmp_path, *broken, are_red={"P7", "journal"}.intersection)
