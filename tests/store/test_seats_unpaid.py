"""Holds that end unpaid: how many a candidate may have before the next one has to wait."""

import asyncio
import dataclasses

import pytest

from quota_service.domain.exam import FairUseRules
from quota_service.seats.codes import Code
from quota_service.seats.replies import ScriptReply
from tests.support.records import move_due, redis_now_ms
from tests.support.seats import SeatsUnderTest

RULES = FairUseRules(unpaid_holds_max=2, unpaid_pause_s=60, unpaid_pause_max_s=200)


async def release(seats: SeatsUnderTest, candidate: str = "candidate-1") -> str:
    serial = await seats.hold(candidate)
    assert (await seats.store.release(seats.shard, serial)).code is Code.DONE
    return serial


async def expire(seats: SeatsUnderTest, candidate: str = "candidate-1", *, ago_ms: int = 1) -> str:
    serial = await seats.hold(candidate)
    await move_due(seats.client, seats.shard, serial, ago_ms=ago_ms)
    assert (await seats.store.expire(seats.shard, [serial]))[0] == 1
    return serial


async def reserve(
    seats: SeatsUnderTest, candidate: str = "candidate-1", *, rules: FairUseRules = RULES
) -> ScriptReply:
    exam = dataclasses.replace(seats.exam, fair_use=rules)
    return await seats.reserve(candidate, ("service",), exam=exam)


async def unpaid(seats: SeatsUnderTest, candidate: str = "candidate-1") -> tuple[int, int]:
    """Return how many holds of a candidate are counted, and when the last of them ended."""
    text = await seats.client.hget(seats.shard.key("unpaid"), candidate)
    count, _, last_ms = (text or "0|0").partition("|")
    return int(count), int(last_ms)


async def last_ended(seats: SeatsUnderTest, *, ago_ms: int, holds: int) -> int:
    """Let so many holds of the candidate have ended unpaid, the last of them some time ago."""
    last_ms = await redis_now_ms(seats.client) - ago_ms
    await seats.client.hset(seats.shard.key("unpaid"), "candidate-1", f"{holds}|{last_ms}")
    return last_ms


async def test_a_candidate_whose_holds_ended_unpaid_has_to_wait_for_the_next(
    seats: SeatsUnderTest,
) -> None:
    await release(seats)
    first = await reserve(seats)
    await seats.store.release(seats.shard, seats_serial(first))

    second = await reserve(seats)
    other = await reserve(seats, "candidate-2")

    count, last_ms = await unpaid(seats)
    assert (first.code, count) == (Code.DONE, 2)
    assert (second.code, second.detail) == (Code.UNPAID_PAUSE, (last_ms + 60_000, 2))
    assert other.code is Code.DONE


def seats_serial(answer: ScriptReply) -> str:
    assert answer.reservation is not None
    return answer.reservation.id.rpartition(".")[2]


async def test_expiry_and_release_count_alike_and_each_end_once(seats: SeatsUnderTest) -> None:
    released = await release(seats)
    expired = await expire(seats)

    again = await asyncio.gather(
        seats.store.release(seats.shard, released),
        seats.store.release(seats.shard, expired),
        seats.store.expire(seats.shard, [released, expired]),
    )

    assert [again[0].code, again[1].code] == [Code.DONE_BEFORE, Code.DONE_BEFORE]
    assert again[2] == (0, 0)
    assert (await unpaid(seats))[0] == 2
    assert (await reserve(seats)).code is Code.UNPAID_PAUSE


async def test_holds_of_one_candidate_in_a_batch_count_one_by_one_and_end_with_the_last(
    seats: SeatsUnderTest,
) -> None:
    await expire(seats, ago_ms=9_000)
    serials = [await seats.hold("candidate-1", (name,)) for name in ("general", "qms")]
    for ago_ms, serial in zip((1_000, 3_000), serials, strict=True):
        await move_due(seats.client, seats.shard, serial, ago_ms=ago_ms)
    last_ms = (await seats.record(serials[0])).due_ms

    await seats.store.expire(seats.shard, serials)

    assert await unpaid(seats) == (3, last_ms)


async def test_a_repeat_of_an_order_is_answered_as_before_during_a_pause(
    seats: SeatsUnderTest,
) -> None:
    order = seats.request("candidate-1", ("service",), ("tianjin",))
    exam = dataclasses.replace(seats.exam, fair_use=RULES)
    made = await seats.store.reserve(seats.shard, exam, order)
    await seats.store.release(seats.shard, order.serial)
    await release(seats)

    repeats = await asyncio.gather(
        *(seats.store.reserve(seats.shard, exam, order) for _ in range(3))
    )

    assert made.code is Code.DONE
    assert [repeat.code for repeat in repeats] == [Code.DONE_BEFORE] * 3
    assert (await unpaid(seats))[0] == 2


@pytest.mark.parametrize(
    ("holds", "pause_ms"), [(1, 0), (2, 60_000), (3, 120_000), (4, 200_000), (900, 200_000)]
)
async def test_the_pause_doubles_up_to_its_longest(
    seats: SeatsUnderTest, holds: int, pause_ms: int
) -> None:
    last_ms = await last_ended(seats, ago_ms=1000, holds=holds)

    answer = await reserve(seats)

    if pause_ms:
        assert (answer.code, answer.detail) == (Code.UNPAID_PAUSE, (last_ms + pause_ms, holds))
    else:
        assert answer.code is Code.DONE
    await forget(seats)


async def test_a_pause_ends_by_the_clock_of_redis_and_by_the_rules_in_force(
    seats: SeatsUnderTest,
) -> None:
    await last_ended(seats, ago_ms=61_000, holds=2)

    longer = await reserve(seats, rules=dataclasses.replace(RULES, unpaid_pause_s=70))
    over = await reserve(seats)

    assert (longer.code, over.code) == (Code.UNPAID_PAUSE, Code.DONE)
    await forget(seats)


async def forget(seats: SeatsUnderTest) -> None:
    """Remove the counts that this test has made up."""
    await seats.client.delete(seats.shard.key("unpaid"))


async def test_a_pause_takes_nothing(seats: SeatsUnderTest) -> None:
    await release(seats)
    await release(seats)
    before = await seats.snapshot()

    assert (await reserve(seats)).code is Code.UNPAID_PAUSE

    after = await seats.snapshot()
    assert (after.version, after.remaining) == (before.version, before.remaining)


async def test_a_hold_that_is_paid_late_did_not_end_unpaid(seats: SeatsUnderTest) -> None:
    late = await expire(seats)
    await expire(seats)

    paid = await seats.begin_payment(late)

    assert paid.code is Code.DONE
    assert (await unpaid(seats))[0] == 1
    await seats.store.confirm(seats.shard, late)
    assert (await reserve(seats)).code is Code.DONE


async def test_a_late_payment_that_is_given_up_ended_unpaid_after_all(
    seats: SeatsUnderTest,
) -> None:
    late = await expire(seats)
    before = await unpaid(seats)
    await seats.begin_payment(late)
    assert await unpaid(seats) == (0, 0)

    await seats.store.abandon_payment(seats.shard, late, "attempt-1", 0)

    assert await unpaid(seats) == before


async def test_a_hold_that_is_paid_counts_nothing(seats: SeatsUnderTest) -> None:
    serial = await seats.confirmed()
    await seats.store.refund(seats.shard, serial)

    assert await unpaid(seats) == (0, 0)
