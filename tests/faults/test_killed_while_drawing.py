"""Processes die while a draw with a source fills, is frozen, and gets its source.

Who was answered is in the root, nobody is added, and the source is noted once.
"""

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from quota_service.registration.decide_source import open_without_source, put_in_source
from quota_service.registration.waiting_room import join
from quota_service.settings import Settings
from quota_service.waiting_room.entries import leaf_of, root_of
from quota_service.workers.draw import DrawWorker
from tests.conftest import Running
from tests.faults.entry import run as run_entry
from tests.faults.test_killed_between_lines import ROOT, dying_api
from tests.support.draws import OUTCOME, SIGNATURE, DrawUnderTest
from tests.support.forked import fork
from tests.support.patience import START_LIMIT_S
from tests.support.service_cli import environment
from tests.support.use_cases import DiedError, dying

ROOM = "/v1/exams/exam-1/waiting-room"
CANDIDATES = [f"candidate-{i}" for i in range(9)]
ALL = root_of(sorted(leaf_of("exam-1", each) for each in CANDIDATES))


async def filled(running: Running, *, is_drand: bool = False) -> DrawUnderTest:
    """Return the draw of exam-1 with all candidates in it."""
    draw = DrawUnderTest(running.service, is_drand=is_drand)
    await draw.define()
    room = running.service.stores.waiting_room
    await asyncio.gather(*(join(room, "exam-1", each) for each in CANDIDATES))
    return draw


async def killed_worker(settings: Settings, line: str, folder: Path) -> int:
    """Run a worker process until it kills itself at a line; return how it ended."""
    process = await fork(
        run_entry,
        "worker",
        cwd=ROOT,
        env={**environment(settings), "FAULTS_DIE_AT": line, "FAULTS_FOLDER": str(folder)},
    )
    try:
        return await asyncio.wait_for(process.wait(), START_LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_who_was_not_answered_joins_again_and_is_in_the_root_once(
    running: Running,
) -> None:
    draw = DrawUnderTest(running.service)
    await draw.define()

    line = "join: after entry"
    async with dying_api(running.service.settings, running.client, line) as dead:
        with pytest.raises(aiohttp.ClientError):
            await dead.call("POST", ROOM, json={"candidate": CANDIDATES[0]})
    entered = await draw.entries()
    again = await running.client.call("POST", ROOM, json={"candidate": CANDIDATES[0]})
    frozen = await draw.freeze()

    assert entered == [leaf_of("exam-1", CANDIDATES[0])]
    assert again.json["kind"] == "draw"
    assert frozen.entries is not None
    assert (frozen.entries.count, frozen.entries.root) == (1, leaf_of("exam-1", CANDIDATES[0]))


async def test_a_worker_that_is_killed_before_the_freeze_leaves_it_to_another(
    running: Running, tmp_path: Path
) -> None:
    draw = await filled(running)
    await draw.close()

    end = await killed_worker(running.service.settings, "freeze: before root", tmp_path)
    unfinished = await draw.draw()
    late = await running.client.call("POST", ROOM, json={"candidate": "too-late"})
    await draw.worker.run_once()

    frozen = (await draw.draw()).entries
    assert (end, unfinished.entries) == (-signal.SIGKILL, None)
    assert late.json["kind"] == "number"
    assert frozen is not None
    assert (frozen.count, frozen.root) == (len(CANDIDATES), ALL)


@pytest.mark.parametrize(
    "line", ["freeze: some subtrees noted", "freeze: before root", "freeze: after root"]
)
async def test_a_freeze_that_died_is_done_again_with_the_same_root(
    running: Running, line: str
) -> None:
    draw = await filled(running)
    await draw.close()
    stores, settings = running.service.stores.waiting_room, running.service.settings

    with pytest.raises(DiedError):
        await DrawWorker(dying(stores, line), settings).run_once()
    await stores.rooms.refresh()
    once = (await draw.draw()).entries
    await draw.worker.run_once()

    frozen = (await draw.draw()).entries
    assert (once is None) == (line != "freeze: after root")
    assert frozen is not None
    assert (frozen.count, frozen.root) == (len(CANDIDATES), ALL)
    assert once in {None, frozen}
    async with running.service.stores.ledger.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM draw_subtrees") == 1


@pytest.mark.parametrize("line", ["source: before note", "source: after note"])
async def test_a_source_that_was_fetched_by_who_died_is_noted_once(
    running: Running, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetched(*_: object) -> bytes:
        return SIGNATURE

    monkeypatch.setattr("quota_service.workers.draw.fetch_beacon", fetched)
    draw = await filled(running, is_drand=True)
    await draw.freeze(at_in_s=-20)
    stores, settings = running.service.stores.waiting_room, running.service.settings

    with pytest.raises(DiedError):
        await DrawWorker(dying(stores, line), settings).run_once()
    once = (await draw.draw()).known
    await draw.worker.run_once()

    known = (await draw.draw()).known
    assert (once is None) == (line == "source: before note")
    assert known is not None
    assert known.evidence == SIGNATURE.hex()
    assert once in {None, known}


@pytest.mark.parametrize("line", ["decide: before commit", "decide: after commit"])
async def test_a_decision_that_died_is_made_again_and_noted_once(
    running: Running, line: str
) -> None:
    draw = await filled(running)
    await draw.freeze(at_in_s=-20)
    stores = running.service.stores.waiting_room

    with pytest.raises(DiedError):
        await open_without_source(dying(stores, line), "exam-1", "it does not come")
    once = (await draw.draw()).sourceless
    await open_without_source(stores, "exam-1", "it does not come")

    noted = await running.service.stores.ops_actions.page("exam-1", None, None, 0, 10)
    assert (once is None) == (line == "decide: before commit")
    assert [each.action for each in noted] == ["open-without-draw"]
    assert once in {None, (await draw.draw()).sourceless}


async def test_an_outcome_that_was_put_in_by_who_died_stays(running: Running) -> None:
    draw = await filled(running)
    await draw.freeze(at_in_s=-20)
    stores = running.service.stores.waiting_room

    with pytest.raises(DiedError):
        await put_in_source(dying(stores, "decide: after commit"), "exam-1", OUTCOME, "drawn")
    await put_in_source(stores, "exam-1", OUTCOME, "drawn")

    known = (await draw.draw()).known
    assert known is not None
    assert known.evidence == OUTCOME
