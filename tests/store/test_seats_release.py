"""Release and checkout: what a candidate can do to a hold, once."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from quota_service.domain.reservation import State
from quota_service.seats.codes import Code
from quota_service.seats.replies import ScriptReply
from tests.support.records import move_due
from tests.support.seats import SeatsUnderTest

GRACE_MS = 600_000
NEVER_MADE = "a" * 24


async def release(seats: SeatsUnderTest, serial: str) -> ScriptReply:
    return await seats.store.release(seats.shard, serial)


async def checkout(seats: SeatsUnderTest, serial: str) -> ScriptReply:
    return await seats.store.checkout(seats.shard, serial, GRACE_MS)


async def expired(seats: SeatsUnderTest) -> str:
    serial = await seats.hold()
    await move_due(seats.client, seats.shard, serial)
    await seats.store.expire(seats.shard, [serial])
    return serial


async def test_a_released_hold_gives_back_its_seats_and_sessions(seats: SeatsUnderTest) -> None:
    serial = await seats.hold("candidate-1", ("general", "qms"))

    answer = await release(seats, serial)

    assert answer.code is Code.DONE
    assert answer.reservation is not None
    assert answer.reservation.state is State.RELEASED
    assert (await seats.remaining("jinan", "general"), await seats.remaining("jinan", "qms")) == (
        3,
        2,
    )
    assert (await seats.reserve("candidate-1", ("general", "ems"))).code is Code.DONE


async def test_a_hold_is_released_once_however_often_it_is_asked(seats: SeatsUnderTest) -> None:
    serial = await seats.hold()

    answers = await asyncio.gather(*(release(seats, serial) for _ in range(10)))
    later = await release(seats, serial)

    codes = [answer.code for answer in answers]
    assert (codes.count(Code.DONE), codes.count(Code.DONE_BEFORE)) == (1, 9)
    assert later.reservation == answers[0].reservation
    assert await seats.remaining("jinan", "general") == 3
    assert await seats.verbs() == ["reserve", "release"]


async def test_a_second_release_does_not_free_what_the_candidate_took_since(
    seats: SeatsUnderTest,
) -> None:
    first = await seats.hold("candidate-1", ("qms",))
    await release(seats, first)
    second = await seats.hold("candidate-1", ("ems",))

    await release(seats, first)

    assert await seats.store.claims(seats.shard, "candidate-1", ["day1-pm"]) == [second]


async def test_a_release_frees_no_session_that_another_reservation_stands_in(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold("candidate-1", ("general", "qms"))
    claims, claim = seats.shard.key("claims"), "candidate-1/day1-pm"
    await seats.client.hset(claims, claim, "another")

    await release(seats, serial)

    assert await seats.client.hgetall(claims) == {claim: "another"}
    await seats.client.hdel(claims, claim)


async def test_a_release_after_the_expiry_says_that_it_had_expired(seats: SeatsUnderTest) -> None:
    serial = await expired(seats)

    answer = await release(seats, serial)

    assert answer.code is Code.DONE_BEFORE
    assert answer.reservation is not None
    assert answer.reservation.state is State.EXPIRED
    assert await seats.remaining("jinan", "general") == 3


async def test_a_hold_whose_payment_is_being_recorded_cannot_be_released(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.with_attempt()

    answer = await release(seats, serial)

    assert answer.code is Code.IN_PROGRESS
    assert (await seats.record(serial)).state is State.CONFIRMING


async def test_a_booking_cannot_be_released(seats: SeatsUnderTest) -> None:
    serial = await seats.confirmed()

    answer = await release(seats, serial)

    assert answer.code is Code.ALREADY_CONFIRMED
    assert await seats.remaining("jinan", "general") == 2


async def test_a_hold_whose_payment_came_to_nothing_can_be_released(seats: SeatsUnderTest) -> None:
    serial = await seats.with_attempt()
    await seats.store.abandon_payment(seats.shard, serial, "attempt-1", grace_ms=0)

    answer = await release(seats, serial)

    assert answer.code is Code.DONE
    assert await seats.remaining("jinan", "general") == 3


@pytest.mark.parametrize("step", [release, checkout])
async def test_a_reservation_that_was_never_made_is_unknown(
    seats: SeatsUnderTest, step: Callable[[SeatsUnderTest, str], Awaitable[ScriptReply]]
) -> None:
    answer = await step(seats, NEVER_MADE)

    assert answer == ScriptReply(Code.UNKNOWN)


async def test_checkout_moves_the_deadline_out_by_the_grace(seats: SeatsUnderTest) -> None:
    hold = dataclasses.replace(seats.exam.hold, expiry_slack_s=3)
    made = await seats.reserve(exam=dataclasses.replace(seats.exam, hold=hold))
    assert made.reservation is not None
    serial = made.reservation.id.rpartition(".")[2]

    answer = await checkout(seats, serial)

    out = answer.reservation
    assert answer.code is Code.DONE
    assert out is not None
    assert out.checked_out
    assert out.deadline_ms == made.reservation.deadline_ms + GRACE_MS
    assert out.due_ms == made.reservation.due_ms + GRACE_MS
    assert out.first_deadline_ms == made.reservation.first_deadline_ms


async def test_checkout_moves_the_deadline_once_however_often_it_is_asked(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold()
    deadline_ms = (await seats.record(serial)).deadline_ms

    answers = await asyncio.gather(*(checkout(seats, serial) for _ in range(10)))

    codes = [answer.code for answer in answers]
    assert (codes.count(Code.DONE), codes.count(Code.DONE_BEFORE)) == (1, 9)
    assert {a.reservation.deadline_ms for a in answers if a.reservation} == {deadline_ms + GRACE_MS}
    assert await seats.verbs() == ["reserve", "checkout"]


async def test_checkout_while_a_payment_is_recorded_changes_nothing(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.with_attempt()
    before = await seats.record(serial)

    answer = await checkout(seats, serial)

    assert (answer.code, answer.reservation) == (Code.DONE_BEFORE, before)


async def test_checkout_of_a_booking_says_that_it_is_paid(seats: SeatsUnderTest) -> None:
    serial = await seats.confirmed()

    assert (await checkout(seats, serial)).code is Code.ALREADY_CONFIRMED


async def test_checkout_of_what_has_ended_says_how_it_ended(seats: SeatsUnderTest) -> None:
    was_released = await seats.hold("candidate-2")
    await release(seats, was_released)
    had_expired = await expired(seats)

    answers = [await checkout(seats, serial) for serial in (was_released, had_expired)]

    assert [answer.code for answer in answers] == [Code.ENDED, Code.ENDED]
    assert [answer.reservation.state for answer in answers if answer.reservation] == [
        State.RELEASED,
        State.EXPIRED,
    ]


async def test_a_hold_that_was_checked_out_is_not_moved_again_after_a_lost_payment(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold()
    await checkout(seats, serial)
    await seats.begin_payment(serial)
    await seats.store.abandon_payment(seats.shard, serial, "attempt-1", grace_ms=0)
    before = await seats.record(serial)

    answer = await checkout(seats, serial)

    assert (answer.code, answer.reservation) == (Code.DONE_BEFORE, before)
