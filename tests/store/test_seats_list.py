"""The waiting list in Redis: who may wait, what waiting entries want, and that both agree."""

import dataclasses

import pytest

from quota_service.domain.exam import Exam
from quota_service.seats.codes import Code
from quota_service.seats.lists import Enlisted, Listed, ListRequest, ListStore
from quota_service.waiting_list.entry import Entry, EntryState
from tests.support.seats import SeatsUnderTest

SERIAL = "a" * 24
OTHER = "b" * 24
WANTED = [
    f"{venue}/{each}"
    for venue in ("jinan", "tianjin")
    for each in ("general", "qms", "/day1-am", "/day1-pm")
]
"""What the request of these tests is counted under."""


def request(seats: SeatsUnderTest, serial: str = SERIAL, **changes: object) -> ListRequest:
    """Return a request for two subjects at two venues, where seats are on open sale at both."""
    subjects, venues = ("general", "qms"), ("jinan", "tianjin")
    sessions = tuple(seats.exam.session_of[subject] for subject in subjects)
    asked = ListRequest(serial, "candidate-1", subjects, sessions, venues, venues)
    return dataclasses.replace(asked, **changes)


def entry(seats: SeatsUnderTest, serial: str = SERIAL, number: int = 7) -> Entry:
    """Return the entry that Postgres has for the request."""
    asked = request(seats)
    return Entry(
        exam=seats.exam.id,
        serial=serial,
        candidate=asked.candidate,
        number=number,
        subjects=asked.subjects,
        sessions=asked.sessions,
        venues=asked.venues,
        until_ms=None,
        quiet_hours=None,
        window=1,
        rank=None,
        state=EntryState.WAITING,
        offers=0,
        reservation=None,
        deadline_ms=0,
        joined_ms=0,
        ended_ms=None,
        request_hash="hash",
    )


async def take(seats: SeatsUnderTest, venue: str, subject: str, count: int) -> None:
    for i in range(count):
        await seats.hold(f"{venue}-{subject}-{i}", (subject,), (venue,))


async def sold_out(seats: SeatsUnderTest) -> ListStore:
    """Leave no venue with both subjects: one has no seat of the first, the other of the second."""
    await take(seats, "jinan", "general", 3)
    await take(seats, "tianjin", "qms", 5)
    return ListStore(seats.runner)


async def wanted(seats: SeatsUnderTest) -> dict[str, str]:
    return await seats.client.hgetall(seats.shard.key("wanted"))


async def texts(seats: SeatsUnderTest) -> dict[str, str]:
    return await seats.client.hgetall(seats.shard.key("list"))


async def test_an_entry_waits_with_all_that_it_wants(seats: SeatsUnderTest) -> None:
    lists = await sold_out(seats)

    first = await lists.enlist(seats.shard, seats.exam, request(seats))
    again = await lists.enlist(seats.shard, seats.exam, request(seats))
    second = await lists.enlist(
        seats.shard,
        seats.exam,
        request(seats, OTHER, candidate="candidate-2", venues=("jinan",), on_sale=("jinan",)),
    )

    assert first == Enlisted(Code.DONE, 1, "jinan/general")
    assert again == Enlisted(Code.DONE_BEFORE, 1, "jinan/general")
    assert second == Enlisted(Code.DONE, 2, "jinan/general")
    assert await texts(seats) == {
        SERIAL: "|candidate-1|general,qms|day1-am,day1-pm|jinan,tianjin",
        OTHER: "|candidate-2|general,qms|day1-am,day1-pm|jinan",
    }
    assert await wanted(seats) == {
        "jinan/general": "2",
        "jinan/qms": "2",
        "tianjin/general": "1",
        "tianjin/qms": "1",
        "jinan//day1-am": "2",
        "jinan//day1-pm": "2",
        "tianjin//day1-am": "1",
        "tianjin//day1-pm": "1",
    }


async def test_who_can_reserve_now_does_not_wait(seats: SeatsUnderTest) -> None:
    await take(seats, "jinan", "general", 3)
    lists = ListStore(seats.runner)

    refused = await lists.enlist(seats.shard, seats.exam, request(seats))
    closed = await lists.enlist(seats.shard, seats.exam, request(seats, on_sale=("jinan",)))

    assert refused == Enlisted(Code.SEATS_ON_SALE, detail=("tianjin",))
    assert closed.code is Code.DONE


async def test_a_full_session_at_a_venue_leaves_no_seat_on_sale(seats: SeatsUnderTest) -> None:
    lists = ListStore(seats.runner)
    ceilings = {"jinan/day1-pm": 0, "tianjin/day1-pm": 1}
    await seats.client.hset(seats.shard.key("ceiling_left"), mapping=ceilings)

    asked = request(seats, on_sale=("jinan",))
    assert (await lists.enlist(seats.shard, seats.exam, asked)).code is Code.DONE
    refused = await lists.enlist(seats.shard, seats.exam, request(seats, OTHER))
    assert refused.detail == ("tianjin",)


async def test_what_entries_are_counted_under_outlives_ceilings_that_come_and_go(
    seats: SeatsUnderTest,
) -> None:
    lists = await sold_out(seats)
    definition = seats.shard.key("definition")
    await lists.enlist(seats.shard, seats.exam, request(seats))
    await seats.client.hset(definition, "ceilings", "1")
    await lists.enlist(seats.shard, seats.exam, request(seats, OTHER, candidate="candidate-2"))

    await lists.delist(seats.shard, [(SERIAL, None)])
    one_left = await wanted(seats)
    await seats.client.hdel(definition, "ceilings")
    await lists.delist(seats.shard, [(OTHER, None)])

    assert one_left == dict.fromkeys(WANTED, "1")
    assert await wanted(seats) == {}


async def test_one_that_postgres_has_with_another_wish_wants_that(seats: SeatsUnderTest) -> None:
    lists = await sold_out(seats)
    await lists.enlist(
        seats.shard,
        seats.exam,
        request(seats, subjects=("ems",), sessions=("day1-pm",), venues=("tianjin",), on_sale=()),
    )

    assert await lists.relist(seats.shard, [entry(seats)]) == 0

    assert await wanted(seats) == dict.fromkeys(WANTED, "1")
    await lists.delist(seats.shard, [(SERIAL, 7)])
    assert await wanted(seats) == {}


@pytest.mark.parametrize("subjects", [("qms",), ("general", "ems")])
async def test_who_has_a_reservation_in_a_session_does_not_wait_for_it(
    seats: SeatsUnderTest, subjects: tuple[str, ...]
) -> None:
    lists = await sold_out(seats)
    serial = await seats.hold("candidate-1", ("qms",), ("jinan",))
    sessions = tuple(seats.exam.session_of[subject] for subject in subjects)

    asked = request(seats, subjects=subjects, sessions=sessions)

    refused = await lists.enlist(seats.shard, seats.exam, asked)
    assert refused == Enlisted(Code.SESSION_CONFLICT, detail=("day1-pm", serial))


@pytest.mark.parametrize(
    ("field", "in_s", "code"),
    [
        ("opens_at_ms", 60, Code.NOT_OPEN),
        ("closes_at_ms", -60, Code.CLOSED),
        ("starts_at_ms/qms", -60, Code.SESSION_STARTED),
    ],
)
async def test_nobody_joins_at_the_wrong_time(
    seats: SeatsUnderTest, field: str, in_s: int, code: Code
) -> None:
    lists = await sold_out(seats)
    now_s, _ = await seats.client.time()
    await seats.client.hset(seats.shard.key("definition"), field, (now_s + in_s) * 1000)

    assert await lists.enlist(seats.shard, seats.exam, request(seats)) == Enlisted(code)
    assert await texts(seats) == await wanted(seats) == {}


async def test_an_entry_gets_its_number_once_postgres_has_it(seats: SeatsUnderTest) -> None:
    lists = await sold_out(seats)
    await lists.enlist(seats.shard, seats.exam, request(seats))
    before = await wanted(seats)

    assert await lists.relist(seats.shard, [entry(seats)]) == 0
    assert await wanted(seats) == before
    assert [each async for each in lists.listed(seats.shard)] == [Listed(SERIAL, 7)]


async def test_an_entry_that_redis_has_lost_waits_again(seats: SeatsUnderTest) -> None:
    lists = ListStore(seats.runner)
    both = [entry(seats), entry(seats, OTHER, 8)]

    assert await lists.relist(seats.shard, both) == 2
    assert await lists.relist(seats.shard, both) == 0

    assert await wanted(seats) == dict.fromkeys(WANTED, "2")


@pytest.mark.parametrize(
    ("has", "given", "stays"),
    [(None, None, False), (None, 7, False), (7, 7, False), (7, None, True)],
)
async def test_one_that_postgres_has_got_meanwhile_stays(
    seats: SeatsUnderTest, has: int | None, given: int | None, *, stays: bool
) -> None:
    lists = await sold_out(seats)
    await lists.enlist(seats.shard, seats.exam, request(seats))
    if has:
        await lists.relist(seats.shard, [entry(seats)])

    removed = await lists.delist(seats.shard, [(SERIAL, given), (OTHER, None)])

    assert (removed, set(await texts(seats))) == ((0, {SERIAL}) if stays else (1, set()))
    assert bool(await wanted(seats)) == stays


async def test_more_than_a_page_is_listed_and_removed(seats: SeatsUnderTest) -> None:
    lists = ListStore(seats.runner)
    serials = [f"{i:0>24}" for i in range(1200)]
    await lists.relist(
        seats.shard, [entry(seats, serial, n) for n, serial in enumerate(serials, start=1)]
    )

    listed = {each async for each in lists.listed(seats.shard)}

    assert listed == {Listed(serial, n) for n, serial in enumerate(serials, start=1)}
    assert await lists.delist(seats.shard, [(each.serial, each.number) for each in listed]) == 1200
    assert await texts(seats) == await wanted(seats) == {}


async def test_another_definition_than_the_one_in_force_lets_nobody_wait(
    seats: SeatsUnderTest,
) -> None:
    lists = await sold_out(seats)
    older: Exam = dataclasses.replace(seats.exam, revision=99)

    with pytest.raises(Exception, match="another definition"):
        await lists.enlist(seats.shard, older, request(seats))
