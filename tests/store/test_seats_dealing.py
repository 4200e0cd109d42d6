"""The scripts of a dealing: offers of planned seats, what is left over, and who may deal."""

import dataclasses

import pytest

from quota_service.domain.errors import StaleDefinition
from quota_service.domain.exam import Quota
from quota_service.domain.reservation import State
from quota_service.seats.codes import Code
from quota_service.seats.dealing import DealingStore, Leftover, MadeOffer, OvertakenError
from quota_service.seats.lists import ListStore
from quota_service.waiting_list.entry import Entry
from quota_service.waiting_list.plan import PlannedOffer, PlannedSeat
from tests.support.books import read_journal
from tests.support.records import redis_now_ms
from tests.support.seats import SeatsUnderTest
from tests.support.waiting_lists import waiting_entry

GENERAL = "jinan/general"
QMS = "jinan/qms"
EMS = "jinan/ems"
HOUR_MS = 3_600_000


async def return_seats(seats: SeatsUnderTest, quota: str, count: int) -> None:
    """Have seats of a quota wait for a dealing, as if they had come back."""
    await seats.client.hincrby(seats.shard.key("remaining"), quota, -count)
    await seats.client.hincrby(seats.shard.key("returned"), quota, count)


async def ceiling(seats: SeatsUnderTest, place: str, left: int) -> None:
    await seats.client.hset(seats.shard.key("definition"), "ceilings", "1")
    await seats.client.hset(seats.shard.key("ceiling_left"), place, left)


async def hash_of(seats: SeatsUnderTest, name: str) -> dict[str, str]:
    return await seats.client.hgetall(seats.shard.key(name))


async def deal(seats: SeatsUnderTest, *entries: Entry) -> DealingStore:
    """Return the store of a leader whose epoch is 1, with entries on the list."""
    await ListStore(seats.runner).relist(seats.shard, entries)
    dealing = DealingStore(seats.runner)
    await dealing.begin(seats.shard, 1)
    return dealing


async def made(
    seats: SeatsUnderTest,
    entry: Entry,
    *planned: PlannedSeat,
    deadline_ms: int | None = None,
) -> MadeOffer:
    """Return an offer of the seats to an entry, in their order, for an hour unless told."""
    if deadline_ms is None:
        deadline_ms = await redis_now_ms(seats.client) + HOUR_MS
    offer = PlannedOffer(entry, planned[0].quota.partition("/")[0], planned)
    return MadeOffer(f"hold-{entry.number}", offer, deadline_ms, deadline_ms + 1000)


RETURNED = PlannedSeat(GENERAL, is_returned=True)


async def test_an_offer_is_a_hold_of_the_seats_that_were_planned(seats: SeatsUnderTest) -> None:
    entry = waiting_entry(1, ("general", "qms"), ("day1-am", "day1-pm"))
    dealing = await deal(seats, entry, waiting_entry(2))
    await return_seats(seats, GENERAL, 2)
    offer = await made(seats, entry, RETURNED, PlannedSeat(QMS, is_returned=False))

    (reply,) = await dealing.offer(seats.shard, seats.exam, 1, [offer])

    held = await seats.record("hold-1")
    assert (reply.code, reply.reservation) == (Code.DONE, held)
    assert (held.state, held.candidate, held.venue) == (State.HELD, "candidate-1", "jinan")
    assert (held.subjects, held.sessions) == (entry.subjects, entry.sessions)
    assert (held.amount, held.key_id, held.request_hash) == (16000, "", "entry-1")
    assert (held.deadline_ms, held.due_ms) == (offer.deadline_ms, offer.due_ms)
    assert await hash_of(seats, "returned") == {GENERAL: "1"}
    assert (await seats.snapshot()).remaining[Quota("jinan", "qms")] == 1
    assert await hash_of(seats, "wanted") == {GENERAL: "1", "jinan//day1-am": "1"}
    assert list(await hash_of(seats, "list")) == ["entry-2"]
    assert await hash_of(seats, "offers") == {"leader": "1", "hold-1": "entry-1"}
    _, told = (await read_journal(seats.client, seats.shard))[-1]
    assert (told["verb"], told["subject"], told["returned"]) == ("offer", "hold-1", f"{GENERAL}=1")


async def test_the_last_returned_seat_leaves_nothing_to_deal(seats: SeatsUnderTest) -> None:
    entry = waiting_entry(1)
    dealing = await deal(seats, entry)
    await return_seats(seats, GENERAL, 1)

    before = await dealing.look(seats.shard)
    await dealing.offer(seats.shard, seats.exam, 1, [await made(seats, entry, RETURNED)])
    after = await dealing.look(seats.shard)

    assert (before.returned, before.entries, before.offers) == (1, 1, 0)
    assert (after.returned, after.entries, after.offers) == (0, 0, 1)


async def test_an_offer_that_is_made_again_has_one_effect(seats: SeatsUnderTest) -> None:
    entry = waiting_entry(1)
    dealing = await deal(seats, entry)
    await return_seats(seats, GENERAL, 2)
    offer = await made(seats, entry, RETURNED)

    first = await dealing.offer(seats.shard, seats.exam, 1, [offer])
    again = await dealing.offer(seats.shard, seats.exam, 1, [offer])
    await seats.store.release(seats.shard, "hold-1")
    await seats.client.delete(seats.shard.record_key("hold-1"))
    later = await dealing.offer(seats.shard, seats.exam, 1, [offer])

    assert [reply.code for reply in (*first, *again, *later)] == [
        Code.DONE,
        Code.DONE_BEFORE,
        Code.ENDED,
    ]
    assert again[0].reservation == first[0].reservation
    assert (await seats.verbs()).count("offer") == 1


async def test_a_batch_ends_with_the_first_offer_that_is_refused(seats: SeatsUnderTest) -> None:
    entries = [waiting_entry(n) for n in (1, 2, 3)]
    dealing = await deal(seats, *entries)
    await return_seats(seats, GENERAL, 1)
    offers = [await made(seats, entry, RETURNED) for entry in entries]

    replies = await dealing.offer(seats.shard, seats.exam, 1, offers)

    assert [reply.code for reply in replies] == [Code.DONE, Code.SOLD_OUT]
    assert sorted(await hash_of(seats, "list")) == ["entry-2", "entry-3"]


async def test_a_seat_that_was_sold_since_the_plan_is_not_offered(seats: SeatsUnderTest) -> None:
    entry = waiting_entry(1, ("general", "service"), ("day1-am", "day2-am"))
    dealing = await deal(seats, entry)
    await return_seats(seats, GENERAL, 1)
    await seats.hold("candidate-9", ("service",))
    offer = await made(seats, entry, RETURNED, PlannedSeat("jinan/service", is_returned=False))

    (reply,) = await dealing.offer(seats.shard, seats.exam, 1, [offer])

    assert reply.code is Code.SOLD_OUT
    assert await hash_of(seats, "returned") == {GENERAL: "1"}


async def test_a_candidate_who_has_the_session_is_not_offered_it(seats: SeatsUnderTest) -> None:
    entry = waiting_entry(1)
    dealing = await deal(seats, entry)
    await return_seats(seats, GENERAL, 1)
    await seats.hold("candidate-1")

    replies = await dealing.offer(seats.shard, seats.exam, 1, [await made(seats, entry, RETURNED)])

    assert [reply.code for reply in replies] == [Code.SESSION_CONFLICT]


async def test_an_entry_that_has_left_is_offered_nothing(seats: SeatsUnderTest) -> None:
    dealing = await deal(seats)
    await return_seats(seats, GENERAL, 1)
    offer = await made(seats, waiting_entry(1), RETURNED)

    replies = await dealing.offer(seats.shard, seats.exam, 1, [offer])

    assert [reply.code for reply in replies] == [Code.UNKNOWN]


async def test_an_offer_that_would_be_over_is_not_made(seats: SeatsUnderTest) -> None:
    entry = waiting_entry(1)
    dealing = await deal(seats, entry)
    await return_seats(seats, GENERAL, 1)
    now_ms = await redis_now_ms(seats.client)
    offer = await made(seats, entry, RETURNED, deadline_ms=now_ms - 1)

    replies = await dealing.offer(seats.shard, seats.exam, 1, [offer])
    await seats.client.hset(seats.shard.key("definition"), "closes_at_ms", now_ms - 1)
    closed = await dealing.offer(seats.shard, seats.exam, 1, [await made(seats, entry, RETURNED)])

    assert [reply.code for reply in (*replies, *closed)] == [Code.SESSION_STARTED, Code.CLOSED]


async def test_a_seat_on_open_sale_needs_a_place_under_the_ceiling(seats: SeatsUnderTest) -> None:
    entry = waiting_entry(1, ("qms",), ("day1-pm",))
    dealing = await deal(seats, entry)
    await ceiling(seats, "jinan/day1-pm", 0)
    offer = await made(seats, entry, PlannedSeat(QMS, is_returned=False))

    refused = await dealing.offer(seats.shard, seats.exam, 1, [offer])
    await ceiling(seats, "jinan/day1-pm", 1)
    taken = await dealing.offer(seats.shard, seats.exam, 1, [offer])

    assert [reply.code for reply in (*refused, *taken)] == [Code.SOLD_OUT, Code.DONE]
    assert await hash_of(seats, "ceiling_left") == {"jinan/day1-pm": "0"}


async def test_the_place_of_a_returned_seat_is_taken_where_that_is_what_lacks(
    seats: SeatsUnderTest,
) -> None:
    entry = waiting_entry(1, ("qms",), ("day1-pm",))
    dealing = await deal(seats, entry)
    await ceiling(seats, "jinan/day1-pm", 0)
    await return_seats(seats, EMS, 1)
    offer = await made(seats, entry, PlannedSeat(QMS, is_returned=False, opened=EMS))

    (reply,) = await dealing.offer(seats.shard, seats.exam, 1, [offer])

    snapshot = await seats.snapshot()
    assert reply.code is Code.DONE
    assert await hash_of(seats, "returned") == {}
    assert await hash_of(seats, "ceiling_left") == {"jinan/day1-pm": "0"}
    assert snapshot.remaining[Quota("jinan", "ems")] == 2
    assert snapshot.remaining[Quota("jinan", "qms")] == 1


async def test_what_is_left_over_goes_on_open_sale_as_far_as_it_is_there(
    seats: SeatsUnderTest,
) -> None:
    dealing = await deal(seats)
    await return_seats(seats, GENERAL, 2)
    await return_seats(seats, QMS, 2)
    await ceiling(seats, "jinan/day1-pm", 3)
    left = [Leftover(GENERAL, 9, 0), Leftover(QMS, 1, 0, "jinan/day1-pm")]

    opened = await dealing.open(seats.shard, seats.exam, 1, left)

    told = [fields for _, fields in await read_journal(seats.client, seats.shard)][-2:]
    assert opened == (3, [])
    assert await hash_of(seats, "returned") == {QMS: "1"}
    assert await hash_of(seats, "ceiling_left") == {"jinan/day1-pm": "4"}
    assert [(t["verb"], t["subject"], t["body"], t["returned"]) for t in told] == [
        ("open", GENERAL, "2", f"{GENERAL}=0"),
        ("open", QMS, "1", f"{QMS}=1"),
    ]


async def test_seats_stay_for_an_entry_that_came_after_the_plan(seats: SeatsUnderTest) -> None:
    dealing = await deal(seats, waiting_entry(1, ("qms",), ("day1-pm",)))
    await return_seats(seats, QMS, 1)
    await return_seats(seats, EMS, 1)
    await ceiling(seats, "jinan/day1-pm", 0)
    await seats.client.hset(seats.shard.key("wanted"), "jinan//day1-pm", 1)
    unseen = [Leftover(QMS, 1, 0), Leftover(EMS, 1, 0, "jinan/day1-pm", 0)]
    seen = [Leftover(QMS, 1, 1), Leftover(EMS, 1, 0, "jinan/day1-pm", 1)]

    stay = await dealing.open(seats.shard, seats.exam, 1, unseen)
    opened = await dealing.open(seats.shard, seats.exam, 1, seen)

    assert stay == (0, [QMS, EMS])
    assert opened == (2, [])


async def test_a_leader_that_was_overtaken_deals_nothing_any_more(seats: SeatsUnderTest) -> None:
    entry = waiting_entry(1)
    dealing = await deal(seats, entry)
    await return_seats(seats, GENERAL, 1)
    await dealing.begin(seats.shard, 2)

    with pytest.raises(OvertakenError):
        await dealing.begin(seats.shard, 1)
    with pytest.raises(OvertakenError):
        await dealing.offer(seats.shard, seats.exam, 1, [await made(seats, entry, RETURNED)])
    with pytest.raises(OvertakenError):
        await dealing.open(seats.shard, seats.exam, 1, [Leftover(GENERAL, 1, 1)])

    assert await hash_of(seats, "returned") == {GENERAL: "1"}


async def test_nothing_is_dealt_by_a_definition_that_is_not_in_force(
    seats: SeatsUnderTest,
) -> None:
    entry = waiting_entry(1)
    dealing = await deal(seats, entry)
    await return_seats(seats, GENERAL, 1)
    exam = dataclasses.replace(seats.exam, revision=seats.exam.revision + 1)

    with pytest.raises(StaleDefinition):
        await dealing.offer(seats.shard, exam, 1, [await made(seats, entry, RETURNED)])
    with pytest.raises(StaleDefinition):
        await dealing.open(seats.shard, exam, 1, [Leftover(GENERAL, 1, 1)])


async def test_the_next_leader_finds_the_offers_that_are_not_finished(
    seats: SeatsUnderTest,
) -> None:
    entries = [waiting_entry(1), waiting_entry(2)]
    dealing = await deal(seats, *entries)
    await return_seats(seats, GENERAL, 2)
    offers = [await made(seats, entry, RETURNED) for entry in entries]
    await dealing.offer(seats.shard, seats.exam, 1, offers)

    await dealing.finish(seats.shard, ["hold-1"])
    clock_ms, unfinished = await dealing.begin(seats.shard, 2)

    assert unfinished == {"hold-2": "entry-2"}
    assert clock_ms <= await redis_now_ms(seats.client)


async def test_a_plan_reads_what_there_is(seats: SeatsUnderTest) -> None:
    dealing = await deal(seats)
    await return_seats(seats, GENERAL, 1)
    serial = await seats.hold("candidate-1", ("qms",))

    assert await dealing.counts(seats.shard, "remaining", [GENERAL, "jinan/none"]) == {GENERAL: 2}
    assert await dealing.counts(seats.shard, "remaining", []) == {}
    held = await dealing.holders(seats.shard, ["candidate-1/day1-pm", "candidate-1/day1-am"])
    assert held == {"candidate-1/day1-pm": serial}
