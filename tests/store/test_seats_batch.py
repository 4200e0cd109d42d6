"""Calls of one event-loop turn leave together, and none of them harms another."""

import asyncio
import dataclasses

import pytest

from quota_service.domain.errors import NotReady, Overloaded, SeatsUnavailable
from quota_service.domain.exam import Quota
from quota_service.seats.codes import Code
from quota_service.seats.connection import BatchLimits, ScriptCall, ScriptRunner
from quota_service.seats.keys import Shard
from quota_service.seats.servers import redis_pool
from quota_service.seats.store import SeatStore
from quota_service.settings import Settings
from quota_service.waiting_room.passes import Pass
from tests.support.books import check_books
from tests.support.records import HOUR_MS, redis_now_ms
from tests.support.rooms import room_exam
from tests.support.seats import EPOCH, SeatsUnderTest

MANY = {Quota("jinan", "general"): 1000}


async def test_reserves_of_one_turn_are_one_script_call(seats: SeatsUnderTest) -> None:
    await seats.store.set_capacity(seats.shard, MANY)
    calls_before = await seats.calls()

    answers = await asyncio.gather(*(seats.reserve(f"candidate-{i}") for i in range(64)))

    assert {answer.code for answer in answers} == {Code.DONE}
    assert [answer.reservation.candidate for answer in answers if answer.reservation] == [
        f"candidate-{i}" for i in range(64)
    ]
    assert await seats.calls() - calls_before == 1


async def test_a_rush_leaves_in_batches_of_the_size_that_is_set(seats: SeatsUnderTest) -> None:
    await seats.store.set_capacity(seats.shard, MANY)
    calls_before = await seats.calls()

    answers = await asyncio.gather(*(seats.reserve(f"candidate-{i}") for i in range(300)))

    assert {answer.code for answer in answers} == {Code.DONE}
    assert await seats.calls() - calls_before == 5
    assert await seats.remaining("jinan", "general") == 700


async def test_each_request_of_a_batch_gets_the_answer_it_earned(seats: SeatsUnderTest) -> None:
    standing = await seats.hold("candidate-1", ("qms",))
    await seats.hold("candidate-2", key="key-a", request_hash="one")
    calls_before = await seats.calls()

    answers = await asyncio.gather(
        seats.reserve("candidate-3"),
        seats.reserve("candidate-1", ("ems",)),
        seats.reserve("candidate-2", key="key-a", request_hash="one"),
        seats.reserve("candidate-2", key="key-a", request_hash="two"),
        seats.reserve("candidate-4", ("ems",), ("tianjin",)),
        seats.reserve("candidate-5", ("general", "service", "ems"), ("beijing", "jinan")),
        seats.reserve("candidate-6"),
    )

    assert [answer.code for answer in answers] == [
        Code.DONE,
        Code.SESSION_CONFLICT,
        Code.DONE_BEFORE,
        Code.KEY_REUSED,
        Code.SOLD_OUT,
        Code.DONE,
        Code.SOLD_OUT,
    ]
    assert answers[1].detail == ("day1-pm", standing)
    assert answers[4].detail == (0,)
    assert answers[5].reservation is not None
    assert answers[5].reservation.venue == "jinan"
    assert await seats.calls() - calls_before == 1


async def test_the_same_request_twice_in_one_batch_has_one_effect(seats: SeatsUnderTest) -> None:
    request = seats.request()

    first, second = await asyncio.gather(
        *(seats.store.reserve(seats.shard, seats.exam, request) for _ in range(2))
    )

    assert (first.code, second.code) == (Code.DONE, Code.DONE_BEFORE)
    assert first.reservation == second.reservation
    assert await seats.remaining("jinan", "general") == 2


async def test_passes_of_one_candidate_in_one_batch_are_judged_one_after_the_other(
    seats: SeatsUnderTest,
) -> None:
    """Redis has forgotten both, so the first that is used decides which of them is good."""
    exam = dataclasses.replace(seats.exam, waiting_room=room_exam().waiting_room)
    expires_ms = await redis_now_ms(seats.client) + HOUR_MS
    earlier, later = (
        Pass(exam.id, "candidate-1", place, expires_ms, EPOCH - 1) for place in (1, 2)
    )
    asked = [
        dataclasses.replace(seats.request("candidate-1", (subject,)), granted=granted)
        for subject, granted in (("general", later), ("qms", earlier), ("qms", later))
    ]
    calls_before = await seats.calls()

    answers = await asyncio.gather(
        *(seats.store.reserve(seats.shard, exam, request) for request in asked)
    )

    assert [answer.code for answer in answers] == [Code.DONE, Code.PASS_ENDED, Code.DONE]
    assert await seats.calls() - calls_before == 1
    assert str(await seats.client.hget(seats.shard.key("passes"), "candidate-1")).startswith("2|")


async def test_requests_under_other_terms_do_not_share_a_call(seats: SeatsUnderTest) -> None:
    now_ms = await redis_now_ms(seats.client)
    later = dataclasses.replace(
        seats.exam,
        registration=dataclasses.replace(seats.exam.registration, opens_at_ms=now_ms + HOUR_MS),
    )
    longer = dataclasses.replace(seats.exam, hold=dataclasses.replace(seats.exam.hold, ttl_s=5))
    calls_before = await seats.calls()

    usual, early, short = await asyncio.gather(
        seats.reserve("candidate-1"),
        seats.reserve("candidate-2", exam=later),
        seats.reserve("candidate-3", exam=longer),
    )

    assert (usual.code, early.code, short.code) == (Code.DONE, Code.NOT_OPEN, Code.DONE)
    assert usual.reservation is not None
    assert short.reservation is not None
    lived_ms = [r.deadline_ms - r.created_ms for r in (usual.reservation, short.reservation)]
    assert lived_ms == [900_000, 5_000]
    assert await seats.calls() - calls_before == 3


async def test_two_exams_in_one_turn_are_two_calls_and_two_books(seats: SeatsUnderTest) -> None:
    other = Shard("exam-2", 7)
    await seats.store.open(other)
    await seats.store.define(other, seats.exam, before="")
    await seats.store.set_capacity(other, {Quota("jinan", "general"): 1})
    request = seats.request("candidate-1")

    answers = await asyncio.gather(
        seats.store.reserve(seats.shard, seats.exam, request),
        seats.store.reserve(other, seats.exam, request),
    )

    assert [answer.code for answer in answers] == [Code.DONE, Code.DONE]
    assert [a.reservation.exam for a in answers if a.reservation] == [seats.exam.id, "exam-2"]
    assert (await seats.store.snapshot(other)).remaining == {Quota("jinan", "general"): 0}
    await check_books(seats.client, other)


async def test_a_shard_that_is_not_open_refuses_its_own_and_not_its_neighbours(
    seats: SeatsUnderTest,
) -> None:
    lost = dataclasses.replace(seats.shard, epoch=2)

    results = await asyncio.gather(
        seats.reserve("candidate-1"),
        seats.store.reserve(lost, seats.exam, seats.request("candidate-2")),
        seats.store.reserve(lost, seats.exam, seats.request("candidate-3")),
        return_exceptions=True,
    )

    assert not isinstance(results[0], BaseException)
    assert results[0].code is Code.DONE
    assert [type(result) for result in results[1:]] == [NotReady, NotReady]


async def test_a_script_that_breaks_fails_its_own_caller_and_not_its_neighbours(
    seats: SeatsUnderTest,
) -> None:
    broken, whole = await asyncio.gather(
        seats.store.checkout(seats.shard, await breaking_record(seats), 1000),
        seats.reserve("candidate-1"),
        return_exceptions=True,
    )

    assert isinstance(broken, Exception)
    assert not isinstance(broken, SeatsUnavailable)
    assert not isinstance(whole, BaseException)
    assert whole.code is Code.DONE
    await seats.client.delete(seats.shard.record_key("broken"))


async def breaking_record(seats: SeatsUnderTest) -> str:
    await seats.client.hset(seats.shard.record_key("broken"), "not", "a string")
    return "broken"


async def test_steps_of_one_turn_share_one_round_trip_and_keep_their_order(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold()

    out, released, again, ended = await asyncio.gather(
        seats.store.checkout(seats.shard, serial, 1000),
        seats.store.release(seats.shard, serial),
        seats.store.release(seats.shard, serial),
        seats.store.checkout(seats.shard, serial, 1000),
    )

    assert [answer.code for answer in (out, released, again, ended)] == [
        Code.DONE,
        Code.DONE,
        Code.DONE_BEFORE,
        Code.ENDED,
    ]


async def test_a_server_that_forgot_its_scripts_is_given_them_again(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold("candidate-1")
    await seats.client.script_flush()

    held, released, *others = await asyncio.gather(
        seats.reserve("candidate-2"),
        seats.store.release(seats.shard, serial),
        *(seats.store.read(seats.shard, serial) for _ in range(20)),
    )

    assert (held.code, released.code) == (Code.DONE, Code.DONE)
    assert None not in others
    assert await seats.verbs() == ["reserve", "reserve", "release"]


async def test_the_check_loads_the_scripts_that_are_missing(seats: SeatsUnderTest) -> None:
    await seats.client.script_flush()

    await seats.runner.check()

    shas = [script.sha for script in seats.runner.scripts.values()]
    assert set(await seats.client.script_exists(*shas)) == {True}


async def test_more_calls_than_may_wait_are_refused_before_they_are_sent(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    settings = redis_settings.with_limits(BatchLimits(queue_max=10))
    runner = ScriptRunner(redis_pool(settings), seats.runner.scripts, settings, seats.metrics)
    store = SeatStore(runner)

    results = await asyncio.gather(
        *(
            store.reserve(seats.shard, seats.exam, seats.request(f"candidate-{i}"))
            for i in range(12)
        ),
        return_exceptions=True,
    )

    await runner.aclose()

    refused = [result for result in results if isinstance(result, BaseException)]
    assert [type(error) for error in refused] == [Overloaded] * 2
    assert len(await seats.verbs()) == 3


async def test_a_caller_who_left_before_its_batch_did_has_no_hold(seats: SeatsUnderTest) -> None:
    leaving = asyncio.create_task(seats.reserve("candidate-1"))
    staying = asyncio.create_task(seats.reserve("candidate-2"))
    await asyncio.sleep(0)

    leaving.cancel()
    answer = await staying

    assert answer.code is Code.DONE
    assert leaving.cancelled()
    assert await seats.verbs() == ["reserve"]


@pytest.mark.parametrize("calls", [1, 5])
async def test_the_time_a_batch_took_is_counted_under_its_script(
    seats: SeatsUnderTest, calls: int
) -> None:
    script = seats.runner.scripts["read"]
    keys = [*seats.shard.keys_for(script.shard_keys), seats.shard.record_key("none")]
    args = [seats.shard.epoch, "none"]

    await asyncio.gather(*(seats.runner.call(ScriptCall(script, keys, args)) for _ in range(calls)))

    counted = seats.metrics.registry.get_sample_value(
        "quota_redis_script_duration_seconds_count", {"script": "read"}
    )
    assert counted == calls
