"""Dealing over both stores: to whom returned seats go, what becomes of offers, and when.

Over 400 lines because both rules and both orders share one exam.
"""

import hashlib
import hmac
from dataclasses import replace
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.domain.exam import Pause, QuietHours, Window
from quota_service.domain.reservation import State
from quota_service.registration.audit import audit
from quota_service.registration.confirm import confirm
from quota_service.registration.join_list import Wish, join_list
from quota_service.registration.release import release
from quota_service.workers.dealing import DealingWorker
from tests.support.dealings import ListUnderTest, in_hours, open_list
from tests.support.lost_shards import drain
from tests.support.records import redis_now_ms
from tests.support.redis_clients import redis_of
from tests.support.use_cases import hold, payment

GENERAL = "jinan/general"
HOUR_MS = 3_600_000


@pytest.fixture
async def waiting(service: Service) -> ListUnderTest:
    """A list whose returned seats are dealt as they come."""
    return await open_list(service)


async def test_the_first_who_can_be_served_in_full_is_offered_the_seats(
    waiting: ListUnderTest,
) -> None:
    await waiting.join("wants-two", ("general", "qms"))
    await waiting.join("first")
    await waiting.join("second")
    await waiting.return_seats(GENERAL)

    dealt = await waiting.visit()

    offered = (await waiting.holds())["first"]
    entry = (await waiting.entries())["first"]
    assert (dealt.offers, dealt.opened) == (1, 0)
    assert await waiting.states() == {
        "wants-two": "waiting",
        "first": "offered",
        "second": "waiting",
    }
    assert (offered.state, offered.subjects, offered.venue) == (State.HELD, ("general",), "jinan")
    assert -60_000 < offered.deadline_ms - offered.created_ms - HOUR_MS <= 0
    assert round(entry["offer_deadline"].timestamp() * 1000) == offered.deadline_ms
    assert await waiting.hash_of("offers") == {}
    assert waiting.sample("waiting_list_offers_total", outcome="made") == 1


async def test_seats_that_nobody_can_use_are_on_open_sale_at_once(waiting: ListUnderTest) -> None:
    await waiting.join("wants-two", ("general", "qms"))
    await waiting.return_seats(GENERAL, 2)

    dealt = await waiting.visit()

    assert (dealt.offers, dealt.opened) == (0, 2)
    assert await waiting.on_sale() == {GENERAL: 2}
    assert waiting.sample("waiting_list_seats_opened_total") == 2


async def test_an_entry_is_served_out_of_both_what_came_back_and_what_is_on_sale(
    waiting: ListUnderTest,
) -> None:
    await waiting.join("wants-two", ("general", "qms"), ("tianjin", "jinan"))
    await waiting.put_on_sale("jinan/qms")
    await waiting.return_seats(GENERAL)

    await waiting.visit()

    assert (await waiting.holds())["wants-two"].venue == "jinan"
    assert await waiting.on_sale() == {}


async def test_an_offer_that_runs_out_goes_to_the_next_and_its_candidate_joins_at_the_back(
    waiting: ListUnderTest,
) -> None:
    await waiting.join("first")
    await waiting.join("second")
    await waiting.return_seats(GENERAL)
    await waiting.visit()

    await waiting.expire("first")
    await waiting.join("third")
    before = await waiting.states()
    await waiting.visit()
    await waiting.join("first")
    await waiting.visit()

    assert before["first"] == "offered"
    assert await waiting.states() == {"first": "waiting", "second": "offered", "third": "waiting"}
    assert waiting.sample("waiting_list_offers_total", outcome="missed") == 1


async def test_an_entry_ends_as_its_offer_does(waiting: ListUnderTest) -> None:
    for candidate in ("payer", "decliner"):
        await waiting.join(candidate)
    await waiting.return_seats(GENERAL, 2)
    await waiting.visit()
    holds = await waiting.holds()

    await confirm(waiting.service.stores.payments, payment(holds["payer"]))
    await release(waiting.service.stores, holds["decliner"].id)
    await drain(waiting.service)
    dealt = await waiting.visit()

    assert dealt.ended == 2
    assert await waiting.states() == {"payer": "served", "decliner": "declined"}
    assert all(entry["ended_at"] for entry in (await waiting.entries()).values())


async def test_entries_whose_time_is_over_are_off_the_list(waiting: ListUnderTest) -> None:
    now_ms = await redis_now_ms(redis_of(waiting.service))
    await waiting.join("patient", until_ms=now_ms + HOUR_MS)
    await waiting.join("hasty", until_ms=now_ms - 1)
    await waiting.return_seats(GENERAL, 2)

    await waiting.visit()

    assert await waiting.states() == {"patient": "offered", "hasty": "over"}
    assert await waiting.hash_of("list") == {}
    assert await waiting.on_sale() == {GENERAL: 1}


async def test_when_registration_is_over_the_list_is(waiting: ListUnderTest) -> None:
    await waiting.join("first")
    await waiting.return_seats(GENERAL)
    closed = (await redis_now_ms(redis_of(waiting.service))) - 1
    waiting.exam = replace(waiting.exam, registration=Window(0, closed))

    await waiting.visit()

    assert await waiting.states() == {"first": "over"}
    assert await waiting.hash_of("wanted") == {}
    assert await waiting.on_sale() == {GENERAL: 1}


async def test_who_has_the_session_by_now_is_passed_over_for_good(waiting: ListUnderTest) -> None:
    await waiting.join("booked-elsewhere")
    await waiting.join("second")
    await waiting.put_on_sale("tianjin/general")
    await hold(waiting.service, "booked-elsewhere", "tianjin")
    await waiting.return_seats(GENERAL)

    await waiting.visit()

    assert await waiting.states() == {"booked-elsewhere": "conflict", "second": "offered"}
    assert await waiting.hash_of("list") == {}


async def test_an_entry_that_left_while_it_was_offered_seats_gives_them_back(
    waiting: ListUnderTest,
) -> None:
    entry = await waiting.join("leaver")
    await waiting.join("second")
    leave = "UPDATE waiting_list_entries SET state = 'left', ended_at = now() WHERE exam = $1"
    await waiting.return_seats(GENERAL)
    leader = waiting.another_leader()

    async def read(*_: Any, **__: Any) -> list[Any]:
        await waiting.rows(leave + " AND serial = $2", entry.serial)
        return [entry]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(waiting.service.stores.dealing.deals), "waiting", read)
        await waiting.visit(leader)

    held = await redis_of(waiting.service).hgetall(waiting.shard.key("claims"))
    assert held == {}
    assert await waiting.states() == {"leaver": "left", "second": "waiting"}
    assert waiting.sample("waiting_list_offers_total", outcome="gone") == 1


async def test_an_offer_does_not_run_out_in_quiet_hours(service: Service) -> None:
    """Of ten hours six are before those of the exam, two before those of the candidate."""
    quiet = {"from": in_hours(6), "to": in_hours(12)}
    waiting = await open_list(service, offer_ttl_s=10 * 3600, quiet_hours=quiet)
    await waiting.join("sleeper", quiet_hours=QuietHours(in_hours(14), in_hours(16)))
    await waiting.return_seats(GENERAL)

    await waiting.visit()

    offered = (await waiting.holds())["sleeper"]
    assert abs(offered.deadline_ms - offered.created_ms - 18 * HOUR_MS) < 120_000


async def test_seats_of_an_exam_without_a_fee_are_booked_with_the_offer(service: Service) -> None:
    waiting = await open_list(service, fee=0)
    await waiting.join("first")
    await waiting.return_seats(GENERAL)

    await waiting.visit()
    await drain(service)
    await waiting.visit()

    assert (await waiting.holds())["first"].state is State.CONFIRMED
    assert await waiting.states() == {"first": "served"}


@pytest.mark.parametrize("paused", ["list", "exam", "subject", "venue closed"])
async def test_nothing_is_dealt_while_it_is_paused(waiting: ListUnderTest, paused: str) -> None:
    pause = {"exam": ("", ""), "subject": ("", "general")}
    await waiting.join("first")
    await waiting.return_seats(GENERAL)
    if paused == "list":
        await waiting.rows(
            "INSERT INTO waiting_lists (exam, is_paused) VALUES ($1, true)"
            " ON CONFLICT (exam) DO UPDATE SET is_paused = true"
        )
    elif paused == "venue closed":
        waiting.exam = replace(waiting.exam, closed=frozenset({"jinan"}))
    else:
        stop = Pause(*pause[paused], False, "a fault", 60, 0)
        waiting.exam = replace(waiting.exam, pauses=(stop,))

    dealt = await waiting.visit()

    assert (dealt.offers, dealt.opened) == (0, 0)
    assert await waiting.hash_of("returned") == {GENERAL: "1"}


async def test_seats_that_come_back_wait_for_their_time(service: Service) -> None:
    waiting = await open_list(service, "at-times")
    await waiting.join("first")
    await waiting.return_seats(GENERAL, 2)

    before = await waiting.visit()
    await waiting.rows(
        "UPDATE waiting_lists SET dealt_through = now() - interval '1 day' WHERE exam = $1"
    )
    at_time = await waiting.visit()
    await waiting.join("second")
    await waiting.return_seats("tianjin/general")
    after = await waiting.visit()

    assert (before.offers, before.opened) == (0, 0)
    assert (at_time.offers, at_time.opened) == (1, 1)
    assert (after.offers, after.opened) == (0, 0)
    assert await waiting.hash_of("returned") == {"tianjin/general": "1"}


async def test_a_seat_release_is_a_time_too(service: Service) -> None:
    waiting = await open_list(service, "at-times")
    await waiting.join("first")
    await waiting.visit()
    await waiting.return_seats(GENERAL)
    await waiting.rows("UPDATE waiting_lists SET is_due = true WHERE exam = $1")

    dealt = await waiting.visit()

    assert dealt.offers == 1
    assert await waiting.rows("SELECT is_due, is_dealing FROM waiting_lists WHERE exam = $1") == [
        (False, False)
    ]


async def test_at_its_time_what_is_left_is_on_sale_whoever_joins_meanwhile(
    service: Service,
) -> None:
    waiting = await open_list(service, "at-times")
    await waiting.visit()
    await waiting.return_seats(GENERAL, 2)
    await redis_of(service).hset(waiting.shard.key("wanted"), GENERAL, 1)
    await waiting.rows("UPDATE waiting_lists SET is_due = true WHERE exam = $1")

    dealt = await waiting.visit()

    assert dealt.opened == 2


async def test_seats_stay_for_who_joined_after_the_plan(waiting: ListUnderTest) -> None:
    await waiting.visit()
    await waiting.return_seats(GENERAL)
    await redis_of(waiting.service).hset(waiting.shard.key("wanted"), GENERAL, 1)

    early = await waiting.visit()
    await redis_of(waiting.service).delete(waiting.shard.key("wanted"))
    await waiting.join("late")
    late = await waiting.visit()

    assert (early.opened, late.offers) == (0, 1)


async def test_entries_of_a_window_are_served_as_they_are_drawn(service: Service) -> None:
    waiting = await open_list(service, order="draw")
    ledger = service.stores.dealing.deals
    names = [f"candidate-{n}" for n in range(8)]
    for name in names:
        await waiting.join(name)
    await waiting.return_seats(GENERAL, 2)
    await waiting.visit()
    await waiting.join("later")
    await waiting.return_seats(GENERAL, 2)
    await waiting.visit()

    first, second, third = [await ledger.window(waiting.exam.id, n) for n in (1, 2, 3)]
    assert first is not None
    assert second is not None
    assert third is not None
    drawn = sorted(names, key=lambda name: independent_rank(first.seed, "exam-1" + name))
    states = await waiting.states()
    assert [name for name in drawn if states[name] == "offered"] == drawn[:4]
    assert states["later"] == "waiting"
    assert (first.is_drawn, second.is_drawn, third.is_drawn) == (True, True, False)
    assert len({first.seed, second.seed, third.seed}) == 3
    assert await ledger.window(waiting.exam.id, 4) is None


def independent_rank(seed: bytes, text: str) -> str:
    return hmac.new(seed, text.encode(), hashlib.sha256).hexdigest()


async def test_a_list_that_differs_in_redis_is_levelled(waiting: ListUnderTest) -> None:
    client, key = redis_of(waiting.service), waiting.shard.key("list")
    lost, gone = await waiting.join("lost"), await waiting.join("gone")
    await waiting.service.stores.dealing.lists.delist(waiting.shard, [(lost.serial, lost.number)])
    await waiting.rows(
        "UPDATE waiting_list_entries SET state = 'left', ended_at = now()"
        " WHERE exam = $1 AND serial = $2",
        gone.serial,
    )
    await client.hset(key, "joining", "|candidate-9|general|day1-am|jinan")

    await waiting.visit()

    assert sorted(await waiting.hash_of("list")) == sorted([lost.serial, "joining"])


async def test_what_no_store_has_of_an_offer_waits_again_at_its_place(
    waiting: ListUnderTest,
) -> None:
    await waiting.join("first")
    await waiting.join("second")
    await waiting.return_seats(GENERAL)
    await waiting.visit()
    serial = (await waiting.holds())["first"].id.rpartition(".")[2]
    client = redis_of(waiting.service)
    await client.delete(waiting.shard.record_key(serial), waiting.shard.key("claims"))
    await client.zrem(waiting.shard.key("due"), serial)
    await waiting.rows(
        "UPDATE waiting_list_entries SET offered_at = now() - interval '1 minute'"
        " WHERE exam = $1 AND state = 'offered'"
    )
    await waiting.return_seats(GENERAL)

    await waiting.end_lease()
    await waiting.visit(waiting.another_leader())

    assert await waiting.states() == {"first": "offered", "second": "waiting"}
    assert (await waiting.entries())["first"]["offers"] == 2
    assert (await waiting.holds())["first"].state is State.HELD


async def test_of_many_who_wait_those_behind_are_looked_at_when_the_first_cannot_be_served(
    waiting: ListUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quota_service.registration.deal_round._FIRST", 1)
    await waiting.visit()
    await waiting.join("wants-two", ("general", "qms"))
    await waiting.join("second")
    await waiting.join("third")
    await waiting.return_seats(GENERAL)

    await waiting.visit()

    assert await waiting.states() == {
        "wants-two": "waiting",
        "second": "offered",
        "third": "waiting",
    }


async def test_an_offer_is_for_the_sessions_that_its_subjects_are_in_now(
    waiting: ListUnderTest,
) -> None:
    await waiting.join("first", sessions=("day2-am",))
    await waiting.return_seats(GENERAL)

    await waiting.visit()

    assert (await waiting.holds())["first"].sessions == ("day1-am",)


async def test_a_seat_that_is_given_back_goes_to_the_list_and_both_stores_agree(
    service: Service,
) -> None:
    waiting = await open_list(service, seats={"jinan": {"general": 1, "qms": 1}})
    stores, worker = service.stores, DealingWorker(service.stores.dealing, service.settings)
    held = await hold(service)
    entries = []
    for candidate in ("first", "second"):
        wish = Wish(candidate, ("general",), ("jinan",))
        entries.append((await join_list(stores.waiting_list, "exam-1", wish, "key-1")).entry)
    await worker.run_once()

    await release(stores, held.id)
    counts = await worker.run_once()
    await drain(service)

    audited = await audit(stores.maintenance, "exam-1")
    assert counts["offers"] == 1
    assert await waiting.states() == {"first": "offered", "second": "waiting"}
    assert (await waiting.holds())["first"].request_hash == entries[0].serial
    assert audited.differences == ()
    await waiting.check_books()


async def test_under_a_ceiling_a_seat_that_comes_back_makes_place_for_another_subject(
    service: Service,
) -> None:
    """Two of qms fill the room of the session; who waits for ems gets the place of the first."""
    seats = {"jinan": {"general": 9, "qms": 2, "ems": 2}}
    waiting = await open_list(service, seats=seats, rooms={"jinan": {"day1-pm": 2}})
    stores, worker = service.stores, DealingWorker(service.stores.dealing, service.settings)
    held = [await hold(service, f"holder-{n}", subjects=("qms",)) for n in range(2)]
    wish = Wish("first", ("ems",), ("jinan",))
    await join_list(stores.waiting_list, "exam-1", wish, "key-1")

    await release(stores, held[0].id)
    kept = await waiting.hash_of("returned")
    await worker.run_once()
    await drain(service)

    assert kept == {"jinan/qms": "1"}
    assert (await waiting.holds())["first"].subjects == ("ems",)
    assert await waiting.hash_of("ceiling_left") == {"jinan/day1-pm": "0"}
    assert await waiting.on_sale() == {"jinan/general": 9, "jinan/qms": 1, "jinan/ems": 1}
    assert (await audit(stores.maintenance, "exam-1")).differences == ()


async def test_only_exams_with_a_rule_for_returned_seats_are_looked_at(service: Service) -> None:
    worker = DealingWorker(service.stores.dealing, service.settings)
    leaders = "SELECT exam FROM waiting_lists WHERE leader IS NOT NULL"

    await worker.run_once()
    async with service.stores.ledger.connection() as connection:
        before = await connection.fetch(leaders)
        await open_list(service, "at-times")
        await worker.run_once()
        after = await connection.fetch(leaders)

    assert (before, after) == ([], [("exam-1",)])


async def test_who_knows_an_older_definition_leads_no_dealing(waiting: ListUnderTest) -> None:
    await waiting.join("first")
    await waiting.return_seats(GENERAL)
    waiting.exam = replace(waiting.exam, revision=waiting.exam.revision - 1)

    dealt = await waiting.visit()

    leaders = await waiting.rows("SELECT leader FROM waiting_lists WHERE exam = $1")
    assert (dealt.offers, leaders) == (0, [(None,)])
