"""Refund in Redis: the seats and sessions of a booking come back, once."""

import asyncio

import pytest

from quota_service.domain.reservation import State
from quota_service.seats.codes import Code
from tests.support.books import DAY_MS
from tests.support.seats import SeatsUnderTest
from tests.support.venue_steps import changing, counted, ended, refund, settle, state_of


async def test_a_refunded_booking_gives_its_seats_and_its_sessions_back(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.confirmed("candidate-1", ("general", "qms"))

    answer = await refund(seats, serial)

    assert (answer.code, state_of(answer)) == (Code.DONE, State.REFUNDED)
    assert await counted(seats, "jinan/general") == {"remaining": 3}
    assert await counted(seats, "jinan/qms") == {"remaining": 2}
    assert await seats.store.claims(seats.shard, "candidate-1", ["day1-am", "day1-pm"]) == []
    assert 0 < await seats.client.pttl(seats.shard.record_key(serial)) <= DAY_MS
    assert (await seats.reserve("candidate-1", ("ems",))).code is Code.DONE


async def test_a_moved_booking_is_refunded_where_it_is(seats: SeatsUnderTest) -> None:
    serial = await changing(seats, await seats.confirmed())
    await settle(seats, serial, has_moved=True)

    answer = await refund(seats, serial)

    assert answer.code is Code.DONE
    assert await counted(seats, "tianjin/general") == {"remaining": 5}
    assert await counted(seats, "jinan/general") == {"remaining": 3}


async def test_a_booking_is_refunded_once_and_frees_nothing_of_the_next(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.confirmed()

    answers = await asyncio.gather(*(seats.store.refund(seats.shard, serial) for _ in range(5)))
    since = await seats.confirmed()
    again = await refund(seats, serial)

    codes = [answer.code for answer in answers]
    assert (codes.count(Code.DONE), codes.count(Code.DONE_BEFORE)) == (1, 4)
    assert (again.code, state_of(again)) == (Code.DONE_BEFORE, State.REFUNDED)
    assert await seats.store.claims(seats.shard, "candidate-1", ["day1-am"]) == [since]
    assert await counted(seats, "jinan/general") == {"remaining": 2, "confirmed": 1}


async def test_a_refund_tells_a_version_at_which_its_seats_were_back(
    seats: SeatsUnderTest,
) -> None:
    released = await ended(seats, State.RELEASED)
    serial = await seats.confirmed("candidate-1")

    first = await refund(seats, serial)
    version = (await seats.snapshot()).version
    await seats.hold("candidate-2")
    others = [await refund(seats, other) for other in (serial, released, "a" * 24)]

    assert (first.code, first.detail) == (Code.DONE, (version,))
    assert [(answer.code, answer.detail) for answer in others] == [
        (Code.DONE_BEFORE, (version + 1,)),
        (Code.ENDED, (version + 1,)),
        (Code.UNKNOWN, (version + 1,)),
    ]


async def test_what_is_not_booked_is_not_refunded(seats: SeatsUnderTest) -> None:
    serials = {
        State.HELD: await seats.hold("candidate-1"),
        State.CONFIRMING: await seats.with_attempt("candidate-2"),
        State.CHANGING_VENUE: await changing(seats, await seats.confirmed("candidate-3")),
    }

    for state, serial in serials.items():
        answer = await refund(seats, serial)
        assert (answer.code, state_of(answer)) == (Code.IN_PROGRESS, state)


@pytest.mark.parametrize("state", [State.RELEASED, State.EXPIRED])
async def test_what_ended_another_way_is_not_refunded(seats: SeatsUnderTest, state: State) -> None:
    serial = await ended(seats, state)

    answer = await refund(seats, serial)

    assert (answer.code, state_of(answer)) == (Code.ENDED, state)
