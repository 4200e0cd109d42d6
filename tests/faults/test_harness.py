"""The fault harness itself: its quick subset is green on every server that the scripts work on."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import SEED, harness
from tests.support.servers import redis_programs

PATIENT = ("--machine-s", "60", "--recover-s", "120")
"""No promise is broken here by a machine that is slow or stands still."""


def servers() -> list[Any]:
    """Return, as parameters, the servers; the first is for `make test`, others are `long`."""
    first, *others = redis_programs()
    long = pytest.mark.long
    return [first, *(pytest.param(*each.values, id=each.id, marks=long) for each in others)]


@pytest.mark.parametrize("redis_server", servers())
async def test_the_quick_subset_finds_every_promise_kept(
    tmp_path: Path, redis_server: Path
) -> None:
    run = await harness(tmp_path, "--quick", *PATIENT, redis_server=redis_server)

    assert run.evidence == "", run.printed
    assert run.status == 0
    assert f"--seed {SEED}" in run.printed
    faults = {cell["fault"] for cell in run.told["cells"]}
    assert {"none", "redis older copy", "redis flushall", "postgres kill -9"} <= faults
    assert "cluster node killed" in faults
    assert all(cell["operations"] > 20 for cell in run.told["cells"]), run.printed
