"""The API process is killed with SIGKILL at each marked line of joining and claiming.

No number may be given twice, none left out while Redis counts, and nobody may lose a place.
"""

from typing import Any

import aiohttp
import pytest

from quota_service.registration.queue_numbers import NumberBlock
from quota_service.settings import Settings
from tests.conftest import Running
from tests.faults.test_killed_between_lines import dying_api
from tests.support.client import ApiClient, Reply
from tests.support.lost_shards import lose_everything, recover_shards
from tests.support.redis_clients import redis_of
from tests.support.rooms import admit, open_room

ROOM = "/v1/exams/exam-1/waiting-room"
BLOCK = 500
"""What the process that dies sets aside: it has the settings by default."""

LINES = [
    "join: before numbers are set aside",
    "join: after numbers are set aside",
    "join: after numbers are given",
]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_limits(NumberBlock(BLOCK))


async def join(api: ApiClient, candidate: str) -> Reply:
    return await api.call("POST", ROOM, json={"candidate": candidate})


async def numbers(running: Running, *candidates: str) -> list[int]:
    return [(await join(running.client, candidate)).json["number"] for candidate in candidates]


async def reserved(running: Running) -> int:
    rooms = await running.service.stores.maintenance.waiting_rooms.all()
    return rooms["exam-1"].numbers_reserved


async def killed_while_joining(running: Running, line: str) -> None:
    """Let a process die at a line while it sets numbers aside for its first candidate."""
    async with dying_api(running.service.settings, running.client, line) as dying:
        with pytest.raises(aiohttp.ClientError):
            await join(dying, "candidate-1")


@pytest.mark.parametrize("line", LINES)
async def test_a_death_while_numbers_are_set_aside_costs_nobody_a_place(
    running: Running, line: str
) -> None:
    await open_room(running.service, opens_in_s=-60)

    await killed_while_joining(running, line)
    set_aside = await reserved(running)
    given = await numbers(running, "candidate-1", "candidate-2", "candidate-1")

    assert set_aside == (0 if line == LINES[0] else BLOCK)
    first = BLOCK + 1 if line == LINES[1] else 1
    assert given == [first, first + 1, first]
    assert await reserved(running) == (2 * BLOCK if line == LINES[1] else BLOCK)


@pytest.mark.parametrize("line", LINES)
async def test_a_death_at_the_end_of_a_block_leaves_no_gap_in_the_queue(
    running: Running, line: str
) -> None:
    """The block that a dead process has set aside is found by the next one that needs it."""
    await open_room(running.service, opens_in_s=-60)
    shard = running.service.stores.registry.shard("exam-1")
    assert await numbers(running, "candidate-0") == [1]
    await redis_of(running.service).hset(shard.key("room"), "last", BLOCK)

    await killed_while_joining(running, line)
    given = await numbers(running, "candidate-1", "candidate-2", "candidate-1")

    assert given == [BLOCK + 1, BLOCK + 2, BLOCK + 1]
    assert await reserved(running) == 2 * BLOCK


@pytest.mark.parametrize("line", LINES)
async def test_a_death_and_then_a_lost_redis_give_no_number_twice(
    running: Running, line: str
) -> None:
    await open_room(running.service, opens_in_s=-60)
    before = await numbers(running, "a", "b", "c")

    await lose_everything(running.service)
    await recover_shards(running.service)
    await killed_while_joining(running, line)
    after = await numbers(running, "d", "e", "f")

    assert min(after) > max(before)
    assert len({*before, *after}) == 6
    assert max(after) <= await reserved(running)


async def test_a_claim_whose_answer_was_never_sent_gives_the_same_pass_again(
    running: Running,
) -> None:
    await open_room(running.service, opens_in_s=-60)
    ticket = (await join(running.client, "candidate-1")).json["ticket"]
    await admit(running.service, serving=1)
    body: Any = {"candidate": "candidate-1", "ticket": ticket}

    async with dying_api(running.service.settings, running.client, "claim: after script") as dying:
        with pytest.raises(aiohttp.ClientError):
            await dying.call("POST", f"{ROOM}/claims", json=body)
    again = [await running.client.call("POST", f"{ROOM}/claims", json=body) for _ in range(2)]

    assert [reply.status for reply in again] == [200, 200]
    assert again[0].body == again[1].body
