"""Runs of the fault harness, each a process of its own as `make faults` starts it."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RUN_LIMIT_S = 600
SEED = "20230401"
TRIES_MAX = 12


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
