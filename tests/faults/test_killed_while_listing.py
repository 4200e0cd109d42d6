"""The API process is killed with SIGKILL at each marked line of joining and leaving a list.

Nobody may have two places, none may be lost, and Redis may let nobody wait whom a dealing does not
find in Postgres.
"""

import aiohttp
import pytest

from quota_service.registration.level_list import level_list
from tests.conftest import Running
from tests.faults.test_killed_between_lines import dying_api
from tests.support.evidence import Evidence
from tests.support.listed_exam import import_listed, in_redis, join, joined, leave, look, offer
from tests.support.lost_shards import lose_everything, recover_shards

JOIN_LINES = ["join list: after script", "join list: after commit"]


@pytest.fixture
async def evidence(running: Running) -> Evidence:
    await import_listed(running.client)
    return Evidence(running.service.settings)


async def killed_while_joining(running: Running, line: str) -> None:
    async with dying_api(running.service.settings, running.client, line) as dying:
        with pytest.raises(aiohttp.ClientError):
            await join(dying, key="key-a")


async def numbers(evidence: Evidence) -> list[int]:
    rows = await evidence.rows("SELECT number FROM waiting_list_entries ORDER BY number")
    return [row["number"] for row in rows]


async def level(running: Running) -> None:
    """Compare both stores as the leader of the dealing does, without its patience."""
    stores = running.service.stores
    exam, shard = stores.registry.find("exam-1"), stores.registry.shard("exam-1")
    await level_list(stores.waiting_list.lists, stores.waiting_list.list_ledger, shard, exam)


@pytest.mark.parametrize("line", JOIN_LINES)
async def test_after_a_death_both_stores_come_to_the_same_list_and_a_repeat_joins_once(
    running: Running, evidence: Evidence, line: str
) -> None:
    await killed_while_joining(running, line)
    behind, _ = await in_redis(running)

    await level(running)
    kept = await numbers(evidence)
    waiting, wanted = await in_redis(running)
    again = [await join(running.client, key="key-a") for _ in range(2)]

    assert [text.partition("|")[0] for text in behind.values()] == [""]
    assert kept == ([] if line == JOIN_LINES[0] else [1])
    assert [text.partition("|")[0] for text in waiting.values()] == [str(n) for n in kept]
    assert bool(wanted) == bool(kept)
    assert [reply.status for reply in again] == [201, 201]
    assert again[0].body == again[1].body
    assert await numbers(evidence) == [1]
    waiting, wanted = await in_redis(running)
    assert [text.partition("|")[0] for text in waiting.values()] == ["1"]
    assert set(wanted.values()) == {"1"}


async def test_a_death_and_then_a_lost_redis_lose_no_place(
    running: Running, evidence: Evidence
) -> None:
    await joined(running.client, "c-2")
    await killed_while_joining(running, JOIN_LINES[1])

    await lose_everything(running.service)
    await recover_shards(running.service)

    assert (await join(running.client, key="key-a")).json["number"] == 2
    assert await numbers(evidence) == [1, 2]
    waiting, wanted = await in_redis(running)
    assert sorted(text.partition("|")[0] for text in waiting.values()) == ["1", "2"]
    assert set(wanted.values()) == {"2"}


async def test_a_death_while_a_candidate_leaves_leaves_nobody_waiting(
    running: Running, evidence: Evidence
) -> None:
    entry, other = await joined(running.client), await joined(running.client, "c-2")
    line = "leave list: after commit"
    async with dying_api(running.service.settings, running.client, line) as dying:
        with pytest.raises(aiohttp.ClientError):
            await leave(dying, entry)
    behind, _ = await in_redis(running)

    again = await leave(running.client, entry)
    await level(running)

    assert len(behind) == 2
    assert (again.status, again.json["state"]) == (200, "left")
    waiting, wanted = await in_redis(running)
    assert [text.partition("|")[0] for text in waiting.values()] == [str(other["number"])]
    assert set(wanted.values()) == {"1"}
    assert await numbers(evidence) == [1, 2]


async def test_a_death_while_an_offer_is_given_back_gives_it_back_once(
    running: Running, evidence: Evidence
) -> None:
    api = running.client
    entry = await joined(api)
    reservation = await offer(api, evidence, entry)
    line = "leave list: after release"
    async with dying_api(running.service.settings, api, line) as dying:
        with pytest.raises(aiohttp.ClientError):
            await leave(dying, entry)
    left_over = (await api.get(f"/v1/reservations/{reservation}")).json["state"]

    seen, again = await look(api, entry), await leave(api, entry)

    assert left_over == "released"
    assert (seen["state"], again.json["state"]) == ("declined", "declined")
    (row,) = await evidence.rows("SELECT state, ended_at IS NULL AS live FROM waiting_list_entries")
    assert (row["state"], row["live"]) == ("declined", False)
