"""Reserving: all or nothing, in order of choice, once for each session and id."""

import asyncio
import dataclasses

import pytest

from quota_service.domain.exam import Exam, Window
from quota_service.domain.reservation import State
from quota_service.seats.codes import Code
from tests.support.records import HOUR_MS, move_due, redis_now_ms
from tests.support.seats import SeatsUnderTest


def with_window(exam: Exam, opens_at_ms: int, closes_at_ms: int) -> Exam:
    return dataclasses.replace(exam, registration=Window(opens_at_ms, closes_at_ms))


async def test_a_hold_takes_a_seat_of_each_subject_and_tells_all_about_itself(
    seats: SeatsUnderTest,
) -> None:
    before_ms = await redis_now_ms(seats.client)

    answer = await seats.reserve("candidate-1", ("general", "qms"), request_hash="0a1b")

    after_ms = await redis_now_ms(seats.client)
    held = answer.reservation
    assert answer.code is Code.DONE
    assert held is not None
    assert (held.state, held.candidate, held.venue) == (State.HELD, "candidate-1", "jinan")
    assert (held.subjects, held.sessions) == (("general", "qms"), ("day1-am", "day1-pm"))
    assert (held.amount, held.currency, held.request_hash) == (16000, "CNY", "0a1b")
    assert before_ms <= held.created_ms <= after_ms
    assert held.first_deadline_ms == held.deadline_ms == held.created_ms + 900_000
    assert held.due_ms == held.deadline_ms
    assert (held.checked_out, held.payment_seen, held.attempt, held.attempt_began_ms) == (
        False,
        False,
        "",
        0,
    )
    assert (await seats.remaining("jinan", "general"), await seats.remaining("jinan", "qms")) == (
        2,
        1,
    )


async def test_the_expiry_slack_moves_the_due_time_and_not_the_deadline_shown(
    seats: SeatsUnderTest,
) -> None:
    hold = dataclasses.replace(seats.exam.hold, ttl_s=60, expiry_slack_s=3)

    answer = await seats.reserve(exam=dataclasses.replace(seats.exam, hold=hold))

    assert answer.reservation is not None
    assert answer.reservation.deadline_ms == answer.reservation.created_ms + 60_000
    assert answer.reservation.due_ms == answer.reservation.deadline_ms + 3_000


async def test_without_a_seat_in_one_subject_nothing_is_taken_in_the_others(
    seats: SeatsUnderTest,
) -> None:
    answer = await seats.reserve("candidate-1", ("general", "ems"), ("tianjin",))

    assert (answer.code, answer.detail) == (Code.SOLD_OUT, (5, 0))
    assert await seats.remaining("tianjin", "general") == 5
    assert await seats.verbs() == []


async def test_the_first_venue_with_every_subject_wins(seats: SeatsUnderTest) -> None:
    answer = await seats.reserve(
        "candidate-1", ("general", "service"), ("beijing", "jinan", "tianjin")
    )
    other = await seats.reserve("candidate-2", ("ems", "general"), ("tianjin", "jinan", "beijing"))

    assert answer.reservation is not None
    assert other.reservation is not None
    assert (answer.reservation.venue, other.reservation.venue) == ("beijing", "jinan")


async def test_a_later_choice_is_not_touched_while_the_first_has_seats(
    seats: SeatsUnderTest,
) -> None:
    await seats.hold("candidate-1", ("general",), ("beijing", "jinan"))

    await seats.hold("candidate-2", ("general",), ("beijing", "jinan"))

    assert await seats.remaining("beijing", "general") == 0
    assert await seats.remaining("jinan", "general") == 2


async def test_sold_out_tells_what_is_left_venue_by_venue_and_subject_by_subject(
    seats: SeatsUnderTest,
) -> None:
    await seats.hold("candidate-1", ("service",), ("beijing",))

    answer = await seats.reserve("candidate-2", ("ems", "service"), ("beijing", "tianjin"))

    assert (answer.code, answer.detail) == (Code.SOLD_OUT, (0, 0, 0, 5))


async def test_the_last_seat_goes_to_one_of_many_who_ask_at_once(seats: SeatsUnderTest) -> None:
    answers = await asyncio.gather(
        *(seats.reserve(f"candidate-{i}", ("general",), ("beijing",)) for i in range(40))
    )

    codes = [answer.code for answer in answers]
    assert (codes.count(Code.DONE), codes.count(Code.SOLD_OUT)) == (1, 39)


@pytest.mark.parametrize("venue", ["jinan", "tianjin"])
async def test_a_second_subject_in_the_same_session_is_refused_at_every_venue(
    seats: SeatsUnderTest, venue: str
) -> None:
    standing = await seats.hold("candidate-1", ("qms",))

    answer = await seats.reserve("candidate-1", ("general", "ems"), (venue,))

    assert (answer.code, answer.detail) == (Code.SESSION_CONFLICT, ("day1-pm", standing))
    assert await seats.remaining("jinan", "general") == 3


async def test_another_session_and_another_candidate_are_free(seats: SeatsUnderTest) -> None:
    await seats.hold("candidate-1", ("qms",))

    same_candidate = await seats.reserve("candidate-1", ("service",))
    other_candidate = await seats.reserve("candidate-2", ("ems",))

    assert (same_candidate.code, other_candidate.code) == (Code.DONE, Code.DONE)


async def test_one_candidate_who_asks_twice_at_once_gets_one_of_them(
    seats: SeatsUnderTest,
) -> None:
    answers = await asyncio.gather(
        seats.reserve("candidate-1", ("qms",), ("jinan",)),
        seats.reserve("candidate-1", ("ems",), ("jinan",)),
        seats.reserve("candidate-1", ("qms",), ("tianjin",)),
    )

    codes = [answer.code for answer in answers]
    assert (codes.count(Code.DONE), codes.count(Code.SESSION_CONFLICT)) == (1, 2)


async def test_the_same_request_again_is_answered_with_its_first_reservation(
    seats: SeatsUnderTest,
) -> None:
    first = await seats.reserve(key="key-a")

    again = await seats.reserve(key="key-a")

    assert (first.code, again.code) == (Code.DONE, Code.DONE_BEFORE)
    assert again.reservation == first.reservation
    assert await seats.remaining("jinan", "general") == 2
    assert await seats.verbs() == ["reserve"]


async def test_the_same_request_again_is_answered_though_nothing_is_left_and_all_is_closed(
    seats: SeatsUnderTest,
) -> None:
    first = await seats.reserve("candidate-1", ("general",), ("beijing",), key="key-a")
    closed = with_window(seats.exam, 1, 2)

    again = await seats.reserve("candidate-1", ("general",), ("beijing",), key="key-a", exam=closed)

    assert (again.code, again.reservation) == (Code.DONE_BEFORE, first.reservation)


async def test_another_request_under_the_same_key_is_refused(seats: SeatsUnderTest) -> None:
    await seats.hold(key="key-a", request_hash="one")

    answer = await seats.reserve("candidate-1", ("qms",), key="key-a", request_hash="other")

    assert (answer.code, answer.reservation) == (Code.KEY_REUSED, None)
    assert await seats.remaining("jinan", "qms") == 2


async def test_a_key_stays_used_after_its_reservation_was_released(seats: SeatsUnderTest) -> None:
    serial = await seats.hold(key="key-a")
    await seats.store.release(seats.shard, serial)

    again = await seats.reserve(key="key-a")
    reused = await seats.reserve(key="key-a", request_hash="other")

    assert (again.code, reused.code) == (Code.DONE_BEFORE, Code.KEY_REUSED)
    assert again.reservation is not None
    assert again.reservation.state is State.RELEASED
    assert await seats.remaining("jinan", "general") == 3


async def test_a_replay_after_the_expiry_brings_no_seat_back(seats: SeatsUnderTest) -> None:
    serial = await seats.hold(key="key-a")
    await move_due(seats.client, seats.shard, serial)
    await seats.store.expire(seats.shard, [serial])

    again = await seats.reserve(key="key-a")

    assert again.code is Code.DONE_BEFORE
    assert again.reservation is not None
    assert again.reservation.state is State.EXPIRED
    assert await seats.remaining("jinan", "general") == 3


async def test_the_window_opens_and_closes_by_the_clock_of_redis(
    seats: SeatsUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = await redis_now_ms(seats.client)
    early = with_window(seats.exam, now_ms + HOUR_MS, now_ms + 2 * HOUR_MS)
    late = with_window(seats.exam, now_ms - 2 * HOUR_MS, now_ms)
    monkeypatch.setattr("time.time", lambda: (now_ms + HOUR_MS + 1) / 1000)

    codes = [(await seats.reserve(exam=exam)).code for exam in (early, late)]

    assert codes == [Code.NOT_OPEN, Code.CLOSED]
    assert await seats.verbs() == []


async def test_a_window_opens_at_its_first_millisecond(seats: SeatsUnderTest) -> None:
    now_ms = await redis_now_ms(seats.client)

    answer = await seats.reserve(exam=with_window(seats.exam, now_ms, now_ms + HOUR_MS))

    assert answer.code is Code.DONE


async def test_an_order_as_large_as_the_limits_allow_is_written_in_whole_numbers(
    seats: SeatsUnderTest,
) -> None:
    fee = dataclasses.replace(seats.exam.fee, amount=10_000_000)
    candidate = "~" * 64

    answer = await seats.reserve(
        candidate,
        ("general", "qms", "service"),
        exam=dataclasses.replace(seats.exam, fee=fee),
    )

    assert answer.reservation is not None
    assert (answer.reservation.amount, answer.reservation.candidate) == (30_000_000, candidate)


async def test_an_order_that_costs_nothing_is_paid_with_nothing(seats: SeatsUnderTest) -> None:
    free = dataclasses.replace(seats.exam, fee=dataclasses.replace(seats.exam.fee, amount=0))
    request = seats.request()
    await seats.store.reserve(seats.shard, free, request)

    answer = await seats.begin_payment(request.serial, amount=0)

    assert answer.code is Code.DONE
