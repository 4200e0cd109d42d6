"""The fence: a shard that is gone, opened anew or in another run answers nothing it forgot."""

import dataclasses
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from quota_service.domain.errors import NotReady
from quota_service.seats.codes import Code
from quota_service.seats.connection import ScriptCall
from quota_service.seats.keys import Shard
from quota_service.seats.recovery import RecoveryStore
from tests.support.lua_sources import LuaSource, read_sources
from tests.support.seats import SeatsUnderTest

SOURCES = read_sources()
KNOWS_FENCE = {
    name: source
    for name, source in SOURCES.items()
    if source.args[0][1] == "fence the caller knows, <epoch>@<run>" and name != "shard_status"
}
RECOVERS = {
    name: source
    for name, source in SOURCES.items()
    if source.args[0][1] == "fence of the recovery, <epoch>/recovery@<run>"
}
RECOVERS_CLAIMED = {name: source for name, source in RECOVERS.items() if name != "claim"}
SERIAL = "a" * 24
RUN, OTHER_RUN = f"{'a' * 12}.0", f"{'b' * 12}.0"


async def call(seats: SeatsUnderTest, source: LuaSource, shard: Shard) -> list[Any]:
    """Call a script with as many arguments as its header lists, each of them a number."""
    script = seats.runner.scripts[source.name]
    keys = shard.keys_for(script.shard_keys)
    if script.chosen_key == "record":
        keys.append(shard.record_key(SERIAL))
    elif script.chosen_key is not None:
        keys.append(shard.key("due"))
    args = [shard.fence, *["1"] * (len(source.args) - 1)]
    return await seats.runner.call(ScriptCall(script, keys, args))


async def read_as(seats: SeatsUnderTest, fence: str, serial: str) -> list[Any]:
    """Return the answer of `read` to a caller who knows a fence."""
    script = seats.runner.scripts["read"]
    keys = [*seats.shard.keys_for(script.shard_keys), seats.shard.record_key(serial)]
    answer: list[Any] = await seats.client.evalsha(script.sha, len(keys), *keys, fence)
    return answer


async def everything(seats: SeatsUnderTest) -> dict[str, bytes]:
    """Return every key with its value, as Redis would save it."""
    keys = [key async for key in seats.client.scan_iter(count=1000)]
    never_decoded: Any = {"NEVER_DECODE": True}
    return {key: await seats.client.execute_command("DUMP", key, **never_decoded) for key in keys}


def test_every_script_but_those_that_open_close_and_look_knows_the_fence() -> None:
    writes = {"clear", "seed", "put", "put_unpaid", "spend", "forget", "forget_room"}
    assert set(RECOVERS) == {"claim", "reopen", *writes}
    assert set(SOURCES) - set(KNOWS_FENCE) - set(RECOVERS) == {"open", "shard_status"}


async def not_ready(seats: SeatsUnderTest, names: Iterable[str], shard: Shard) -> None:
    """Fail unless each of these scripts is not ready for a shard, and changes nothing."""
    before = await everything(seats)
    wrong = {}
    for name in names:
        answer = await call(seats, SOURCES[name], shard)
        if answer != [Code.NOT_READY] or await everything(seats) != before:
            wrong[name] = answer
    assert wrong == {}


async def test_every_script_is_not_ready_when_the_shard_was_lost(seats: SeatsUnderTest) -> None:
    await not_ready(seats, KNOWS_FENCE, Shard("exam-lost", 1))


@pytest.mark.parametrize("epoch", [0, 2, 10, 11])
async def test_every_script_is_not_ready_under_any_other_epoch(
    seats: SeatsUnderTest, epoch: int
) -> None:
    await seats.hold()

    await not_ready(seats, [*KNOWS_FENCE, "open"], dataclasses.replace(seats.shard, epoch=epoch))


async def test_every_script_is_not_ready_in_another_run_of_the_server(
    seats: SeatsUnderTest,
) -> None:
    """What a restart or a failover leaves is the fence of the server before."""
    await seats.hold()
    await seats.client.set(seats.shard.key("epoch"), f"{seats.shard.epoch}@{OTHER_RUN}")

    await not_ready(seats, KNOWS_FENCE, seats.shard)


async def test_a_server_that_has_forgotten_whom_it_took_over_from_is_the_same_run(
    seats: SeatsUnderTest,
) -> None:
    """What a promoted server without replicas does after an hour; nothing has happened to it."""
    serial = await seats.hold()
    key, fence = seats.shard.key("epoch"), f"{seats.shard.epoch}@{RUN}"
    promoted = fence.removesuffix("0") + "c" * 12

    ends = {}
    for standing in (fence, promoted):
        await seats.client.set(key, standing)
        for told in (fence, promoted):
            answer = await read_as(seats, told, serial)
            ends[standing == promoted, told == promoted] = answer[0]

    assert ends == {
        (False, False): Code.DONE,
        (False, True): Code.NOT_READY,  # promoted since
        (True, False): Code.DONE,  # forgotten since
        (True, True): Code.DONE,
    }


@pytest.mark.parametrize(
    ("standing", "told"),
    [
        ("1@bbbbbbbbbbbb.cccccccccccc", "1@aaaaaaaaaaaa.0"),
        ("1@aaaaaaaaaaaab.0", "1@aaaaaaaaaaaa.0"),
        ("11@aaaaaaaaaaaa.cccccccccccc", "1@aaaaaaaaaaaa.0"),
        ("1@aaaaaaaaaaaa.cccccccccccc", "2@aaaaaaaaaaaa.0"),
        ("1/recovery@aaaaaaaaaaaa.cccccccccccc", "1@aaaaaaaaaaaa.0"),
        ("1@aaaaaaaaaaaa.cccccccccccc", "1/recovery@aaaaaaaaaaaa.0"),
        ("1@aaaaaaaaaaaa.cccccccccccc", "1@aaaaaaaaaaaa.dddddddddddd"),
        ("1@aaaaaaaaaaaa.0", "1@aaaaaaaaaaaa.dddddddddddd"),
        ("1@", "1@aaaaaaaaaaaa.0"),
        ("1", "1@aaaaaaaaaaaa.0"),
    ],
)
async def test_any_other_fence_is_another(seats: SeatsUnderTest, standing: str, told: str) -> None:
    serial = await seats.hold()
    await seats.client.set(seats.shard.key("epoch"), standing)

    assert await read_as(seats, told, serial) == [Code.NOT_READY]


async def test_every_script_is_not_ready_while_the_shard_is_recovered_under_the_same_epoch(
    seats: SeatsUnderTest,
) -> None:
    await seats.hold()
    recovered = dataclasses.replace(seats.shard, epoch=2, is_recovered=True)
    await RecoveryStore(seats.runner).claim(recovered)

    await not_ready(seats, [*KNOWS_FENCE, "open"], dataclasses.replace(seats.shard, epoch=2))


@pytest.mark.parametrize(
    "fence", [f"2@{RUN}", f"3@{RUN}", f"2/recovery@{OTHER_RUN}", None], ids=ascii
)
async def test_every_script_of_a_recovery_is_not_ready_where_it_has_not_claimed(
    seats: SeatsUnderTest, fence: str | None
) -> None:
    await seats.hold()
    if fence is None:
        await seats.client.delete(seats.shard.key("epoch"))
    else:
        await seats.client.set(seats.shard.key("epoch"), fence)

    claimed = dataclasses.replace(seats.shard, epoch=2, is_recovered=True)
    await not_ready(seats, RECOVERS_CLAIMED, claimed)


@pytest.mark.parametrize(
    "standing",
    ["2@{run}", "2@{other}", "3@{run}", "10@{run}", "2/recovery@{other}", "3/recovery@{run}"],
)
async def test_a_claim_under_an_epoch_that_stands_or_is_over_is_not_ready(
    seats: SeatsUnderTest, standing: str
) -> None:
    await seats.hold()
    fence = standing.format(run=RUN, other=OTHER_RUN)
    await seats.client.set(seats.shard.key("epoch"), fence)
    before = await everything(seats)

    with pytest.raises(NotReady):
        await RecoveryStore(seats.runner).claim(
            dataclasses.replace(seats.shard, epoch=2, is_recovered=True)
        )

    assert await everything(seats) == before


STEPS: dict[str, Callable[[SeatsUnderTest, Shard], Awaitable[Any]]] = {
    "reserve": lambda s, shard: s.store.reserve(shard, s.exam, s.request()),
    "release": lambda s, shard: s.store.release(shard, SERIAL),
    "checkout": lambda s, shard: s.store.checkout(shard, SERIAL, 1000),
    "begin_payment": lambda s, shard: s.store.begin_payment(
        shard, SERIAL, "attempt-1", 8000, "CNY"
    ),
    "abandon_payment": lambda s, shard: s.store.abandon_payment(
        shard, SERIAL, "attempt-1", grace_ms=0
    ),
    "confirm": lambda s, shard: s.store.confirm(shard, SERIAL),
    "read": lambda s, shard: s.store.read(shard, SERIAL),
    "claims": lambda s, shard: s.store.claims(shard, "candidate-1", ["day1-am"]),
    "overdue": lambda s, shard: s.store.overdue(shard, "due", 0, 10),
    "expire": lambda s, shard: s.store.expire(shard, [SERIAL]),
    "define": lambda s, shard: s.store.define(shard, s.exam, ""),
    "capacity": lambda s, shard: s.store.set_capacity(shard, s.exam.seats),
    "snapshot": lambda s, shard: s.store.snapshot(shard),
    "read_journal": lambda s, shard: s.store.journal(shard, "0-0", 10),
    "trim_journal": lambda s, shard: s.store.trim_journal(shard, (1, 1)),
}


async def test_every_step_of_the_store_raises_not_ready_and_never_an_answer(
    seats: SeatsUnderTest,
) -> None:
    for shard in (Shard("exam-lost", 1), dataclasses.replace(seats.shard, epoch=2)):
        for step in STEPS.values():
            with pytest.raises(NotReady) as raised:
                await step(seats, shard)

            assert raised.value.applied is False


async def test_an_emptied_redis_is_not_ready_instead_of_sold_out(
    seats: SeatsUnderTest,
) -> None:
    await seats.client.delete(*[key async for key in seats.client.scan_iter(count=1000)])

    with pytest.raises(NotReady):
        await seats.reserve()

    assert await seats.client.dbsize() == 0
    await seats.store.open(seats.shard)
