"""Where seats go that come back: on open sale, to the next allocation, or to their set-aside.

And what is free under the ceiling of a venue and session.
"""

import dataclasses
import itertools
from collections.abc import Awaitable, Callable

import pytest

from quota_service.domain.exam import Quota, ReturnedSeats, ReturnRule
from quota_service.seats.codes import Code
from tests.support.books import read_journal
from tests.support.records import move_due
from tests.support.seats import SeatsUnderTest
from tests.support.venue_steps import change, changing, refund, settle

CANDIDATES = (f"candidate-{number}" for number in itertools.count(10))
QUOTA = "jinan/general"
PLACE = "jinan/day1-am"

GiveBack = Callable[[SeatsUnderTest], Awaitable[None]]


async def open_what_waits(seats: SeatsUnderTest) -> None:
    """Put the seats of the quota that wait for the next allocation on open sale."""
    waiting = int(await seats.client.hget(seats.shard.key("returned"), QUOTA) or 0)
    await seats.client.hdel(seats.shard.key("returned"), QUOTA)
    await seats.client.hincrby(seats.shard.key("remaining"), QUOTA, waiting)
    if await seats.client.hexists(seats.shard.key("ceiling_left"), PLACE):
        await seats.client.hincrby(seats.shard.key("ceiling_left"), PLACE, waiting)


async def released(seats: SeatsUnderTest) -> None:
    await seats.store.release(seats.shard, await seats.hold(next(CANDIDATES)))


async def expired(seats: SeatsUnderTest) -> None:
    serial = await seats.hold(next(CANDIDATES))
    await move_due(seats.client, seats.shard, serial)
    assert await seats.store.expire(seats.shard, [serial]) == (1, pytest.approx(0, abs=10**8))


async def refunded(seats: SeatsUnderTest) -> None:
    assert (await refund(seats, await seats.confirmed(next(CANDIDATES)))).code is Code.DONE


async def hold_moved_away(seats: SeatsUnderTest) -> None:
    assert (await change(seats, await seats.hold(next(CANDIDATES)))).code is Code.DONE


async def booking_moved_away(seats: SeatsUnderTest) -> None:
    serial = await changing(seats, await seats.confirmed(next(CANDIDATES)))
    assert (await settle(seats, serial, has_moved=True)).code is Code.DONE


async def booking_stayed_at_the_other(seats: SeatsUnderTest) -> None:
    serial = await seats.confirmed(next(CANDIDATES), venues=("tianjin",))
    assert (await change(seats, serial, "jinan")).code is Code.DONE
    assert (await settle(seats, serial, has_moved=False)).code is Code.DONE


async def late_payment_given_up(seats: SeatsUnderTest) -> None:
    serial = await seats.hold(next(CANDIDATES))
    await move_due(seats.client, seats.shard, serial)
    await seats.store.expire(seats.shard, [serial])
    await open_what_waits(seats)
    assert (await seats.begin_payment(serial)).code is Code.DONE
    answer = await seats.store.abandon_payment(seats.shard, serial, "attempt-1", 0)
    assert answer.code is Code.DONE


WAYS: tuple[GiveBack, ...] = (
    released,
    expired,
    refunded,
    hold_moved_away,
    booking_moved_away,
    booking_stayed_at_the_other,
    late_payment_given_up,
)


async def under(seats: SeatsUnderTest, rule: ReturnRule) -> SeatsUnderTest:
    """Return the shard with another rule for returned seats in force."""
    exam = dataclasses.replace(seats.exam, returned=ReturnedSeats(rule), revision=2)
    await seats.store.define(seats.shard, exam, before="0")
    return dataclasses.replace(seats, exam=exam)


async def pools(seats: SeatsUnderTest, quota: str = QUOTA) -> tuple[int, int]:
    """Return the seats of a quota that remain, and those that wait for the next allocation."""
    snapshot = await seats.snapshot()
    found = Quota(*quota.split("/"))
    return snapshot.remaining[found], snapshot.returned[found]


@pytest.mark.parametrize("give_back", WAYS)
async def test_a_seat_that_comes_back_goes_where_the_rule_of_the_exam_says(
    seats: SeatsUnderTest, give_back: GiveBack
) -> None:
    wanted, before = seats.shard.key("wanted"), await pools(seats)

    await give_back(seats)
    assert await pools(seats) == before
    at_times = await under(seats, ReturnRule.AT_TIMES)
    await give_back(at_times)
    assert await pools(at_times) == (before[0] - 1, 1)

    entry = (await read_journal(seats.client, seats.shard))[-1][1]
    assert entry["returned"] == f"{QUOTA}=1"
    await seats.check_books()
    assert await seats.client.exists(wanted) == 0


@pytest.mark.parametrize("give_back", WAYS)
@pytest.mark.parametrize("is_wanted", [True, False])
async def test_with_the_list_first_a_seat_waits_where_an_entry_wants_it(
    seats: SeatsUnderTest, give_back: GiveBack, is_wanted: bool
) -> None:
    seats = await under(seats, ReturnRule.LIST_FIRST)
    await seats.client.hset(seats.shard.key("wanted"), QUOTA if is_wanted else "jinan/qms", 1)
    remaining, _ = await pools(seats)

    await give_back(seats)

    assert await pools(seats) == ((remaining - 1, 1) if is_wanted else (remaining, 0))
    await seats.check_books()


@pytest.mark.parametrize("give_back", WAYS)
async def test_a_seat_that_waits_keeps_its_place_under_the_ceiling(
    seats: SeatsUnderTest, give_back: GiveBack
) -> None:
    exam = dataclasses.replace(
        seats.exam,
        returned=ReturnedSeats(ReturnRule.LIST_FIRST),
        ceilings={("jinan", "day1-am"): 2},
        revision=2,
    )
    await seats.store.define(seats.shard, exam, before="0")
    seats = dataclasses.replace(seats, exam=exam)
    ceiling = seats.shard.key("ceiling_left")
    await seats.client.hset(ceiling, PLACE, 2)

    await give_back(seats)
    assert await seats.client.hget(ceiling, PLACE) == "2"
    # Another subject of the session is waited for: it may use the place.
    await seats.client.hset(seats.shard.key("wanted"), "jinan//day1-am", 1)
    await give_back(seats)

    assert await seats.client.hget(ceiling, PLACE) == "1"
    assert (await pools(seats))[1] == 1
    await seats.check_books()


async def test_seats_under_a_full_ceiling_are_sold_out(seats: SeatsUnderTest) -> None:
    exam = dataclasses.replace(seats.exam, ceilings={("jinan", "day1-am"): 2}, revision=2)
    await seats.store.define(seats.shard, exam, before="0")
    seats = dataclasses.replace(seats, exam=exam)
    await seats.client.hset(seats.shard.key("ceiling_left"), PLACE, 2)

    await seats.hold("candidate-1")
    await seats.hold("candidate-2")
    refused = await seats.reserve("candidate-3")
    elsewhere = await seats.reserve("candidate-3", ("general",), ("jinan", "tianjin"))

    assert (refused.code, refused.detail) == (Code.SOLD_OUT, (0,))
    assert elsewhere.reservation is not None
    assert elsewhere.reservation.venue == "tianjin"
    moved = await change(seats, elsewhere.reservation.id.rpartition(".")[2], "jinan")
    assert moved.code is Code.SOLD_OUT


async def set_aside(seats: SeatsUnderTest, count: int, subject: str = "general") -> None:
    quota = f"jinan/{subject}"
    await seats.client.hincrby(seats.shard.key("remaining"), quota, -count)
    await seats.client.hset(seats.shard.key("aside"), quota, count)
    await seats.client.hset(seats.shard.key("aside_left"), f"teachers/{quota}", count)


async def with_code(seats: SeatsUnderTest, candidate: str, code: str = "7", most: int = 1) -> Code:
    request = dataclasses.replace(seats.request(candidate), set_aside=f"teachers:{code}:{most}")
    return (await seats.store.reserve(seats.shard, seats.exam, request)).code


async def test_seats_of_a_set_aside_are_for_its_codes_and_each_code_so_often(
    seats: SeatsUnderTest,
) -> None:
    await set_aside(seats, 3)
    assert (await seats.reserve("candidate-9")).code is Code.SOLD_OUT

    codes = [await with_code(seats, f"candidate-{i}") for i in range(2)]
    codes += [await with_code(seats, "candidate-2", "8", 2)]
    codes += [await with_code(seats, "candidate-3", "", 0)]

    assert codes == [Code.DONE, Code.CODE_USED, Code.DONE, Code.DONE]
    assert await with_code(seats, "candidate-4", "8", 2) is Code.SOLD_OUT
    assert (await seats.snapshot()).aside[Quota("jinan", "general")] == 0
    await seats.check_books()


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("give_back", [released, expired, refunded, hold_moved_away])
async def test_a_seat_of_a_set_aside_goes_back_to_it_while_it_is_on(
    seats: SeatsUnderTest,
    give_back: GiveBack,
    is_on: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await set_aside(seats, 3)
    seats = await under(seats, ReturnRule.AT_TIMES)
    request = seats.request

    def of_the_set_aside(*words: str) -> object:
        return dataclasses.replace(request(*words), set_aside="teachers:7:1")

    monkeypatch.setattr(SeatsUnderTest, "request", lambda _, *words, **__: of_the_set_aside(*words))
    if not is_on:
        reserve = seats.store.reserve

        async def and_end(*words: object) -> object:
            answer = await reserve(*words)  # type: ignore[arg-type]
            await seats.client.delete(seats.shard.key("aside_left"), seats.shard.key("aside"))
            await seats.client.hset(seats.shard.key("returned"), QUOTA, 2)
            return answer

        monkeypatch.setattr(seats.store, "reserve", and_end)

    await give_back(seats)

    snapshot, quota = await seats.snapshot(), Quota("jinan", "general")
    assert (snapshot.aside[quota], snapshot.returned[quota]) == ((3, 0) if is_on else (0, 3))
    assert await seats.client.exists(seats.shard.key("code_uses")) == 0
    await seats.check_books()


async def test_a_late_payment_takes_the_seat_of_its_set_aside_again(seats: SeatsUnderTest) -> None:
    await set_aside(seats, 3)
    assert await with_code(seats, "candidate-1") is Code.DONE
    (serial,) = await seats.store.claims(seats.shard, "candidate-1", ["day1-am"])
    await move_due(seats.client, seats.shard, serial)
    await seats.store.expire(seats.shard, [serial])

    answer = await seats.begin_payment(serial)

    assert answer.code is Code.DONE
    assert (await seats.snapshot()).aside[Quota("jinan", "general")] == 2
    assert await seats.client.hget(seats.shard.key("code_uses"), "7") == "1"
    await seats.check_books()


async def test_a_set_aside_that_is_over_is_told_from_one_that_is_sold_out(
    seats: SeatsUnderTest,
) -> None:
    assert await with_code(seats, "candidate-1") is Code.SET_ASIDE_OVER
    await set_aside(seats, 0)
    assert await with_code(seats, "candidate-1") is Code.SOLD_OUT


@pytest.mark.parametrize(
    ("rule", "wanted", "waits"),
    [
        (ReturnRule.AT_ONCE, QUOTA, 0),
        (ReturnRule.LIST_FIRST, QUOTA, 2),
        (ReturnRule.LIST_FIRST, "jinan/qms", 0),
        (ReturnRule.AT_TIMES, "jinan/qms", 2),
    ],
)
async def test_seats_that_are_added_go_by_the_rule_and_those_that_wait_are_taken_away_last(
    seats: SeatsUnderTest, rule: ReturnRule, wanted: str, waits: int
) -> None:
    seats = await under(seats, rule)
    await seats.client.hset(seats.shard.key("wanted"), wanted, 1)
    quota = Quota("jinan", "general")
    capacity = seats.exam.seats[quota]

    await seats.store.set_capacity(seats.shard, {quota: capacity + 2})
    assert await pools(seats) == (capacity + 2 - waits, waits)
    await seats.check_books()
    await seats.store.set_capacity(seats.shard, {quota: 1})
    assert await pools(seats) == ((0, 1) if waits else (1, 0))
    await seats.check_books()
    assert (await seats.store.set_capacity(seats.shard, {quota: 0})).code is Code.DONE


@pytest.mark.parametrize(("wanted", "waits"), [("beijing/qms", 3), (QUOTA, 0)])
async def test_seats_of_a_new_quota_wait_where_somebody_does(
    seats: SeatsUnderTest, wanted: str, waits: int
) -> None:
    seats = await under(seats, ReturnRule.LIST_FIRST)
    await seats.client.hset(seats.shard.key("wanted"), wanted, 1)
    quota = Quota("beijing", "qms")

    await seats.store.set_capacity(seats.shard, {quota: 3})

    found = await seats.snapshot()
    assert (found.remaining[quota], found.returned[quota]) == (3 - waits, waits)


async def test_seats_added_beyond_a_ceiling_do_not_wait_for_a_place(seats: SeatsUnderTest) -> None:
    exam = dataclasses.replace(
        seats.exam,
        returned=ReturnedSeats(ReturnRule.AT_TIMES),
        ceilings={("jinan", "day1-am"): 4},
        revision=2,
    )
    await seats.store.define(seats.shard, exam, before="0")
    await seats.client.hset(seats.shard.key("ceiling_left"), PLACE, 1)
    quota = Quota("jinan", "general")

    await seats.store.set_capacity(seats.shard, {quota: exam.seats[quota] + 2})

    assert await pools(seats) == (exam.seats[quota] + 1, 1)
    assert await seats.client.hget(seats.shard.key("ceiling_left"), PLACE) == "0"
