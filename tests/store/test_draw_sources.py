"""Draws with a public source: who is in them for good, and what has to come before admission.

Over 400 lines because both kinds of source share one exam.
"""

import asyncio
import dataclasses
import hashlib
import hmac
from typing import Any

import asyncpg
import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import (
    DefinitionRefused,
    EntriesOpen,
    NotInDraw,
    NotYourTurn,
    OpenedWithoutSource,
    SourceKnown,
    SourceNotDue,
    SourceOff,
)
from quota_service.registration.decide_source import open_without_source, put_in_source
from quota_service.registration.import_exam import import_exam
from quota_service.registration.prove_entry import prove_entry
from quota_service.registration.room_cache import RoomRefresh
from quota_service.registration.waiting_room import claim, join
from quota_service.settings import Settings
from quota_service.waiting_room.entries import leaf_of, root_of
from quota_service.waiting_room.status import Phase
from tests.support.draws import OUTCOME, DrawUnderTest
from tests.support.lost_shards import lose_everything, recover_shards
from tests.support.rooms import let_open, open_room, process_beside, room_exam, stored

CANDIDATES = [f"candidate-{i}" for i in range(7)]
LEAVES = sorted(leaf_of("exam-1", candidate) for candidate in CANDIDATES)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_limits(RoomRefresh(10))


@pytest.fixture
async def draw(service: Service) -> DrawUnderTest:
    """The draw of exam-1 by an event; its entries close in ten minutes."""
    opened = DrawUnderTest(service)
    await opened.define()
    return opened


async def join_all(service: Service) -> dict[str, Any]:
    room = service.stores.waiting_room
    joined = await asyncio.gather(*(join(room, "exam-1", each) for each in CANDIDATES))
    return {each.ticket.candidate: each for each in joined}


async def test_who_joins_in_time_is_an_entry_once_however_often(draw: DrawUnderTest) -> None:
    first = await join_all(draw.service)
    again = await join_all(draw.service)

    assert all(each.ticket.is_for_draw for each in first.values())
    assert [each.text for each in again.values()] == [each.text for each in first.values()]
    assert await draw.entries() == LEAVES


async def test_at_the_freeze_count_and_root_are_published_and_stay(draw: DrawUnderTest) -> None:
    await join_all(draw.service)

    frozen = await draw.freeze()
    late = await join(draw.service.stores.waiting_room, "exam-1", "too-late")
    again = await draw.worker.run_once()
    document = draw.service.stores.waiting_room.rooms.current("exam-1").document

    assert frozen.entries is not None
    assert (frozen.entries.count, frozen.entries.root) == (7, root_of(LEAVES))
    assert document.draw == frozen
    assert document.seed is None
    assert late.ticket.place == 1
    assert not any(again.values())
    assert await draw.entries() == LEAVES


async def test_a_draw_that_nobody_joined_is_frozen_too(draw: DrawUnderTest) -> None:
    frozen = await draw.freeze()

    assert frozen.entries is not None
    assert (frozen.entries.count, frozen.entries.root) == (0, hashlib.sha256().digest())


async def test_an_entry_whose_draw_is_closed_meanwhile_becomes_a_number(
    draw: DrawUnderTest, settings: Settings
) -> None:
    """Redis says: in the draw. Before the entry is committed, another process freezes the draw."""
    closed = asyncio.Event()
    reached = asyncio.Event()
    rooms = draw.service.stores.waiting_room.waiting_rooms
    shard = draw.service.stores.registry.shard("exam-1")

    async with process_beside(settings) as other:
        enter = other.stores.waiting_room.draws.enter

        async def held(exam: str, leaf: bytes) -> bool:
            reached.set()
            await closed.wait()
            return await enter(exam, leaf)

        other.stores.waiting_room.draws.enter = held  # type: ignore[method-assign]
        joining = asyncio.create_task(join(other.stores.waiting_room, "exam-1", "candidate-1"))
        await reached.wait()
        await rooms.note_draw_closed((shard.exam, shard.epoch))
        closed.set()
        joined = await joining

    assert joined.ticket.place == 1
    assert await draw.entries() == []


async def test_whoever_is_answered_around_the_freeze_is_in_the_root_or_has_a_number(
    draw: DrawUnderTest, settings: Settings
) -> None:
    candidates = [f"c-{i}" for i in range(120)]
    shard = draw.service.stores.registry.shard("exam-1")

    async with process_beside(settings) as other:
        rooms = [draw.service.stores.waiting_room, other.stores.waiting_room]
        joins = [
            asyncio.create_task(join(rooms[i % 2], "exam-1", each))
            for i, each in enumerate(candidates)
        ]
        await joins[0]
        await rooms[0].waiting_rooms.note_draw_closed((shard.exam, shard.epoch))
        tickets = [joined.ticket for joined in await asyncio.gather(*joins)]
        await draw.worker.run_once()

    in_draw = sorted(leaf_of("exam-1", each.candidate) for each in tickets if each.is_for_draw)
    numbers = sorted(each.place for each in tickets if not each.is_for_draw)
    frozen = (await draw.draw()).entries
    assert await draw.entries() == in_draw
    assert numbers == list(range(1, len(numbers) + 1))
    assert frozen is not None
    assert (frozen.count, frozen.root) == (len(in_draw), root_of(in_draw))


async def test_the_freeze_waits_for_an_entry_on_its_way(draw: DrawUnderTest) -> None:
    service = draw.service
    shard = service.stores.registry.shard("exam-1")
    query = service.stores.ledger.query["insert_draw_entries"]

    async with service.stores.ledger.transaction() as connection:
        assert await connection.fetch(query, ["exam-1"], [LEAVES[0]])
        freezing = asyncio.create_task(
            service.stores.waiting_room.waiting_rooms.note_draw_closed((shard.exam, shard.epoch))
        )
        done, _ = await asyncio.wait({freezing}, timeout=0.2)
        assert not done
    await freezing

    assert await draw.entries() == LEAVES[:1]
    assert await service.stores.waiting_room.draws.enter("exam-1", LEAVES[1]) is False


async def test_a_redis_that_is_lost_neither_loses_nor_adds_entries(draw: DrawUnderTest) -> None:
    await join_all(draw.service)

    await lose_everything(draw.service)
    await recover_shards(draw.service)
    frozen = await draw.freeze()
    await lose_everything(draw.service)
    await recover_shards(draw.service)
    late = await join(draw.service.stores.waiting_room, "exam-1", "too-late")

    assert frozen.entries is not None
    assert (frozen.entries.count, frozen.entries.root) == (7, root_of(LEAVES))
    assert not late.ticket.is_for_draw
    assert await draw.entries() == LEAVES


async def test_a_draw_whose_redis_is_away_is_closed_by_postgres(draw: DrawUnderTest) -> None:
    """Redis still says that entries are taken, as one would whose clock stands."""
    service = draw.service
    await join_all(service)
    async with service.stores.ledger.connection() as connection:
        await connection.execute(
            "UPDATE waiting_rooms SET source = jsonb_set(source, '{entries_close_at}',"
            " to_jsonb(date_trunc('milliseconds', clock_timestamp() - interval '6 s')))"
        )

    closed, frozen = await draw.worker.run_once(), await draw.worker.run_once()
    late = await join(service.stores.waiting_room, "exam-1", "too-late")

    assert (closed["closed"], frozen["frozen"]) == (1, 1)
    assert late.ticket.place == 1
    assert await draw.entries() == LEAVES


async def test_nobody_is_admitted_before_the_source_and_then_by_seed_and_source(
    draw: DrawUnderTest,
) -> None:
    room = draw.service.stores.waiting_room
    tickets = await join_all(draw.service)
    await draw.freeze(at_in_s=-20)
    await let_open(draw.service)
    waiting = room.rooms.current("exam-1").status

    with pytest.raises(NotYourTurn):
        await claim(room, "exam-1", CANDIDATES[0], tickets[CANDIDATES[0]].text)
    shown = await put_in_source(room, "exam-1", OUTCOME, "drawn at noon")
    status = room.rooms.current("exam-1").status
    ranks = {each: status.rank(each) for each in CANDIDATES}

    seed = (await stored(draw.service)).seed
    key = seed + hashlib.sha256(OUTCOME.encode()).digest()
    assert waiting.phase(room.rooms.now_ms()) is Phase.BEFORE
    assert waiting.rank(CANDIDATES[0]) is None
    assert shown.document.seed == seed.hex()
    assert status.phase(room.rooms.now_ms()) is Phase.DRAW
    assert ranks == {
        each: hmac.new(key, b"exam-1\0" + each.encode(), "sha256").hexdigest()
        for each in CANDIDATES
    }


async def test_postgres_admits_nobody_of_a_draw_before_its_source(draw: DrawUnderTest) -> None:
    await draw.freeze()

    async with draw.service.stores.ledger.connection() as connection:
        with pytest.raises(asyncpg.CheckViolationError, match="waiting_rooms_source_first"):
            await connection.execute("UPDATE waiting_rooms SET threshold = repeat('f', 64)")


async def test_an_outcome_is_put_in_once_and_only_when_it_can_be(draw: DrawUnderTest) -> None:
    room = draw.service.stores.waiting_room
    with pytest.raises(EntriesOpen):
        await put_in_source(room, "exam-1", OUTCOME, "too early")
    await draw.freeze(at_in_s=600)
    with pytest.raises(SourceNotDue):
        await put_in_source(room, "exam-1", OUTCOME, "too early")
    with pytest.raises(SourceNotDue):
        await open_without_source(room, "exam-1", "too early")


async def test_a_second_outcome_is_refused_and_the_same_again_changes_nothing(
    draw: DrawUnderTest,
) -> None:
    room = draw.service.stores.waiting_room
    await draw.freeze(at_in_s=-20)

    await put_in_source(room, "exam-1", OUTCOME, "drawn at noon")
    once = await draw.draw()
    await put_in_source(room, "exam-1", OUTCOME, "again")
    with pytest.raises(SourceKnown):
        await put_in_source(room, "exam-1", f"{OUTCOME} ", "a blank more")
    with pytest.raises(SourceKnown):
        await open_without_source(room, "exam-1", "too late")
    noted = await draw.service.stores.ops_actions.page("exam-1", None, None, 0, 10)

    assert await draw.draw() == once
    assert [(each.action, each.reason) for each in noted] == [("put-in-source", "drawn at noon")]
    assert noted[0].detail == {"evidence": OUTCOME}


async def test_ops_open_without_a_source_that_does_not_come_once_and_for_good(
    draw: DrawUnderTest,
) -> None:
    room = draw.service.stores.waiting_room
    await join_all(draw.service)
    await draw.freeze(at_in_s=-20)
    await let_open(draw.service)

    shown = await open_without_source(room, "exam-1", "the lottery was called off")
    again = await open_without_source(room, "exam-1", "again")
    with pytest.raises(OpenedWithoutSource):
        await put_in_source(room, "exam-1", OUTCOME, "it came all the same")
    rank = room.rooms.current("exam-1").status.rank(CANDIDATES[0])

    assert shown.document.draw is not None
    assert shown.document.draw.sourceless is not None
    assert shown.document.draw.sourceless.reason == "the lottery was called off"
    assert again.document.draw == shown.document.draw
    assert shown.document.phase is Phase.DRAW
    key = (await stored(draw.service)).seed + root_of(LEAVES)
    assert rank == hmac.new(key, b"exam-1\0" + CANDIDATES[0].encode(), "sha256").hexdigest()
    noted = await draw.service.stores.ops_actions.page("exam-1", None, None, 0, 10)
    assert [each.action for each in noted] == ["open-without-draw"]


async def test_of_a_decision_and_an_outcome_at_once_one_stands(draw: DrawUnderTest) -> None:
    room = draw.service.stores.waiting_room
    await draw.freeze(at_in_s=-20)

    ends = await asyncio.gather(
        put_in_source(room, "exam-1", OUTCOME, "drawn"),
        open_without_source(room, "exam-1", "not drawn"),
        return_exceptions=True,
    )

    refused = [end for end in ends if isinstance(end, SourceKnown | OpenedWithoutSource)]
    draw_now = await draw.draw()
    assert len(refused) == 1
    assert (draw_now.known is None) != (draw_now.sourceless is None)


async def test_every_ticket_of_the_draw_is_proved_and_no_other(draw: DrawUnderTest) -> None:
    room = draw.service.stores.waiting_room
    tickets = await join_all(draw.service)
    with pytest.raises(EntriesOpen):
        await prove_entry(room, "exam-1", tickets[CANDIDATES[0]].text)
    await draw.freeze()
    late = await join(room, "exam-1", "too-late")

    for each in CANDIDATES:
        found = await prove_entry(room, "exam-1", tickets[each].text)
        assert (found.candidate, found.proof.leaf) == (each, leaf_of("exam-1", each))
        assert found.proof.root == found.root == root_of(LEAVES)
        assert found.rank is None
    with pytest.raises(NotInDraw):
        await prove_entry(room, "exam-1", late.text)


async def test_a_draw_that_lost_its_source_is_late_no_more(draw: DrawUnderTest) -> None:
    def late_s() -> float | None:
        sample = draw.service.metrics.registry.get_sample_value
        return sample("quota_draw_late_seconds", {"exam": "exam-1"})

    await draw.worker.run_once()
    in_time = late_s()
    await open_room(draw.service)
    await draw.worker.run_once()

    assert (in_time, late_s()) == (0, None)


async def test_a_room_without_a_source_has_no_entries(service: Service) -> None:
    await open_room(service)
    ticket = await join(service.stores.waiting_room, "exam-1", "candidate-1")

    with pytest.raises(SourceOff):
        await prove_entry(service.stores.waiting_room, "exam-1", ticket.text)
    with pytest.raises(SourceOff):
        await open_without_source(service.stores.waiting_room, "exam-1", "why not")
    async with service.stores.ledger.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM draw_entries") == 0


async def test_the_source_may_change_until_the_entries_are_frozen(draw: DrawUnderTest) -> None:
    await join_all(draw.service)
    await draw.define(close_in_s=700, at_in_s=1300)
    moved = await draw.draw()
    await draw.freeze()
    frozen = await draw.draw()

    with pytest.raises(DefinitionRefused, match="frozen"):
        await draw.define(close_in_s=700, at_in_s=1300)
    assert moved.source != frozen.source
    assert await draw.draw() == frozen


async def test_an_opening_that_is_postponed_after_the_freeze_leaves_the_draw_as_it_is(
    draw: DrawUnderTest,
) -> None:
    room = draw.service.stores.waiting_room
    await join_all(draw.service)
    frozen = await draw.freeze(at_in_s=-20)
    known = draw.service.stores.registry.find("exam-1")
    window = dataclasses.replace(
        known.registration, opens_at_ms=known.registration.opens_at_ms + 600_000
    )
    await import_exam(
        draw.service.stores.maintenance, dataclasses.replace(known, registration=window)
    )
    late = await join(room, "exam-1", "too-late")

    assert await draw.draw() == frozen
    assert late.ticket.place == 1


async def test_a_source_is_neither_added_nor_removed_while_candidates_are_in_the_draw(
    service: Service,
) -> None:
    await open_room(service)
    draw = DrawUnderTest(service)
    await draw.define()
    await open_room(service)
    await join(service.stores.waiting_room, "exam-1", "candidate-1")
    with pytest.raises(DefinitionRefused, match="cannot be added"):
        await draw.define()

    other = room_exam("exam-1", opens_in_s=3600, closes_in_s=7200)
    assert service.stores.registry.find("exam-1").waiting_room == other.waiting_room
    assert (await stored(service)).draw is None


async def test_a_source_is_not_removed_while_candidates_are_in_the_draw(
    draw: DrawUnderTest,
) -> None:
    await join_all(draw.service)

    with pytest.raises(DefinitionRefused, match="cannot be removed"):
        await open_room(draw.service)
    assert (await draw.draw()).source.description
