"""The way through the waiting room as one call, against a room that is told what to say."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from quota_service.client import Progress, QuotaClient, Repeats
from quota_service.client.draw import rank_of
from quota_service.client.problems import TurnPassed, WaitingRoomOff
from quota_service.waiting_room.draw import rank, sourced_rank
from tests.support.told_service import Answer, ToldService, document, problem, told_service

SEED = bytes(range(32))
RANDOMNESS = bytes(range(32, 64))
RANK = rank(SEED, "exam-1", "c-1")


@pytest.fixture
async def told() -> AsyncIterator[ToldService]:
    async with told_service() as service:
        yield service


@pytest.fixture
async def client(told: ToldService) -> AsyncIterator[QuotaClient]:
    repeats = Repeats(pause_s=0.0, pause_max_s=0.0)
    async with QuotaClient(told.url, key="k", repeats=repeats) as client:
        yield client


def ticket(**members: object) -> Answer:
    given = {"kind": "draw", "number": None, "rank": None, "ticket": "a-ticket", **members}
    return document(exam="exam-1", candidate="c-1", **given)


def room(**members: object) -> dict[str, object]:
    return {
        "exam": "exam-1",
        "phase": "draw",
        "threshold": RANK,
        "serving": 0,
        "poll_after": 0,
        "seed": SEED.hex(),
        "seed_commitment": hashlib.sha256(SEED).hexdigest(),
        "source": None,
        "entries": None,
        **members,
    }


async def test_a_candidate_of_the_draw_waits_for_its_rank_and_claims(
    told: ToldService, client: QuotaClient
) -> None:
    told.answers = [
        ticket(),
        document(**room(phase="before", seed=None, threshold="0" * 64)),
        document(**room()),
        document(**{"pass": "a-pass"}),
    ]
    seen: list[Progress] = []

    granted = await client.admitted("exam-1", "c-1", seen.append)

    assert granted["pass"] == "a-pass"
    assert [(each.rank, each.is_turn) for each in seen] == [(None, False), (RANK, True)]
    assert [f"{asked.method} {asked.path.rpartition('/')[2]}" for asked in told.asked] == [
        "POST waiting-room",
        "GET waiting-room",
        "GET waiting-room",
        "POST claims",
    ]


async def test_a_claim_that_comes_too_early_for_another_process_is_made_again(
    told: ToldService, client: QuotaClient
) -> None:
    told.answers = [
        ticket(kind="number", number=5),
        document(**room(phase="queue", serving=5)),
        problem("not-your-turn", 409, threshold="0" * 64, serving=4, poll_after=0),
        document(**room(phase="queue", serving=5)),
        document(**{"pass": "a-pass"}),
    ]

    granted = await client.admitted("exam-1", "c-1")

    assert granted["pass"] == "a-pass"


async def test_a_candidate_whose_turn_passed_joins_again_but_not_for_ever(
    told: ToldService, client: QuotaClient
) -> None:
    once = [
        ticket(kind="number", number=5),
        document(**room(phase="queue", serving=5)),
        problem("turn-passed", 409),
    ]
    told.answers = once * 3

    with pytest.raises(TurnPassed):
        await client.admitted("exam-1", "c-1")

    assert len(told.asked) == 9


async def test_an_exam_without_a_room_says_so(told: ToldService, client: QuotaClient) -> None:
    told.answers = [problem("waiting-room-off", 409)]

    with pytest.raises(WaitingRoomOff):
        await client.admitted("exam-1", "c-1")


def test_ranks_are_those_that_the_service_draws() -> None:
    source = {"randomness": RANDOMNESS.hex()}
    sourceless = {"source": {"randomness": None}, "entries": {"root": RANDOMNESS.hex()}}

    drawn = sourced_rank(SEED + RANDOMNESS, "exam-1", "c-1")

    assert rank_of(room(), "c-1") == RANK  # type: ignore[arg-type]
    assert rank_of(room(source=source), "c-1") == drawn  # type: ignore[arg-type]
    assert rank_of(room(**sourceless), "c-1") == drawn  # type: ignore[arg-type]
    assert rank_of(room(source={"randomness": None}), "c-1") is None  # type: ignore[arg-type]
    assert rank_of(room(seed=None), "c-1") is None  # type: ignore[arg-type]


def test_a_seed_that_was_not_committed_to_is_refused() -> None:
    with pytest.raises(ValueError, match="not the one that was committed to"):
        rank_of(room(seed="00" * 32), "c-1")  # type: ignore[arg-type]
