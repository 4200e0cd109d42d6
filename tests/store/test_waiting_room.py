"""The waiting room over both stores: its secrets, its numbers, and what outlives a lost Redis.

Over 400 lines because all of it follows one room from its draw to its end.
"""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from quota_service.app import Service, open_service, refresh_memory
from quota_service.domain.errors import (
    LedgerUnavailable,
    NotReady,
    NotYourTurn,
    Overloaded,
    TicketUsed,
    WaitingRoomOff,
)
from quota_service.ledger.pool import Ledger
from quota_service.registration.import_exam import import_exam
from quota_service.registration.waiting_room import claim, finish, join
from quota_service.seats.codes import Code
from quota_service.settings import Settings
from quota_service.waiting_room.room import FIRST_RANK, LAST_RANK
from quota_service.waiting_room.standing import Phase
from tests.support.lost_shards import lose_everything, recover_shards, rows
from tests.support.redis_clients import redis_of
from tests.support.rooms import admit, let_open, open_room, room_exam
from tests.support.waiting import eventually

BLOCK = 5


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return dataclasses.replace(settings, waiting_room_block=BLOCK, waiting_room_refresh_s=10)


@pytest.fixture
async def room(service: Service) -> Service:
    """A service whose exam has a room that opens in an hour."""
    await open_room(service)
    return service


@pytest.fixture
async def queue(service: Service) -> Service:
    """A service whose exam has a room without a draw: numbers from the start."""
    await open_room(service, opens_in_s=-60)
    return service


@pytest.fixture
async def other(settings: Settings, queue: Service) -> AsyncIterator[Service]:
    """Another process on the stores of `queue`."""
    assert queue.stores.registry.is_loaded
    async with open_service(settings) as opened:
        await refresh_memory(opened)
        await opened.stores.rooms.refresh()
        yield opened


async def number(service: Service, candidate: str) -> int:
    return (await join(service.stores, "exam-1", candidate)).ticket.place


async def stored(service: Service) -> Any:
    """Return the row of the room as Postgres has it."""
    return (await service.stores.waiting_rooms.all())["exam-1"]


async def reserved(service: Service) -> int:
    return int((await stored(service)).numbers_reserved)


async def test_a_room_is_made_with_its_exam_and_keeps_its_secrets(room: Service) -> None:
    before = await stored(room)

    await open_room(room, rules={"rate_per_s": 5, "places_max": 7})
    after = await stored(room)

    assert len({before.seed, before.ticket_key, before.pass_key}) == 3
    assert (before.threshold, before.serving, before.opened_ms) == (FIRST_RANK, 0, None)
    assert (after.seed, after.ticket_key, after.pass_key) == (
        before.seed, before.ticket_key, before.pass_key
    )  # fmt: skip


async def test_two_exams_have_two_seeds(room: Service) -> None:
    await import_exam(room.stores, room_exam("exam-2"))

    rooms = await room.stores.waiting_rooms.all()

    assert len({each.seed for each in rooms.values()}) == 2


async def test_an_exam_without_a_room_gets_one_by_an_import_and_loses_it_by_another(
    service: Service,
) -> None:
    with pytest.raises(WaitingRoomOff):
        await number(service, "candidate-1")

    await open_room(service)
    exam = service.stores.registry.find("exam-1")
    with_room = await join(service.stores, "exam-1", "candidate-1")
    await import_exam(service.stores, dataclasses.replace(exam, waiting_room=None))
    with pytest.raises(WaitingRoomOff):
        await number(service, "candidate-1")
    await import_exam(service.stores, exam)
    again = await join(service.stores, "exam-1", "candidate-1")

    assert with_room.ticket.is_for_draw
    assert again.text == with_room.text


async def test_a_room_that_is_switched_on_after_the_opening_starts_with_numbers(
    queue: Service,
) -> None:
    found = await stored(queue)

    assert (found.threshold, found.late_threshold) == (LAST_RANK, LAST_RANK)
    assert found.opened_ms is not None
    assert await number(queue, "candidate-1") == 1


async def test_a_room_does_not_open_by_a_clock_that_is_not_redis_own(
    settings: Settings, room: Service
) -> None:
    await let_open(room)
    away = dataclasses.replace(settings, redis_url="redis://127.0.0.1:1")

    async with open_service(away) as blind:
        await refresh_memory(blind)
        await blind.stores.rooms.refresh()
        shown = blind.stores.rooms.current("exam-1").document
        with pytest.raises(NotReady):
            blind.health.redis_now_ms()
        with pytest.raises(NotReady):
            await join(blind.stores, "exam-1", "candidate-1")
    await room.stores.rooms.refresh()
    seen = room.stores.rooms.current("exam-1").document

    assert shown.phase is Phase.BEFORE
    assert seen.phase is not Phase.BEFORE
    assert seen.seed is not None


@pytest.mark.parametrize(
    ("constraint", "change"),
    [
        ("waiting_rooms_late_ranks", "late_threshold = repeat('1', 64)"),
        ("waiting_rooms_late_numbers", "late_through = 1"),
        ("waiting_rooms_numbers", f"threshold = '{LAST_RANK}', serving = 1"),
        ("waiting_rooms_draw_first", "serving = 1, numbers_reserved = 1"),
        ("waiting_rooms_threshold", "threshold = repeat('F', 64)"),
        ("waiting_rooms_seed", "seed = ''"),
        ("waiting_rooms_rate", "rate = 0"),
        ("waiting_rooms_lease", "leader = 'somebody'"),
    ],
)
async def test_postgres_refuses_a_position_that_cannot_be(
    room: Service, constraint: str, change: str
) -> None:
    async with room.stores.ledger.connection() as connection:
        with pytest.raises(asyncpg.CheckViolationError, match=constraint):
            async with connection.transaction():
                await connection.execute(f"UPDATE waiting_rooms SET {change}")  # noqa: S608


async def test_numbers_are_set_aside_in_blocks_before_they_are_handed_out(queue: Service) -> None:
    seen = [
        (await number(queue, f"candidate-{i}"), await reserved(queue)) for i in range(2 * BLOCK + 1)
    ]

    assert [each for each, _ in seen] == list(range(1, 2 * BLOCK + 2))
    assert all(given <= mark for given, mark in seen)
    assert [mark for _, mark in seen] == [5] * 5 + [10] * 5 + [15]


async def test_a_crowd_at_two_processes_gets_every_number_once(
    queue: Service, other: Service
) -> None:
    crowd = [(service, f"candidate-{i}") for i in range(60) for service in (queue, other)]

    given = await asyncio.gather(*(number(*each) for each in crowd))

    by_candidate = {
        each: {n for (_, c), n in zip(crowd, given, strict=True) if c == each} for _, each in crowd
    }
    assert all(len(numbers) == 1 for numbers in by_candidate.values())
    assert sorted(set(given)) == list(range(1, 61))


async def test_a_crowd_that_outgrows_a_block_is_given_one_of_its_own_size(queue: Service) -> None:
    crowd = [f"candidate-{i}" for i in range(200)]

    given = await asyncio.gather(*(number(queue, candidate) for candidate in crowd))

    assert sorted(given) == list(range(1, 201))
    assert 200 <= await reserved(queue) <= 200 + 2 * BLOCK


async def test_after_redis_lost_everything_no_number_is_given_again(queue: Service) -> None:
    before = {f"candidate-{i}": await number(queue, f"candidate-{i}") for i in range(7)}

    await lose_everything(queue)
    assert await recover_shards(queue) == 1
    after = {f"new-{i}": await number(queue, f"new-{i}") for i in range(7)}

    assert sorted(before.values()) == list(range(1, 8))
    assert sorted(after.values()) == list(range(11, 18))
    assert await reserved(queue) == 20


async def test_after_redis_lost_everything_every_ticket_keeps_its_place(queue: Service) -> None:
    tickets = {f"c-{i}": await join(queue.stores, "exam-1", f"c-{i}") for i in range(4)}

    await lose_everything(queue)
    await recover_shards(queue)
    await admit(queue, serving=2)
    ends = [
        (await asyncio.gather(claim(queue.stores, "exam-1", c, t.text), return_exceptions=True))[0]
        for c, t in tickets.items()
    ]

    assert [end.granted.place for end in ends[:2]] == [1, 2]
    assert [type(end) for end in ends[2:]] == [NotYourTurn, NotYourTurn]


async def test_a_block_that_was_set_aside_and_not_given_is_given_under_the_same_epoch(
    queue: Service,
) -> None:
    shard = queue.stores.registry.shard("exam-1", 0)
    epoch = (shard.exam, shard.number, shard.epoch)
    for i in range(BLOCK):
        await number(queue, f"candidate-{i}")

    assert await queue.stores.waiting_rooms.reserve_numbers(epoch, BLOCK, BLOCK) == 2 * BLOCK
    following = [await number(queue, f"following-{i}") for i in range(2)]

    assert following == [6, 7]
    assert await reserved(queue) == 2 * BLOCK


async def test_a_process_that_lives_in_a_past_epoch_sets_no_numbers_aside(queue: Service) -> None:
    """A Redis that was cut off may still count under the old epoch, for those who see only it."""
    past = queue.stores.registry.shard("exam-1", 0)
    await number(queue, "candidate-1")
    await lose_everything(queue)
    await recover_shards(queue)
    await number(queue, "candidate-2")
    before = await reserved(queue)

    for reached in (None, BLOCK, 10 * BLOCK):
        with pytest.raises(NotReady):
            await queue.stores.numbers.extend(past, reached)

    assert await reserved(queue) == before


async def test_a_block_does_not_take_the_place_of_one_that_reaches_further(
    queue: Service,
) -> None:
    shard, store = queue.stores.registry.shard("exam-1", 0), queue.stores.room_store
    await number(queue, "candidate-1")

    given = [
        await store.give_numbers(shard, 0, 20),
        await store.give_numbers(shard, 0, 10),
        await store.give_numbers(shard, 0, 20),
    ]
    numbers = [await number(queue, f"candidate-{i}") for i in range(2, 12)]

    assert given == [True, False, False]
    assert numbers == list(range(2, 12))


async def test_without_postgres_numbers_are_given_to_the_end_of_the_block(
    queue: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await number(queue, "candidate-1")

    def away(_self: Ledger) -> None:
        raise LedgerUnavailable("postgres is away")

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "transaction", away)
        numbers = [await number(queue, f"candidate-{i}") for i in range(2, BLOCK + 1)]
        with pytest.raises(LedgerUnavailable):
            await number(queue, "one-too-many")

    assert numbers == list(range(2, BLOCK + 1))
    assert await number(queue, "one-too-many") == BLOCK + 1


async def test_a_queue_has_an_end(queue: Service) -> None:
    shard, store = queue.stores.registry.shard("exam-1", 0), queue.stores.room_store
    first = await number(queue, "candidate-1")

    full = await store.join(shard, "candidate-2", late_through=0, numbers_max=1)
    known = await store.join(shard, "candidate-1", late_through=0, numbers_max=1)

    assert full.code is Code.QUEUE_FULL
    assert (known.code, known.number) == (Code.DONE_BEFORE, first)


async def test_whose_turn_has_passed_is_not_counted_in_the_queue_any_more(queue: Service) -> None:
    shard, store = queue.stores.registry.shard("exam-1", 0), queue.stores.room_store
    for i in range(3):
        await number(queue, f"candidate-{i}")

    full = await store.join(shard, "newcomer", late_through=1, numbers_max=2)
    given = [
        (await store.join(shard, name, late_through=2, numbers_max=2)).number
        for name in ("newcomer", "candidate-2")
    ]
    again = await store.join(shard, "candidate-0", late_through=3, numbers_max=2)

    assert full.code is Code.QUEUE_FULL
    assert given == [4, 3]
    assert (again.code, again.number) == (Code.DONE, 5)
    client = redis_of(queue)
    assert await client.zrange(shard.key("queue"), 0, -1) == ["newcomer", "candidate-0"]


async def test_a_full_queue_is_told_as_overload(settings: Settings, queue: Service) -> None:
    await number(queue, "candidate-1")
    narrow = dataclasses.replace(settings, waiting_room_numbers_max=1)

    async with open_service(narrow) as opened:
        await refresh_memory(opened)
        await opened.stores.rooms.refresh()
        with pytest.raises(Overloaded):
            await number(opened, "candidate-2")
        assert await number(opened, "candidate-1") == 1


async def test_a_claim_asks_again_before_it_is_told_to_be_too_early(
    queue: Service, other: Service
) -> None:
    """One process knows since a moment that the turn has come; the other is asked."""
    ticket = await join(queue.stores, "exam-1", "candidate-1")
    await admit(queue, serving=1)
    assert other.stores.rooms.current("exam-1").standing.room.serving == 0

    other.stores.rooms._looked_at = 0.0  # noqa: SLF001  its last look is long ago
    claimed = await claim(other.stores, "exam-1", "candidate-1", ticket.text)

    assert claimed.granted.place == 1
    assert not claimed.replayed


async def test_a_claim_that_comes_too_early_again_and_again_asks_postgres_seldom(
    queue: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = await join(queue.stores, "exam-1", "candidate-1")
    await queue.stores.rooms.refresh()
    looks = []
    real = type(queue.stores.waiting_rooms).all

    async def counted(ledger: Any, *args: Any) -> Any:
        looks.append(ledger)
        return await real(ledger, *args)

    monkeypatch.setattr(type(queue.stores.waiting_rooms), "all", counted)
    began_s = time.monotonic()
    for _ in range(50):
        with pytest.raises(NotYourTurn):
            await claim(queue.stores, "exam-1", "candidate-1", ticket.text)

    took_s = time.monotonic() - began_s
    assert len(looks) <= 2 + 4 * took_s


async def test_the_board_keeps_what_it_knows_while_a_store_is_away(
    queue: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await number(queue, "candidate-1")
    await queue.stores.rooms.refresh()
    before = queue.stores.rooms.current("exam-1")

    async def away(_self: object, *_args: object) -> None:
        raise LedgerUnavailable("postgres is away")

    monkeypatch.setattr(type(queue.stores.waiting_rooms), "all", away)
    with pytest.raises(LedgerUnavailable):
        await queue.stores.rooms.refresh()
    await redis_of(queue).delete("{exam-1:0}:epoch")

    async def time_goes_on() -> bool:
        with pytest.raises(LedgerUnavailable):
            await queue.stores.rooms.refresh()
        document = queue.stores.rooms.current("exam-1").document
        return document.server_time_ms > before.document.server_time_ms

    await eventually(time_goes_on)
    after = queue.stores.rooms.current("exam-1")

    assert after is not before
    assert after.standing == before.standing
    assert after.standing.counts.last_number == 1


async def test_a_place_ends_with_its_pass_however_often_it_is_used(queue: Service) -> None:
    await open_room(queue, opens_in_s=-60, rules={"pass_ttl_s": 60, "idle_s": 60})
    ticket = await join(queue.stores, "exam-1", "candidate-1")
    await admit(queue, serving=1)
    places = queue.stores.registry.shard("exam-1", 0).key("places")

    granted = (await claim(queue.stores, "exam-1", "candidate-1", ticket.text)).granted
    free_ms = await redis_of(queue).zscore(places, "candidate-1")

    assert free_ms == granted.expires_ms


async def test_every_claim_is_counted_once_also_the_second_of_a_candidate(queue: Service) -> None:
    shard = queue.stores.registry.shard("exam-1", 0)
    ticket = await join(queue.stores, "exam-1", "candidate-1")
    await admit(queue, serving=1)
    for _ in range(3):
        await claim(queue.stores, "exam-1", "candidate-1", ticket.text)
    await finish(queue.stores, "exam-1", "candidate-1")

    once = await queue.stores.surveyor.survey(shard)
    again = await join(queue.stores, "exam-1", "candidate-1")
    await admit(queue, serving=2)
    await claim(queue.stores, "exam-1", "candidate-1", again.text)
    twice = await queue.stores.surveyor.survey(shard)

    assert (once.claims, once.claimed) == (1, 1)
    assert (twice.claims, twice.claimed) == (2, 1)


async def test_finishing_is_for_who_has_a_place(queue: Service) -> None:
    ticket = await join(queue.stores, "exam-1", "candidate-1")
    await admit(queue, serving=1)
    await claim(queue.stores, "exam-1", "candidate-1", ticket.text)

    ends = [
        await finish(queue.stores, "exam-1", "nobody"),
        await finish(queue.stores, "exam-1", "candidate-1"),
        await finish(queue.stores, "exam-1", "candidate-1"),
    ]

    assert ends == [False, True, False]
    with pytest.raises(TicketUsed):
        await claim(queue.stores, "exam-1", "candidate-1", ticket.text)


async def test_a_draw_that_redis_forgot_is_as_large_as_it_was_known_to_be(room: Service) -> None:
    for i in range(20):
        await join(room.stores, "exam-1", f"candidate-{i}")
    await admit(room, drawn=20)

    await lose_everything(room)
    await recover_shards(room)
    await room.stores.rooms.refresh()

    assert room.stores.rooms.current("exam-1").document.waiting == 20
    assert await rows(room, "SELECT drawn FROM waiting_rooms") == [(20,)]
