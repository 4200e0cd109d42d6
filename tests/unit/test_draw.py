"""The draw: fair, and checked by whoever wants to in a few lines that know nothing of ours."""

import hashlib
import hmac
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quota_service.waiting_room.draw import commitment, rank, share
from quota_service.waiting_room.room import FIRST_RANK, LAST_RANK
from quota_service.waiting_room.verify import DrawNotVerified, verify_draw

SEED = hashlib.sha256(b"a seed that is the same in every run").digest()
CANDIDATES = [f"candidate-{i}" for i in range(6000)]
BINS = 50
CHI_SQUARE_999_OF_49 = 85.35
"""What chi-square with 49 degrees of freedom exceeds once in a thousand draws."""


def published(**changes: Any) -> dict[str, Any]:
    """What the service publishes of a draw after the opening."""
    return {
        "exam": "exam-1",
        "seed": SEED.hex(),
        "seed_commitment": hashlib.sha256(SEED).hexdigest(),
        **changes,
    }


def chi_square(counts: list[int]) -> float:
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 / expected for count in counts)


def test_a_rank_is_the_hmac_that_anybody_can_compute() -> None:
    independent = {
        candidate: hmac.new(SEED, b"exam-1" + candidate.encode(), hashlib.sha256).hexdigest()
        for candidate in CANDIDATES
    }

    assert {candidate: rank(SEED, "exam-1", candidate) for candidate in CANDIDATES} == independent
    assert commitment(SEED) == hashlib.sha256(SEED).hexdigest()


def test_every_part_of_the_order_is_as_likely_as_any_other() -> None:
    counts = [0] * BINS
    for candidate in CANDIDATES:
        counts[int(rank(SEED, "exam-1", candidate), 16) * BINS >> 256] += 1

    assert chi_square(counts) < CHI_SQUARE_999_OF_49


def test_those_who_join_first_are_drawn_no_earlier_than_the_others() -> None:
    order = sorted(CANDIDATES, key=lambda candidate: rank(SEED, "exam-1", candidate))
    place = {candidate: i for i, candidate in enumerate(order)}
    counts = [0] * BINS
    for candidate in CANDIDATES[: len(CANDIDATES) // 2]:
        counts[place[candidate] * BINS // len(CANDIDATES)] += 1

    assert chi_square(counts) < CHI_SQUARE_999_OF_49


def test_the_test_of_fairness_finds_an_order_that_is_not_fair() -> None:
    counts = [0] * BINS
    for candidate in CANDIDATES:
        digits = hashlib.sha256(candidate.encode()).hexdigest()
        counts[min(int(digits, 16), int(digits[::-1], 16)) * BINS >> 256] += 1

    assert chi_square(counts) > CHI_SQUARE_999_OF_49


def test_another_exam_and_another_seed_give_another_order() -> None:
    first = [rank(SEED, "exam-1", candidate) for candidate in CANDIDATES[:100]]

    assert not set(first) & {rank(SEED, "exam-2", c) for c in CANDIDATES[:100]}
    assert not set(first) & {rank(bytes(32), "exam-1", c) for c in CANDIDATES[:100]}


def test_the_share_of_a_threshold_goes_from_nobody_to_everybody() -> None:
    assert share(FIRST_RANK) == 0
    assert share(LAST_RANK) == 1
    assert share("4" + "0" * 63) == pytest.approx(0.25)


def test_a_published_draw_is_verified_and_its_candidates_stand_in_drawn_order() -> None:
    drawn = verify_draw(published(), [*CANDIDATES[:20], CANDIDATES[3]])

    expected = sorted(CANDIDATES[:20], key=lambda candidate: rank(SEED, "exam-1", candidate))
    assert [each.candidate for each in drawn] == expected
    assert [each.rank for each in drawn] == sorted(each.rank for each in drawn)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (published(seed=bytes(32).hex()), "the seed does not match seed_commitment"),
        (published(seed_commitment="0" * 64), "the seed does not match seed_commitment"),
        (published(seed=None), "revealed at the opening"),
        (published(seed=SEED.hex()[:-1]), "64 hex digits"),
        (published(seed=SEED.hex().upper()), "64 hex digits"),
        (published(seed=7), "64 hex digits"),
        (published(seed_commitment=None), "seed_commitment"),
        (published(exam="No Exam"), "name its exam"),
        ([], "not a JSON object"),
    ],
)
def test_a_draw_that_cannot_be_verified_is_refused_with_the_reason(
    document: object, problem: str
) -> None:
    with pytest.raises(DrawNotVerified, match=problem):
        verify_draw(document, CANDIDATES[:1])


def run(*words: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "quota_service.cli", "draw", "verify", *words],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_verifies_a_saved_document_and_prints_the_order(tmp_path: Path) -> None:
    (tmp_path / "room.json").write_text(json.dumps(published()), encoding="utf-8")
    (tmp_path / "more.txt").write_text("candidate-2\ncandidate-3\n", encoding="utf-8")

    done = run(str(tmp_path / "room.json"), "candidate-1", "--file", str(tmp_path / "more.txt"))

    expected = verify_draw(published(), ["candidate-1", "candidate-2", "candidate-3"])
    *lines, last = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines == [f"{i}\t{d.rank}\t{d.candidate}" for i, d in enumerate(expected, start=1)]
    assert commitment(SEED) in last


def test_the_command_fails_when_the_seed_is_another_one_or_nothing_can_be_read() -> None:
    other = run("-", "candidate-1", given=json.dumps(published(seed="0" * 64)))
    no_json = run("-", given="<html>")
    no_file = run("nowhere.json")

    assert [done.returncode for done in (other, no_json, no_file)] == [1, 1, 1]
    assert other.stdout == ""
    assert "does not match" in other.stderr
    assert all(done.stderr.startswith("quota-service: ") for done in (other, no_json, no_file))
