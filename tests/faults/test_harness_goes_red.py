"""The fault harness goes red when a guard is taken out of the service.

`make test` has the quickest of them, `make test-system` the others. The breaks that take longer to
show are in README.md beside this file, with what they printed.
"""

from pathlib import Path

import pytest

from tests.support.harness import SEED, TRIES_MAX, harness, runs_until_red

LOST_WRITES = ("--only", "redis older copy", "--only", "redis late replica", "--quiet-s", "3")


@pytest.mark.long
async def test_the_harness_goes_red_when_nothing_fences_a_redis_that_went_back(
    tmp_path: Path,
) -> None:
    broken = ("--break", "fence", *LOST_WRITES, "--workload", "pay")
    runs = await runs_until_red(tmp_path, *broken, are_red={"P7"}.issubset)

    assert not any("P1" in run.promises for run in runs), "postgres let a quota be oversold"


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
async def test_the_harness_goes_red_when_two_histories_of_a_shard_are_mixed(
    tmp_path: Path,
) -> None:
    workloads = ("--workload", "churn", "--workload", "mixed", "--quiet-s", "5")
    fault = ("--only", "redis fail-back, two histories", *workloads)
    # Steps of the other history are in Redis alone, or are told as a gap of the ledger's.
    broken = ("--break", "lineage", *fault)
    await runs_until_red(tmp_path, *broken, are_red={"P7", "journal"}.intersection)


@pytest.mark.long
async def test_the_harness_goes_red_when_nothing_fences_a_replica_that_a_cluster_promoted(
    tmp_path: Path,
) -> None:
    broken = ("--break", "fence", "--only", "cluster late replica", "--workload", "pay")
    await runs_until_red(tmp_path, *broken, "--quiet-s", "5", are_red={"P7"}.issubset)


@pytest.mark.long
async def test_the_harness_goes_red_when_the_second_who_waits_is_dealt_to_first(
    tmp_path: Path,
) -> None:
    broken = ("--break", "order", "--only", "none, with a list")
    await runs_until_red(tmp_path, *broken, are_red={"P10"}.issubset)


@pytest.mark.long
async def test_the_harness_goes_red_when_what_no_standby_has_is_answered(tmp_path: Path) -> None:
    broken = ("--break", "standby", "--only", "standby late, promoted", "--workload", "pay")
    await runs_until_red(tmp_path, *broken, "--quiet-s", "5", are_red={"P2"}.issubset)
