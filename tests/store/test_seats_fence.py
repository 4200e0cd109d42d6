"""The fence: a shard that is gone, or was opened anew, never answers from what it forgot."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from quota_service.domain.errors import NotReady
from quota_service.seats.codes import Code
from quota_service.seats.connection import ScriptCall
from quota_service.seats.keys import Shard
from tests.support.lua_sources import LuaSource, read_sources
from tests.support.seats import SeatsUnderTest

SOURCES = read_sources()
KNOWS_EPOCH = {
    name: source for name, source in SOURCES.items() if source.args[0][1].endswith("caller knows")
}
SERIAL = "a" * 24


async def call(seats: SeatsUnderTest, source: LuaSource, shard: Shard) -> list[Any]:
    """Call a script with as many arguments as its header lists, each of them a number."""
    script = seats.runner.scripts[source.name]
    keys = shard.keys_for(script.shard_keys)
    if script.chosen_key == "record":
        keys.append(shard.record_key(SERIAL))
    elif script.chosen_key is not None:
        keys.append(shard.key("due"))
    args = [shard.epoch, *["1"] * (len(source.args) - 1)]
    return await seats.runner.call(ScriptCall(script, keys, args))


def test_every_script_but_those_that_open_and_close_knows_the_epoch() -> None:
    assert set(SOURCES) - set(KNOWS_EPOCH) == {
        *("open", "fence"),
        *("begin_build", "clear", "seed", "load", "open_built"),
    }


@pytest.mark.parametrize("name", KNOWS_EPOCH)
async def test_a_script_is_not_ready_when_the_shard_was_lost(
    seats: SeatsUnderTest, name: str
) -> None:
    lost = Shard("exam-lost", 0, 1)
    size_before = await seats.client.dbsize()

    answer = await call(seats, SOURCES[name], lost)

    assert answer == [Code.NOT_READY]
    assert await seats.client.dbsize() == size_before


@pytest.mark.parametrize("epoch", [0, 2, 10, 11])
@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"fence", "begin_build"}))
async def test_a_script_is_not_ready_under_any_other_epoch(
    seats: SeatsUnderTest, name: str, epoch: int
) -> None:
    await seats.hold()
    before = await seats.snapshot()

    answer = await call(seats, SOURCES[name], dataclasses.replace(seats.shard, epoch=epoch))

    after = await seats.snapshot()
    assert answer == [Code.NOT_READY]
    assert dataclasses.replace(after, clock_ms=0) == dataclasses.replace(before, clock_ms=0)


STEPS: dict[str, Callable[[SeatsUnderTest, Shard], Awaitable[Any]]] = {
    "reserve": lambda s, shard: s.store.reserve(shard, s.exam, s.request()),
    "release": lambda s, shard: s.store.release(shard, SERIAL),
    "checkout": lambda s, shard: s.store.checkout(shard, SERIAL, 1000),
    "pin": lambda s, shard: s.store.pin(shard, SERIAL, "pin-1", 8000, "CNY"),
    "unpin": lambda s, shard: s.store.unpin(shard, SERIAL, "pin-1", grace_ms=0),
    "confirm": lambda s, shard: s.store.confirm(shard, SERIAL),
    "read": lambda s, shard: s.store.read(shard, SERIAL),
    "claims": lambda s, shard: s.store.claims(shard, "candidate-1", ["day1-am"]),
    "overdue": lambda s, shard: s.store.overdue(shard, "due", 0, 10),
    "expire": lambda s, shard: s.store.expire(shard, [SERIAL]),
    "capacity": lambda s, shard: s.store.set_capacity(shard, s.exam.seats),
    "snapshot": lambda s, shard: s.store.snapshot(shard),
}


@pytest.mark.parametrize("name", STEPS)
async def test_the_store_raises_not_ready_and_never_an_answer(
    seats: SeatsUnderTest, name: str
) -> None:
    for shard in (Shard("exam-lost", 0, 1), dataclasses.replace(seats.shard, epoch=2)):
        with pytest.raises(NotReady) as raised:
            await STEPS[name](seats, shard)

        assert raised.value.applied is False


async def test_an_emptied_redis_is_not_ready_instead_of_sold_out(
    seats: SeatsUnderTest,
) -> None:
    await seats.client.delete(*[key async for key in seats.client.scan_iter(count=1000)])

    with pytest.raises(NotReady):
        await seats.reserve()

    assert await seats.client.dbsize() == 0
    await seats.store.open(seats.shard)
