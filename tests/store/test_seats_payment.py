"""Begin, abandon and confirm: the steps a payment takes a reservation through."""

import asyncio

import pytest

from quota_service.domain.reservation import State
from quota_service.seats.codes import Code
from quota_service.seats.replies import ScriptReply
from tests.support.books import DAY_MS
from tests.support.records import move_due, read_fields, redis_now_ms
from tests.support.seats import SeatsUnderTest

NEVER_MADE = "a" * 24


async def expire(seats: SeatsUnderTest, serial: str) -> str:
    await move_due(seats.client, seats.shard, serial)
    assert (await seats.store.expire(seats.shard, [serial]))[0] == 1
    return serial


def state_of(answer: ScriptReply) -> State | None:
    return answer.reservation and answer.reservation.state


async def test_a_hold_being_paid_can_expire_no_more(seats: SeatsUnderTest) -> None:
    before_ms = await redis_now_ms(seats.client)
    serial = await seats.hold("candidate-1", ("general", "qms"))

    answer = await seats.begin_payment(serial, "attempt-1")

    assert (answer.code, state_of(answer)) == (Code.DONE, State.CONFIRMING)
    assert answer.reservation is not None
    assert (answer.reservation.attempt, answer.reservation.payment_seen) == ("attempt-1", True)
    assert before_ms <= answer.reservation.attempt_began_ms <= await redis_now_ms(seats.client)
    await seats.client.zadd(seats.shard.key("due"), {serial: 1})
    assert await seats.store.expire(seats.shard, [serial]) == (0, 0)


async def test_a_second_attempt_finds_the_first(seats: SeatsUnderTest) -> None:
    serial = await seats.with_attempt(attempt="attempt-1")

    answer = await seats.begin_payment(serial, "attempt-2")

    assert answer.code is Code.DONE_BEFORE
    assert answer.reservation is not None
    assert answer.reservation.attempt == "attempt-1"


async def test_of_many_attempts_at_once_one_holds_and_all_are_told_which(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold()

    answers = await asyncio.gather(
        *(
            seats.store.begin_payment(seats.shard, serial, f"attempt-{i}", 8000, "CNY")
            for i in range(10)
        )
    )

    codes = [answer.code for answer in answers]
    assert (codes.count(Code.DONE), codes.count(Code.DONE_BEFORE)) == (1, 9)
    assert len({answer.reservation.attempt for answer in answers if answer.reservation}) == 1


async def test_a_hold_past_its_deadline_that_nobody_has_expired_yet_is_paid_in_time(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold()
    await move_due(seats.client, seats.shard, serial)

    answer = await seats.begin_payment(serial)

    assert (answer.code, state_of(answer)) == (Code.DONE, State.CONFIRMING)


async def test_a_late_payment_takes_the_seats_again_while_they_are_there(
    seats: SeatsUnderTest,
) -> None:
    serial = await expire(seats, await seats.hold("candidate-1", ("general", "qms")))

    answer = await seats.begin_payment(serial)

    assert (answer.code, state_of(answer)) == (Code.DONE, State.CONFIRMING)
    assert await seats.remaining("jinan", "qms") == 1
    assert await seats.store.claims(seats.shard, "candidate-1", ["day1-am", "day1-pm"]) == [serial]
    assert await seats.client.pttl(seats.shard.record_key(serial)) == -1


async def test_a_late_payment_whose_seat_is_gone_takes_none_of_its_seats(
    seats: SeatsUnderTest,
) -> None:
    serial = await expire(seats, await seats.hold("candidate-1", ("general", "service")))
    await seats.hold("candidate-2", ("service",))

    answer = await seats.begin_payment(serial)

    assert (answer.code, answer.detail) == (Code.SOLD_OUT, (3, 0))
    assert await seats.remaining("jinan", "general") == 3
    assert (await seats.record(serial)).state is State.EXPIRED


async def test_a_late_payment_gives_way_to_what_the_candidate_took_since(
    seats: SeatsUnderTest,
) -> None:
    serial = await expire(seats, await seats.hold("candidate-1", ("general", "qms")))
    since = await seats.hold("candidate-1", ("ems",), ("jinan",))

    answer = await seats.begin_payment(serial)

    assert (answer.code, answer.detail) == (Code.SESSION_CONFLICT, ("day1-pm", since))
    assert await seats.remaining("jinan", "general") == 3


async def test_a_payment_for_what_its_candidate_gave_back_is_refused(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold()
    await seats.store.release(seats.shard, serial)

    answer = await seats.begin_payment(serial)

    assert (answer.code, state_of(answer)) == (Code.RELEASED, State.RELEASED)
    assert await seats.remaining("jinan", "general") == 3


@pytest.mark.parametrize("amount", [0, 7999, 8001, 80000, 10**12])
@pytest.mark.parametrize("late", [False, True])
async def test_a_wrong_amount_takes_no_hold_of_anything(
    seats: SeatsUnderTest, amount: int, *, late: bool
) -> None:
    serial = await seats.hold()
    if late:
        await expire(seats, serial)

    answer = await seats.begin_payment(serial, amount=amount)

    assert (answer.code, state_of(answer)) == (
        Code.WRONG_AMOUNT,
        State.EXPIRED if late else State.HELD,
    )


@pytest.mark.parametrize("currency", ["USD", "cny", "", "CNYX"])
async def test_another_currency_takes_no_hold_of_anything(
    seats: SeatsUnderTest, currency: str
) -> None:
    serial = await seats.hold()

    answer = await seats.begin_payment(serial, currency=currency)

    assert (answer.code, state_of(answer)) == (Code.WRONG_CURRENCY, State.HELD)


async def test_a_second_payment_for_a_booking_is_told_so(seats: SeatsUnderTest) -> None:
    serial = await seats.confirmed()

    answer = await seats.begin_payment(serial, "attempt-2")

    assert (answer.code, state_of(answer)) == (Code.ALREADY_CONFIRMED, State.CONFIRMED)


async def test_a_refused_payment_leaves_its_mark_once(seats: SeatsUnderTest) -> None:
    serial = await seats.hold()

    await seats.begin_payment(serial, amount=1)
    await seats.begin_payment(serial, amount=2)

    assert (await read_fields(seats.client, seats.shard, serial))["payment_seen"] == "1"
    assert await seats.verbs() == ["reserve", "see_payment"]


async def test_the_mark_on_an_ended_reservation_does_not_keep_its_record_for_ever(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold()
    await seats.store.release(seats.shard, serial)

    await seats.begin_payment(serial)

    assert 0 < await seats.client.pttl(seats.shard.record_key(serial)) <= DAY_MS
    assert await seats.verbs() == ["reserve", "release", "see_payment"]


async def test_a_payment_refused_first_and_right_later_is_taken(seats: SeatsUnderTest) -> None:
    serial = await seats.hold()
    await seats.begin_payment(serial, amount=1)

    answer = await seats.begin_payment(serial)

    assert answer.code is Code.DONE


async def test_abandoning_makes_it_a_hold_again_under_its_old_deadline(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold()
    before = await seats.record(serial)
    await seats.begin_payment(serial, "attempt-1")

    answer = await seats.store.abandon_payment(seats.shard, serial, "attempt-1", grace_ms=0)

    after = answer.reservation
    assert answer.code is Code.DONE
    assert after is not None
    assert (after.state, after.attempt, after.attempt_began_ms) == (State.HELD, "", 0)
    assert (after.deadline_ms, after.due_ms) == (before.deadline_ms, before.due_ms)
    assert after.payment_seen


async def test_only_the_attempt_that_holds_can_abandon(seats: SeatsUnderTest) -> None:
    serial = await seats.with_attempt(attempt="attempt-1")

    wrong = await seats.store.abandon_payment(seats.shard, serial, "attempt-2", grace_ms=0)
    empty = await seats.store.abandon_payment(seats.shard, serial, "", grace_ms=0)
    right = await seats.store.abandon_payment(seats.shard, serial, "attempt-1", grace_ms=0)
    again = await seats.store.abandon_payment(seats.shard, serial, "attempt-1", grace_ms=0)

    assert [a.code for a in (wrong, empty, right, again)] == [
        Code.DONE_BEFORE,
        Code.DONE_BEFORE,
        Code.DONE,
        Code.DONE_BEFORE,
    ]


async def test_an_old_attempt_does_not_abandon_what_another_has_begun_since(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.with_attempt(attempt="attempt-1")
    await seats.store.abandon_payment(seats.shard, serial, "attempt-1", grace_ms=0)
    await seats.begin_payment(serial, "attempt-2")

    answer = await seats.store.abandon_payment(seats.shard, serial, "attempt-1", grace_ms=0)

    assert (answer.code, state_of(answer)) == (Code.DONE_BEFORE, State.CONFIRMING)


@pytest.mark.parametrize("grace_ms", [0, 60_000])
async def test_a_late_payment_that_comes_to_nothing_leaves_the_hold_expired(
    seats: SeatsUnderTest, grace_ms: int
) -> None:
    serial = await expire(seats, await seats.hold("candidate-1", ("general", "qms")))
    await seats.begin_payment(serial, "attempt-1")

    answer = await seats.store.abandon_payment(seats.shard, serial, "attempt-1", grace_ms)

    assert (answer.code, state_of(answer)) == (Code.DONE, State.EXPIRED)
    assert await seats.remaining("jinan", "general") == 3
    assert await seats.remaining("jinan", "qms") == 2
    assert await seats.store.claims(seats.shard, "candidate-1", ["day1-am", "day1-pm"]) == []
    assert await seats.store.overdue(seats.shard, "due", -DAY_MS, 10) == []
    assert 0 < await seats.client.pttl(seats.shard.record_key(serial)) <= DAY_MS


async def test_a_late_payment_that_does_not_ask_for_the_seats_again_finds_it_ended(
    seats: SeatsUnderTest,
) -> None:
    serial = await expire(seats, await seats.hold())
    before = await read_fields(seats.client, seats.shard, serial)

    answer = await seats.begin_payment(serial, again=False)

    assert (answer.code, state_of(answer)) == (Code.ENDED, State.EXPIRED)
    assert await seats.remaining("jinan", "general") == 3
    assert await read_fields(seats.client, seats.shard, serial) == before
    assert await seats.verbs() == ["reserve", "expire"]


@pytest.mark.parametrize("again", [False, True])
async def test_a_payment_begins_whether_or_not_its_seats_may_be_taken_again(
    seats: SeatsUnderTest, *, again: bool
) -> None:
    serial = await seats.hold()

    answer = await seats.begin_payment(serial, again=again)

    assert (answer.code, state_of(answer)) == (Code.DONE, State.CONFIRMING)


async def test_an_attempt_tells_the_version_of_its_step_and_a_repeat_one_that_is_no_less(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold()

    first = await seats.begin_payment(serial, "attempt-1")
    version = (await seats.snapshot()).version
    await seats.hold("candidate-2")
    again = await seats.begin_payment(serial, "attempt-2")

    assert (first.code, first.detail) == (Code.DONE, (version,))
    assert (again.code, again.detail) == (Code.DONE_BEFORE, (version + 1,))


async def test_a_confirmed_reservation_keeps_its_seats_and_its_record(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.with_attempt("candidate-1", ("general", "qms"))

    answer = await seats.store.confirm(seats.shard, serial)

    assert (answer.code, state_of(answer)) == (Code.DONE, State.CONFIRMED)
    assert await seats.remaining("jinan", "qms") == 1
    assert (await seats.reserve("candidate-1", ("ems",))).code is Code.SESSION_CONFLICT
    assert await seats.client.pttl(seats.shard.record_key(serial)) == -1


async def test_a_booking_keeps_nothing_that_only_a_hold_needs(seats: SeatsUnderTest) -> None:
    serial = await seats.hold()
    first = await seats.record(serial)
    await seats.store.checkout(seats.shard, serial, 1000)
    await seats.begin_payment(serial)

    booked = (await seats.store.confirm(seats.shard, serial)).reservation

    assert booked is not None
    assert (booked.attempt, booked.attempt_began_ms) == ("", 0)
    assert (booked.checked_out, booked.payment_seen) == (True, True)
    assert (booked.deadline_ms, booked.due_ms) == (first.deadline_ms, first.deadline_ms)


async def test_a_reservation_is_confirmed_once(seats: SeatsUnderTest) -> None:
    serial = await seats.with_attempt()

    answers = await asyncio.gather(*(seats.store.confirm(seats.shard, serial) for _ in range(5)))

    codes = [answer.code for answer in answers]
    assert (codes.count(Code.DONE), codes.count(Code.DONE_BEFORE)) == (1, 4)
    assert (await seats.verbs()).count("confirm") == 1


async def test_what_nobody_has_begun_to_pay_is_not_confirmed(seats: SeatsUnderTest) -> None:
    held, ended = await seats.hold("candidate-1"), await seats.hold("candidate-2")
    await seats.store.release(seats.shard, ended)

    answers = [await seats.store.confirm(seats.shard, serial) for serial in (held, ended)]

    assert [(answer.code, state_of(answer)) for answer in answers] == [
        (Code.NO_ATTEMPT, State.HELD),
        (Code.NO_ATTEMPT, State.RELEASED),
    ]


async def test_a_reservation_that_was_never_made_is_unknown_to_each_step(
    seats: SeatsUnderTest,
) -> None:
    answers = [
        await seats.begin_payment(NEVER_MADE, amount=8000),
        await seats.store.abandon_payment(seats.shard, NEVER_MADE, "attempt-1", grace_ms=0),
        await seats.store.confirm(seats.shard, NEVER_MADE),
    ]

    assert answers == [ScriptReply(Code.UNKNOWN)] * 3
    assert await seats.store.read(seats.shard, NEVER_MADE) is None


async def test_a_whole_life_is_told_in_the_journal_step_by_step(seats: SeatsUnderTest) -> None:
    serial = await seats.hold()
    await seats.store.checkout(seats.shard, serial, 1000)
    await seats.begin_payment(serial, "attempt-1")
    await seats.store.abandon_payment(seats.shard, serial, "attempt-1", grace_ms=0)
    await expire(seats, serial)
    await seats.begin_payment(serial, "attempt-2")
    await seats.store.confirm(seats.shard, serial)

    verbs = await seats.verbs()

    assert verbs == [
        "reserve",
        "checkout",
        "pin",
        "unpin",
        "expire",
        "pin",
        "confirm",
    ]
