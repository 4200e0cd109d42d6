"""No call keeps Redis for long, however large what stands in it: it serves all exams in turn."""

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from quota_service.domain.exam import Exam, Quota
from quota_service.seats.codes import Code
from quota_service.seats.connection import ScriptCall
from quota_service.seats.pages import QUOTAS_MAX
from quota_service.seats.record import record_text
from quota_service.seats.recovery import RecoveryStore
from quota_service.seats.replies import ReserveRequest
from quota_service.seats.room_statistics import RoomStatisticsStore
from tests.support.exams import make_exam
from tests.support.records import move_due
from tests.support.seats import SeatsUnderTest

SUBJECTS = tuple(f"subject-{i:02}" for i in range(32))
VENUES = tuple(f"venue-{i:02}" for i in range(32))
MANY = {Quota(venue, subject): 100 for venue in VENUES for subject in SUBJECTS}
FIXED_ARGS, WORDS_OF_A_QUOTA = 4, 6
SMALL_HASH_MAX = 512
"""A hash of so many fields is told as a whole, as Redis keeps it as one list."""


@pytest.fixture
def recorded(seats: SeatsUnderTest, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """The calls of scripts: the name, and how many words went there and came back."""
    calls: list[tuple[str, int, int]] = []
    call_redis = seats.runner.call

    async def call(asked: ScriptCall) -> list[Any]:
        answer = await call_redis(asked)
        calls.append((asked.script.name, len(asked.keys) + len(asked.args), words_in(answer)))
        return answer

    monkeypatch.setattr(seats.runner, "call", call)
    return calls


def words_in(answer: Sequence[Any]) -> int:
    return sum(words_in(part) if isinstance(part, list) else 1 for part in answer)


def order(
    number: int, venues: tuple[str, ...] = VENUES[:1], subjects: tuple[str, ...] = SUBJECTS
) -> ReserveRequest:
    sessions = tuple(f"session-{subject}" for subject in subjects)
    return ReserveRequest(f"{number:024}", f"candidate-{number}", subjects, sessions, venues, "h")


async def hold_large_orders(seats: SeatsUnderTest, exam: Exam, count: int) -> list[str]:
    """Reserve all subjects at one venue, so many times; return the serials."""
    await seats.store.set_capacity(seats.shard, MANY)
    orders = [order(n, VENUES[n % len(VENUES) :][:1]) for n in range(count)]
    answers = await asyncio.gather(*(seats.store.reserve(seats.shard, exam, o) for o in orders))
    assert {answer.code for answer in answers} == {Code.DONE}
    return [each.serial for each in orders]


async def test_many_quotas_are_set_seeded_and_read_in_pages(
    seats: SeatsUnderTest, recorded: list[tuple[str, int, int]]
) -> None:
    recovery, claimed = RecoveryStore(seats.runner), dataclasses.replace(seats.shard, epoch=2)
    claimed = dataclasses.replace(claimed, is_recovered=True)

    done = await seats.store.set_capacity(seats.shard, MANY)
    found = await seats.snapshot()
    await recovery.claim(claimed)
    await recovery.clear(claimed)
    await recovery.seed(claimed, found.version, MANY)
    await recovery.reopen(claimed)
    again = await seats.store.snapshot(dataclasses.replace(claimed, is_recovered=False))

    assert (done.code, done.detail) == (Code.DONE, (len(MANY),))
    assert found.capacity == {**seats.exam.seats, **MANY}
    assert again.remaining == MANY
    most = FIXED_ARGS + len(seats.exam.seats) + WORDS_OF_A_QUOTA * SMALL_HASH_MAX
    assert max(sent + told for _, sent, told in recorded) < most
    assert len(recorded) > 3 * len(MANY) / QUOTAS_MAX


async def test_each_quota_that_is_read_is_of_one_moment_while_seats_are_taken(
    seats: SeatsUnderTest,
) -> None:
    exam = make_exam()
    await seats.store.set_capacity(seats.shard, MANY)
    before = (await seats.snapshot()).version
    first = None

    rows = {}
    async for totals, page in seats.store.pages(seats.shard):
        first = first or totals
        rows.update({row.name: row for row in page})
        await seats.store.reserve(seats.shard, exam, order(len(rows), subjects=SUBJECTS[:2]))

    assert first is not None
    assert first.version == before
    assert len(rows) == len(MANY) + len(seats.exam.seats)
    assert all(row.capacity == row.remaining + row.held for row in rows.values())


async def test_a_look_at_a_shard_that_is_as_known_tells_no_quotas(
    seats: SeatsUnderTest,
) -> None:
    await seats.hold("candidate-1")
    version = (await seats.snapshot()).version

    same = [page async for page in seats.store.pages(seats.shard, version)]
    other = [page async for page in seats.store.pages(seats.shard, version - 1)]

    assert [(totals.version, quotas) for totals, quotas in same] == [(version, [])]
    assert sum(len(quotas) for _, quotas in other) == len(seats.exam.seats)


async def test_a_capacity_that_cannot_be_lowered_leaves_the_other_pages_as_they_are_to_be(
    seats: SeatsUnderTest,
) -> None:
    await hold_large_orders(seats, make_exam(), 1)

    answer = await seats.store.set_capacity(seats.shard, dict.fromkeys(MANY, 0))

    taken = {quota for quota in MANY if quota.venue == VENUES[0]}
    assert answer.code is Code.BELOW_TAKEN
    assert set(answer.detail[::2]) == {str(quota) for quota in taken}
    capacity = (await seats.snapshot()).capacity
    assert {capacity[quota] for quota in taken} == {100}
    assert 0 in {capacity[quota] for quota in MANY}


async def test_large_orders_of_one_turn_leave_in_several_calls(
    seats: SeatsUnderTest,
) -> None:
    await seats.store.set_capacity(seats.shard, dict.fromkeys(MANY, 0))
    exam, before = make_exam(), await seats.calls()

    refused = await asyncio.gather(
        *(seats.store.reserve(seats.shard, exam, order(n, VENUES)) for n in range(30))
    )

    assert {answer.code for answer in refused} == {Code.SOLD_OUT}
    assert await seats.calls() - before == 10


async def test_small_orders_of_one_turn_leave_in_one_call(seats: SeatsUnderTest) -> None:
    await seats.store.set_capacity(seats.shard, MANY)
    exam, before = make_exam(), await seats.calls()

    await asyncio.gather(
        *(
            seats.store.reserve(seats.shard, exam, order(n, VENUES[:3], SUBJECTS[:2]))
            for n in range(60)
        )
    )

    assert await seats.calls() - before == 1


async def test_holds_that_are_due_expire_in_calls_of_bounded_work(seats: SeatsUnderTest) -> None:
    serials = await hold_large_orders(seats, make_exam(), 30)
    for serial in serials:
        await move_due(seats.client, seats.shard, serial)
    expired = []

    while left := await seats.store.overdue(seats.shard, "due", 0, 1000):
        expired.append((await seats.store.expire(seats.shard, left))[0])

    assert expired == [8, 8, 8, 6]
    assert sum(expired) == len(serials)


async def test_a_recovery_writes_large_records_in_calls_of_bounded_work(
    seats: SeatsUnderTest, recorded: list[tuple[str, int, int]]
) -> None:
    serials = await hold_large_orders(seats, make_exam(), 30)
    records = [(s, 0, record_text(await seats.record(s))) for s in serials]
    claimed = dataclasses.replace(seats.shard, epoch=2, is_recovered=True)
    recovery = RecoveryStore(seats.runner)
    await recovery.claim(claimed)

    left_out = await recovery.put(claimed, records, fit=False)

    assert left_out == []
    assert [name for name, _, _ in recorded].count("put") == 5
    await recovery.reopen(claimed)


async def test_a_long_journal_is_read_and_trimmed_in_parts(
    seats: SeatsUnderTest, recorded: list[tuple[str, int, int]]
) -> None:
    key, count = seats.shard.key("journal"), 11_000
    await seats.client.delete(key)
    fields = {"verb": "capacity", "subject": "jinan/general", "at": 1, "body": "3"}
    async with seats.client.pipeline(transaction=False) as pipe:
        for n in range(1, count + 1):
            pipe.xadd(key, fields, id=f"1-{n}")
        await pipe.execute()

    _, entries = await seats.store.journal(seats.shard, "1-5", 10_000)
    await seats.store.trim_journal(seats.shard, (1, count - 3))

    assert [id_ for id_, _ in entries] == [f"1-{n}" for n in range(6, 10_006)]
    assert await seats.client.xlen(key) == 3
    assert [name for name, _, _ in recorded].count("trim_journal") > 1
    assert max(told for _, _, told in recorded) < 3_000
    await seats.client.xtrim(key, maxlen=0)


async def test_places_whose_time_is_over_are_not_counted_and_are_removed_in_parts(
    seats: SeatsUnderTest,
) -> None:
    key, room_statistics = seats.shard.key("places"), RoomStatisticsStore(seats.runner)
    await seats.client.zadd(key, {f"candidate-{n}": 1 for n in range(1_200)})
    await seats.client.zadd(key, {"candidate-there": 10**14})

    places = [(await room_statistics.read(seats.shard)).places for _ in range(2)]
    left = await seats.client.zcard(key)
    await room_statistics.read(seats.shard)

    assert places == [1, 1]
    assert left == 1_200 + 1 - 2 * 500
    assert await seats.client.zcard(key) == 1
