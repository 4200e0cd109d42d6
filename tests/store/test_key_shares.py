"""The share of a quota's seats that the unpaid holds of one API key may have."""

import asyncio
import dataclasses

import pytest

from quota_service.domain.exam import FairUseRules, Quota
from quota_service.seats.codes import Code
from quota_service.seats.replies import ScriptReply
from tests.support.callers import called_with
from tests.support.records import move_due
from tests.support.seats import SeatsUnderTest

HALF = FairUseRules(key_share_max_percent=50)
VENUE, SEATS, MAY_HOLD = "tianjin", 5, 2
"""A venue with five seats for `general`, of which half is two."""


async def order(
    seats: SeatsUnderTest, key_id: str, *venues: str, subject: str = "general"
) -> tuple[str, ScriptReply]:
    """Reserve for somebody new with an API key; return serial and answer."""
    exam = dataclasses.replace(seats.exam, fair_use=HALF)
    with called_with(key_id):
        candidate = f"{key_id}-{next(seats._numbers)}"  # noqa: SLF001  each is somebody else
        request = seats.request(candidate, (subject,), venues or (VENUE,))
        return request.serial, await seats.store.reserve(seats.shard, exam, request)


async def use_up(seats: SeatsUnderTest, key_id: str = "key-a") -> list[str]:
    """Hold all that a key may; return the serials."""
    made = [await order(seats, key_id) for _ in range(MAY_HOLD)]
    assert [answer.code for _, answer in made] == [Code.DONE] * MAY_HOLD
    return [serial for serial, _ in made]


async def code_for(seats: SeatsUnderTest, key_id: str, *venues: str) -> Code:
    return (await order(seats, key_id, *venues))[1].code


async def test_a_key_holds_its_share_unpaid_and_leaves_the_rest_to_others(
    seats: SeatsUnderTest,
) -> None:
    await use_up(seats)

    assert await code_for(seats, "key-a") is Code.SHARE_USED
    assert await seats.remaining(VENUE, "general") == SEATS - MAY_HOLD
    assert await code_for(seats, "key-b") is Code.DONE


async def test_a_crowd_in_one_call_gets_no_more_than_the_share(seats: SeatsUnderTest) -> None:
    crowd = await asyncio.gather(*(order(seats, f"key-{n % 2}") for n in range(20)))

    codes = [answer.code for _, answer in crowd]
    assert codes.count(Code.DONE) == 2 * MAY_HOLD
    assert codes.count(Code.SHARE_USED) == 20 - 2 * MAY_HOLD


async def test_the_next_venue_is_taken_where_the_share_of_the_first_is_used(
    seats: SeatsUnderTest,
) -> None:
    await use_up(seats)

    _, answer = await order(seats, "key-a", VENUE, "jinan")

    assert answer.reservation is not None
    assert answer.reservation.venue == "jinan"


async def test_one_seat_may_always_be_held_and_what_is_gone_is_sold_out(
    seats: SeatsUnderTest,
) -> None:
    assert await code_for(seats, "key-a", "beijing") is Code.DONE
    assert await code_for(seats, "key-a", "beijing") is Code.SOLD_OUT


@pytest.mark.parametrize("end", ["released", "expired", "paid"])
async def test_a_hold_that_has_ended_or_is_paid_counts_no_more(
    seats: SeatsUnderTest, end: str
) -> None:
    serial, _ = await use_up(seats)

    if end == "released":
        await seats.store.release(seats.shard, serial)
    elif end == "expired":
        await move_due(seats.client, seats.shard, serial)
        await seats.store.expire(seats.shard, [serial])
    else:
        await seats.begin_payment(serial)
        await seats.store.confirm(seats.shard, serial)

    assert await code_for(seats, "key-a") is Code.DONE
    assert await code_for(seats, "key-a") is Code.SHARE_USED


async def test_a_payment_that_is_given_up_makes_its_hold_count_again(
    seats: SeatsUnderTest,
) -> None:
    serial, _ = await use_up(seats)
    await seats.begin_payment(serial)

    await seats.store.abandon_payment(seats.shard, serial, "attempt-1", 0)

    assert await code_for(seats, "key-a") is Code.SHARE_USED


async def test_a_hold_counts_where_it_moves_to_and_moves_within_the_share(
    seats: SeatsUnderTest,
) -> None:
    exam = dataclasses.replace(seats.exam, fair_use=HALF)
    serial, _ = await use_up(seats)
    other, _ = await order(seats, "key-a", "jinan")

    refused = await seats.store.change(seats.shard, exam, other, VENUE, "attempt-2")
    moved = await seats.store.change(seats.shard, exam, serial, "beijing", "attempt-2")
    again = await seats.store.change(seats.shard, exam, other, VENUE, "attempt-2")

    assert [refused.code, moved.code, again.code] == [Code.SHARE_USED, Code.DONE, Code.DONE]
    assert (await seats.snapshot()).held[Quota(VENUE, "general")] == MAY_HOLD


async def test_a_repeat_is_answered_as_before_when_the_share_is_used(
    seats: SeatsUnderTest,
) -> None:
    exam = dataclasses.replace(seats.exam, fair_use=HALF)
    request = seats.request("candidate-1", ("general",), (VENUE,))
    with called_with("key-a"):
        first = await seats.store.reserve(seats.shard, exam, request)
        await order(seats, "key-a")
        again = await seats.store.reserve(seats.shard, exam, request)

    assert (first.code, again.code) == (Code.DONE, Code.DONE_BEFORE)
    assert await code_for(seats, "key-a") is Code.SHARE_USED


async def test_without_a_bound_or_without_a_key_every_seat_can_be_held(
    seats: SeatsUnderTest,
) -> None:
    with called_with("key-a"):
        unbound = [(await seats.reserve(f"c-{n}", venues=(VENUE,))).code for n in range(SEATS)]
    keyless = [await code_for(seats, "", "jinan") for _ in range(3)]

    assert unbound == [Code.DONE] * SEATS
    assert keyless == [Code.DONE] * 3
