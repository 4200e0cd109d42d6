"""Change and finish_change: a booking moves or stays, and no seat is lost on the way."""

import asyncio
import dataclasses

import pytest

from quota_service.domain.errors import NotReady
from quota_service.domain.exam import FairUseRules, Window
from quota_service.domain.reservation import State
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.record import parse_record
from quota_service.seats.replies import ScriptReply
from tests.support.books import DAY_MS, read_journal
from tests.support.records import HOUR_MS, read_fields, redis_now_ms
from tests.support.seats import SeatsUnderTest
from tests.support.venue_steps import change, changing, counted, ended, refund, settle, state_of

NEVER_MADE = "a" * 24


async def test_a_hold_moves_at_once_and_keeps_its_deadline(seats: SeatsUnderTest) -> None:
    serial = await seats.hold("candidate-1", ("general", "qms"))
    before = await seats.record(serial)

    answer = await change(seats, serial)

    after = answer.reservation
    assert (answer.code, state_of(answer)) == (Code.DONE, State.HELD)
    assert after is not None
    assert (after.venue, after.to_venue, after.attempt, after.attempt_began_ms) == (
        "tianjin",
        "",
        "",
        0,
    )
    assert (after.deadline_ms, after.due_ms) == (before.deadline_ms, before.due_ms)
    assert await seats.record(serial) == after
    assert await counted(seats, "jinan/general") == {"remaining": 3}
    assert await counted(seats, "jinan/qms") == {"remaining": 2}
    assert await counted(seats, "tianjin/general") == {"remaining": 4, "held": 1}
    assert await counted(seats, "tianjin/qms") == {"remaining": 4, "held": 1}


async def test_a_booking_has_the_seats_of_both_venues_while_it_is_changing(
    seats: SeatsUnderTest,
) -> None:
    before_ms = await redis_now_ms(seats.client)
    serial = await seats.confirmed("candidate-1", ("general", "qms"))

    answer = await change(seats, serial, attempt="change-7")

    after = answer.reservation
    assert (answer.code, state_of(answer)) == (Code.DONE, State.CHANGING_VENUE)
    assert after is not None
    assert (after.venue, after.to_venue, after.attempt) == ("jinan", "tianjin", "change-7")
    assert before_ms <= after.attempt_began_ms <= await redis_now_ms(seats.client)
    assert await counted(seats, "jinan/qms") == {"remaining": 1, "confirmed": 1}
    assert await counted(seats, "tianjin/qms") == {"remaining": 4, "confirming": 1}
    assert await seats.store.overdue(seats.shard, "pinned", 0, 10) == [serial]


async def test_a_change_tells_the_version_of_its_step(seats: SeatsUnderTest) -> None:
    held, booked = await seats.hold("candidate-1"), await seats.confirmed("candidate-2")

    for serial in (held, booked):
        answer = await change(seats, serial)

        assert (answer.code, answer.detail) == (Code.DONE, ((await seats.snapshot()).version,))


async def test_a_moved_booking_gives_its_old_seats_back(seats: SeatsUnderTest) -> None:
    serial = await changing(seats, await seats.confirmed("candidate-1", ("general", "qms")))

    answer = await settle(seats, serial, has_moved=True)

    after = answer.reservation
    assert (answer.code, state_of(answer)) == (Code.DONE, State.CONFIRMED)
    assert after is not None
    assert (after.venue, after.to_venue, after.attempt, after.attempt_began_ms) == (
        "tianjin",
        "",
        "",
        0,
    )
    for subject, left in (("general", 3), ("qms", 2)):
        assert await counted(seats, f"jinan/{subject}") == {"remaining": left}
        assert await counted(seats, f"tianjin/{subject}") == {"remaining": 4, "confirmed": 1}
    assert await seats.client.pttl(seats.shard.record_key(serial)) == -1


async def test_a_booking_that_stays_gives_the_new_seats_back(seats: SeatsUnderTest) -> None:
    serial = await changing(seats, await seats.confirmed("candidate-1", ("general", "qms")))

    answer = await settle(seats, serial, has_moved=False)

    after = answer.reservation
    assert (answer.code, state_of(answer)) == (Code.DONE, State.CONFIRMED)
    assert after is not None
    assert (after.venue, after.to_venue, after.attempt, after.attempt_began_ms) == (
        "jinan",
        "",
        "",
        0,
    )
    assert await counted(seats, "jinan/qms") == {"remaining": 1, "confirmed": 1}
    assert await counted(seats, "tianjin/qms") == {"remaining": 5}


@pytest.mark.parametrize("booked", [False, True])
async def test_at_its_own_venue_nothing_is_done_even_outside_the_window(
    seats: SeatsUnderTest, *, booked: bool
) -> None:
    serial = await (seats.confirmed() if booked else seats.hold())
    verbs = await seats.verbs()

    answer = await change(seats, serial, "jinan", window=Window(0, 1))

    assert answer.code is Code.DONE_BEFORE
    assert answer.reservation == await seats.record(serial)
    assert await seats.verbs() == verbs


@pytest.mark.parametrize("state", [State.RELEASED, State.EXPIRED, State.REFUNDED])
@pytest.mark.parametrize("venue", ["jinan", "tianjin"])
async def test_what_has_ended_changes_no_more(
    seats: SeatsUnderTest, state: State, venue: str
) -> None:
    serial = await ended(seats, state)

    answer = await change(seats, serial, venue)

    assert (answer.code, state_of(answer)) == (Code.ENDED, state)
    assert 0 < await seats.client.pttl(seats.shard.record_key(serial)) <= DAY_MS


@pytest.mark.parametrize("venue", ["jinan", "tianjin", "beijing"])
@pytest.mark.parametrize("paying", [False, True])
async def test_during_a_payment_or_another_change_there_is_no_change(
    seats: SeatsUnderTest, venue: str, *, paying: bool
) -> None:
    serial = await (seats.with_attempt() if paying else seats.confirmed())
    if not paying:
        await changing(seats, serial)
    before = await seats.record(serial)

    answer = await change(seats, serial, venue, "change-2")

    assert answer == ScriptReply(Code.IN_PROGRESS, before)
    assert await seats.record(serial) == before


@pytest.mark.parametrize("booked", [False, True])
async def test_outside_the_registration_window_nothing_moves(
    seats: SeatsUnderTest, *, booked: bool
) -> None:
    serial = await (seats.confirmed() if booked else seats.hold())
    now_ms = await redis_now_ms(seats.client)

    early = await change(seats, serial, window=Window(now_ms + HOUR_MS, now_ms + 2 * HOUR_MS))
    late = await change(seats, serial, window=Window(now_ms - HOUR_MS, now_ms))

    assert (early, late) == (ScriptReply(Code.NOT_OPEN), ScriptReply(Code.CLOSED))
    assert (await seats.record(serial)).venue == "jinan"


@pytest.mark.parametrize("booked", [False, True])
async def test_when_one_subject_is_sold_out_there_none_is_taken(
    seats: SeatsUnderTest, *, booked: bool
) -> None:
    serial = await (seats.confirmed if booked else seats.hold)("candidate-1", ("general", "ems"))
    before = await seats.record(serial)

    answer = await change(seats, serial)

    assert (answer.code, answer.detail) == (Code.SOLD_OUT, ("general,ems", 5, 0))
    assert await seats.record(serial) == before
    assert await counted(seats, "tianjin/general") == {"remaining": 5}


async def test_a_venue_without_the_subject_is_sold_out(seats: SeatsUnderTest) -> None:
    serial = await seats.confirmed("candidate-1", ("qms",))

    answers = [await change(seats, serial, venue) for venue in ("beijing", "atlantis", "")]

    assert answers == [ScriptReply(Code.SOLD_OUT, detail=("qms", 0))] * 3


async def test_the_last_seat_there_can_be_had_and_then_no_other(seats: SeatsUnderTest) -> None:
    first, second = await seats.confirmed("candidate-1"), await seats.confirmed("candidate-2")

    answers = [await change(seats, serial, "beijing") for serial in (first, second)]

    assert [answer.code for answer in answers] == [Code.DONE, Code.SOLD_OUT]
    assert (await seats.record(second)).state is State.CONFIRMED
    assert await counted(seats, "beijing/general") == {"confirming": 1}


async def test_of_many_changes_of_one_booking_at_once_one_holds(seats: SeatsUnderTest) -> None:
    serial = await seats.confirmed()

    answers = await asyncio.gather(
        *(
            seats.store.change(seats.shard, seats.exam, serial, "tianjin", f"change-{i}")
            for i in range(10)
        )
    )

    codes = [answer.code for answer in answers]
    assert (codes.count(Code.DONE), codes.count(Code.IN_PROGRESS)) == (1, 9)
    assert len({answer.reservation.attempt for answer in answers if answer.reservation}) == 1
    assert await counted(seats, "tianjin/general") == {"remaining": 4, "confirming": 1}


@pytest.mark.parametrize("has_moved", [False, True])
async def test_a_change_is_settled_once_and_by_its_own_attempt_alone(
    seats: SeatsUnderTest, *, has_moved: bool
) -> None:
    serial = await changing(seats, await seats.confirmed())

    wrong = await settle(seats, serial, "change-2", has_moved=has_moved)
    empty = await settle(seats, serial, "", has_moved=has_moved)
    right = await settle(seats, serial, has_moved=has_moved)
    again = await settle(seats, serial, has_moved=has_moved)
    other_way = await settle(seats, serial, has_moved=not has_moved)

    assert [(a.code, state_of(a)) for a in (wrong, empty)] == [
        (Code.DONE_BEFORE, State.CHANGING_VENUE)
    ] * 2
    assert right.code is Code.DONE
    assert [a.code for a in (again, other_way)] == [Code.DONE_BEFORE] * 2
    assert await seats.record(serial) == right.reservation


async def test_an_old_attempt_does_not_settle_the_next_change(seats: SeatsUnderTest) -> None:
    serial = await changing(seats, await seats.confirmed())
    await settle(seats, serial, has_moved=True)
    await change(seats, serial, "beijing", "change-2")

    answer = await settle(seats, serial, "change-1", has_moved=False)

    assert (answer.code, state_of(answer)) == (Code.DONE_BEFORE, State.CHANGING_VENUE)


@pytest.mark.parametrize("has_moved", [False, True])
async def test_an_empty_attempt_settles_nothing_that_is_not_changing(
    seats: SeatsUnderTest, *, has_moved: bool
) -> None:
    held, booked = await seats.hold("candidate-1"), await seats.confirmed("candidate-2")

    for serial in (held, booked):
        before = await seats.record(serial)
        for attempt in ("", before.attempt):
            answer = await settle(seats, serial, attempt, has_moved=has_moved)
            assert answer == ScriptReply(Code.DONE_BEFORE, before)


async def test_a_payment_of_a_changing_booking_is_one_too_many(seats: SeatsUnderTest) -> None:
    serial = await changing(seats, await seats.confirmed())
    before = await seats.record(serial)

    paid = await seats.begin_payment(serial, "attempt-2")
    confirmed = await seats.store.confirm(seats.shard, serial)
    abandoned = await seats.store.abandon_payment(seats.shard, serial, before.attempt, grace_ms=0)

    assert paid.code is Code.ALREADY_CONFIRMED
    assert [a.code for a in (confirmed, abandoned)] == [Code.DONE_BEFORE] * 2
    assert await seats.record(serial) == before


async def test_what_was_never_made_is_unknown_and_a_shard_of_another_epoch_not_ready(
    seats: SeatsUnderTest,
) -> None:
    serial = await changing(seats, await seats.confirmed())
    other = Shard(seats.shard.exam, seats.shard.epoch + 1)

    answers = [
        await change(seats, NEVER_MADE),
        await settle(seats, NEVER_MADE, has_moved=True),
        await refund(seats, NEVER_MADE),
    ]

    version = (await seats.snapshot()).version
    assert answers == [
        ScriptReply(Code.UNKNOWN),
        ScriptReply(Code.UNKNOWN),
        ScriptReply(Code.UNKNOWN, detail=(version,)),
    ]
    for step in (
        seats.store.change(other, seats.exam, serial, "beijing", "change-2"),
        seats.store.finish_change(other, serial, "change-1", has_moved=True),
        seats.store.refund(other, serial),
    ):
        with pytest.raises(NotReady):
            await step
    assert (await seats.record(serial)).state is State.CHANGING_VENUE


async def test_every_step_is_told_in_the_journal_with_its_venues(seats: SeatsUnderTest) -> None:
    serial = await seats.hold()
    await change(seats, serial, "tianjin")
    await seats.begin_payment(serial)
    await seats.store.confirm(seats.shard, serial)
    await change(seats, serial, "beijing")
    await settle(seats, serial, has_moved=False)
    await change(seats, serial, "jinan", "change-2")
    await settle(seats, serial, "change-2", has_moved=True)
    await refund(seats, serial)

    entries = [e for _, e in await read_journal(seats.client, seats.shard)][-6:]
    told = [parse_record(seats.exam.id, serial, entry["body"]) for entry in entries]
    moves = [(r.state.value, r.venue, r.to_venue) for r in told]

    assert [entry["verb"] for entry in entries] == [
        "confirm", "change", "settle_change", "change", "settle_change", "refund"
    ]  # fmt: skip
    assert moves == [
        ("confirmed", "tianjin", ""),
        ("changing_venue", "tianjin", "beijing"),
        ("confirmed", "tianjin", ""),
        ("changing_venue", "tianjin", "jinan"),
        ("confirmed", "jinan", ""),
        ("refunded", "jinan", ""),
    ]
    assert (await read_fields(seats.client, seats.shard, serial))["venue"] == "jinan"


async def test_a_venue_is_changed_as_often_as_the_exam_allows(seats: SeatsUnderTest) -> None:
    exam = dataclasses.replace(seats.exam, fair_use=FairUseRules(venue_changes_max=2))
    serial = await seats.hold()
    codes = []
    for venue in ("tianjin", "beijing", "jinan", "beijing"):
        answer = await seats.store.change(seats.shard, exam, serial, venue, "attempt-2")
        codes.append(answer.code)

    assert codes == [Code.DONE, Code.DONE, Code.CHANGES_USED, Code.DONE_BEFORE]
    assert (await seats.record(serial)).venue_changes == 2


async def test_a_change_of_a_booking_counts_when_it_is_done(seats: SeatsUnderTest) -> None:
    serial = await seats.confirmed()
    for attempt, has_moved in (("attempt-2", False), ("attempt-3", True)):
        await seats.store.change(seats.shard, seats.exam, serial, "tianjin", attempt)
        await seats.store.finish_change(seats.shard, serial, attempt, has_moved=has_moved)

    assert (await seats.record(serial)).venue_changes == 1


async def test_a_record_without_a_count_of_changes_is_counted_on(seats: SeatsUnderTest) -> None:
    serial = await seats.hold()
    key = seats.shard.record_key(serial)
    await seats.client.set(key, (await seats.client.get(key)).rsplit("|", 2)[0])

    answer = await seats.store.change(seats.shard, seats.exam, serial, "tianjin", "attempt-2")

    assert answer.code is Code.DONE
    assert (await seats.record(serial)).venue_changes == 1
