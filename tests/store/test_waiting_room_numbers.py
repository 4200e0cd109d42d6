"""Numbers of the queue over both stores: set aside in blocks, each given once, with an end."""

import asyncio
import dataclasses

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import LedgerUnavailable, NotReady, NotYourTurn, Overloaded
from quota_service.ledger.pool import Ledger
from quota_service.registration.queue_numbers import NumberBlock
from quota_service.registration.room_cache import RoomRefresh
from quota_service.registration.waiting_room import claim, join
from quota_service.seats.codes import Code
from quota_service.settings import Settings
from tests.support.lost_shards import lose_everything, recover_shards
from tests.support.redis_clients import redis_of
from tests.support.rooms import admit, number, open_room, process_beside, stored

BLOCK = 5


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_limits(NumberBlock(BLOCK), RoomRefresh(10))


@pytest.fixture
async def queue(service: Service) -> Service:
    """A service whose exam has a room without a draw: numbers from the start."""
    await open_room(service, opens_in_s=-60)
    return service


async def reserved(service: Service) -> int:
    return int((await stored(service)).numbers_reserved)


async def test_numbers_are_set_aside_in_blocks_before_they_are_handed_out(queue: Service) -> None:
    seen = [
        (await number(queue, f"candidate-{i}"), await reserved(queue)) for i in range(2 * BLOCK + 1)
    ]

    assert [each for each, _ in seen] == list(range(1, 2 * BLOCK + 2))
    assert all(given <= mark for given, mark in seen)
    assert [mark for _, mark in seen] == [5] * 5 + [10] * 5 + [15]


async def test_a_crowd_at_two_processes_gets_every_number_once(
    settings: Settings, queue: Service
) -> None:
    async with process_beside(settings) as other:
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
    tickets = {
        f"c-{i}": await join(queue.stores.waiting_room, "exam-1", f"c-{i}") for i in range(4)
    }

    await lose_everything(queue)
    await recover_shards(queue)
    await admit(queue, serving=2)
    ends = [
        (
            await asyncio.gather(
                claim(queue.stores.waiting_room, "exam-1", c, t.text), return_exceptions=True
            )
        )[0]
        for c, t in tickets.items()
    ]

    assert [end.granted.place for end in ends[:2]] == [1, 2]
    assert [type(end) for end in ends[2:]] == [NotYourTurn, NotYourTurn]


async def test_a_block_that_was_set_aside_and_not_given_is_given_under_the_same_epoch(
    queue: Service,
) -> None:
    shard = queue.stores.registry.shard("exam-1")
    epoch = (shard.exam, shard.epoch)
    for i in range(BLOCK):
        await number(queue, f"candidate-{i}")

    assert (
        await queue.stores.maintenance.waiting_rooms.reserve_numbers(epoch, BLOCK, BLOCK)
        == 2 * BLOCK
    )
    following = [await number(queue, f"following-{i}") for i in range(2)]

    assert following == [6, 7]
    assert await reserved(queue) == 2 * BLOCK


async def test_a_process_that_lives_in_a_past_epoch_sets_no_numbers_aside(queue: Service) -> None:
    """A Redis that was cut off may still count under the old epoch, for those who see only it."""
    past = queue.stores.registry.shard("exam-1")
    await number(queue, "candidate-1")
    await lose_everything(queue)
    await recover_shards(queue)
    await number(queue, "candidate-2")
    before = await reserved(queue)

    for reached in (None, BLOCK, 10 * BLOCK):
        with pytest.raises(NotReady):
            await queue.stores.waiting_room.numbers.extend(past, reached)

    assert await reserved(queue) == before


async def test_a_block_does_not_take_the_place_of_one_that_reaches_further(
    queue: Service,
) -> None:
    shard, store = queue.stores.registry.shard("exam-1"), queue.stores.waiting_room.room_store
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
    shard, store = queue.stores.registry.shard("exam-1"), queue.stores.waiting_room.room_store
    first = await number(queue, "candidate-1")

    full = await store.join(shard, "candidate-2", late_through=0, numbers_max=1)
    known = await store.join(shard, "candidate-1", late_through=0, numbers_max=1)

    assert full.code is Code.QUEUE_FULL
    assert (known.code, known.number) == (Code.DONE_BEFORE, first)


async def test_whose_turn_has_passed_is_not_counted_in_the_queue_any_more(queue: Service) -> None:
    shard, store = queue.stores.registry.shard("exam-1"), queue.stores.waiting_room.room_store
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

    async with process_beside(narrow) as opened:
        with pytest.raises(Overloaded):
            await number(opened, "candidate-2")
        assert await number(opened, "candidate-1") == 1
