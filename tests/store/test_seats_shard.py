"""A shard as a whole: opening it, its capacities, what it tells, and its journal."""

import asyncio
import dataclasses
import re

import pytest

from quota_service.domain.errors import NotReady
from quota_service.domain.exam import MAX_CAPACITY, Quota
from quota_service.seats.codes import Code
from quota_service.seats.keys import ROOM_KEYS, RULE_KEYS, SHARD_KEYS, Shard
from quota_service.seats.recovery import RecoveryStore, ShardStatus
from quota_service.settings import Settings
from tests.support.books import read_journal
from tests.support.callers import called_with
from tests.support.exams import make_exam
from tests.support.records import redis_now_ms
from tests.support.seats import SeatsUnderTest, open_seats

GENERAL, QMS, SERVICE = (Quota("jinan", name) for name in ("general", "qms", "service"))


async def test_a_shard_is_opened_once_and_never_under_another_epoch(
    seats: SeatsUnderTest,
) -> None:
    await seats.hold()
    version = (await seats.snapshot()).version

    same = await seats.store.open(seats.shard)
    other = await seats.store.open(dataclasses.replace(seats.shard, epoch=2))

    assert (same, other) == (True, False)
    assert (await seats.snapshot()).version == version


async def test_of_many_who_open_a_shard_at_once_all_find_it_open(seats: SeatsUnderTest) -> None:
    fresh = Shard("exam-9", 1)

    opened = await asyncio.gather(*(seats.store.open(fresh) for _ in range(10)))

    assert opened == [True] * 10
    assert (await seats.store.snapshot(fresh)).version == 0


async def test_a_shard_whose_opening_was_not_told_of_is_opened_in_a_later_run_of_the_server(
    seats: SeatsUnderTest,
) -> None:
    fence = await seats.client.getset(seats.shard.key("epoch"), "1@earlier")

    opened = await seats.store.open(seats.shard)

    assert opened
    assert await seats.client.get(seats.shard.key("epoch")) == fence
    assert (await seats.snapshot()).version == len(seats.exam.seats)


async def test_the_fence_of_an_open_shard_is_its_epoch_and_the_run_of_the_server(
    seats: SeatsUnderTest, redis_settings: Settings
) -> None:
    fence = str(await seats.client.get(seats.shard.key("epoch")))

    async with open_seats(redis_settings, make_exam("exam-2")) as beside:
        other = str(await beside.client.get(beside.shard.key("epoch")))

    epoch, _, run = fence.partition("@")
    assert epoch == str(seats.shard.epoch)
    assert re.fullmatch(r"[0-9a-f]{12}\.(0|[0-9a-f]{12})", run)
    assert other == fence


async def test_how_a_shard_stands_is_told_whoever_it_is_open_to(seats: SeatsUnderTest) -> None:
    recovery = RecoveryStore(seats.runner)
    await seats.hold()
    version, fence = (await seats.snapshot()).version, await seats.client.get("{exam-1:0}:epoch")

    ours = await recovery.status(seats.shard)
    another_epoch = await recovery.status(dataclasses.replace(seats.shard, epoch=2))
    never_made = await recovery.status(Shard("exam-9", 1))
    await seats.client.set(seats.shard.key("epoch"), "1@earlier")
    another_run = await recovery.status(seats.shard)

    assert (ours, another_epoch) == (
        ShardStatus(is_open=True, fence=str(fence), version=version),
        ShardStatus(is_open=False, fence=str(fence), version=version),
    )
    assert never_made == ShardStatus(is_open=False, fence="", version=0)
    assert another_run == ShardStatus(is_open=False, fence="1@earlier", version=version)


async def test_what_a_recovery_goes_on_from_is_told_until_the_shard_is_open_again(
    seats: SeatsUnderTest,
) -> None:
    recovery = RecoveryStore(seats.runner)
    held = await seats.hold("candidate-1")
    version = (await seats.snapshot()).version
    first, second, third = (
        dataclasses.replace(seats.shard, epoch=epoch, is_recovered=True) for epoch in (2, 3, 4)
    )

    origins = [await recovery.claim(first), await recovery.claim(first)]
    origins.append(await recovery.claim(second))
    with pytest.raises(NotReady):
        await recovery.reopen(first)
    opened = await recovery.reopen(second)
    reopened = dataclasses.replace(second, is_recovered=False)
    release = await seats.store.release(reopened, held)
    origins.append(await recovery.claim(third))

    assert origins == [(1, version)] * 3 + [(3, version + 1)]
    assert opened == version
    assert release.code is Code.DONE
    entries = [entry for entry, _ in await read_journal(seats.client, seats.shard)]
    assert entries[-2:] == [f"1-{version}", f"3-{version + 1}"]


async def test_there_is_nothing_to_go_on_from_where_nothing_stood_or_all_was_removed(
    seats: SeatsUnderTest,
) -> None:
    recovery = RecoveryStore(seats.runner)
    never_made = Shard("exam-9", 2, is_recovered=True)
    await seats.hold()
    first, second = (
        dataclasses.replace(seats.shard, epoch=epoch, is_recovered=True) for epoch in (2, 3)
    )

    lost = await recovery.claim(never_made)
    await recovery.claim(first)
    await recovery.clear(first)
    removed = await recovery.claim(second)
    left = {key async for key in seats.client.scan_iter(match=f"{seats.shard.tag}*", count=1000)}
    await recovery.seed(second, 7, seats.exam.seats)
    version = await recovery.reopen(second)

    assert (lost, removed, version) == (None, None, 7)
    assert left == {seats.shard.key("epoch"), seats.shard.key("origin")}
    found = await seats.store.snapshot(dataclasses.replace(second, is_recovered=False))
    assert found.capacity == found.remaining == seats.exam.seats
    assert await seats.client.exists(seats.shard.key("origin")) == 0


async def test_a_new_quota_has_all_its_seats_free_and_every_counter(
    seats: SeatsUnderTest,
) -> None:
    added = Quota("xian", "general")

    answer = await seats.store.set_capacity(seats.shard, {added: MAX_CAPACITY})

    found = await seats.snapshot()
    assert (answer.code, answer.detail) == (Code.DONE, (1,))
    assert (found.capacity[added], found.remaining[added]) == (MAX_CAPACITY, MAX_CAPACITY)
    assert (found.held[added], found.confirming[added], found.confirmed[added]) == (0, 0, 0)


async def test_the_same_capacity_again_changes_nothing(seats: SeatsUnderTest) -> None:
    await seats.hold()
    before = await seats.snapshot()

    answer = await seats.store.set_capacity(seats.shard, seats.exam.seats)

    assert (answer.code, answer.detail) == (Code.DONE, (0,))
    assert (await seats.snapshot()).version == before.version


async def test_seats_added_can_be_reserved_at_once(seats: SeatsUnderTest) -> None:
    await seats.hold("candidate-1", ("service",))

    await seats.store.set_capacity(seats.shard, {SERVICE: 2})

    assert (await seats.reserve("candidate-2", ("service",))).code is Code.DONE
    assert await seats.remaining("jinan", "service") == 0


async def test_a_capacity_can_be_lowered_to_what_is_taken_and_no_further(
    seats: SeatsUnderTest,
) -> None:
    await seats.hold("candidate-1")
    await seats.with_attempt("candidate-2")

    too_low = await seats.store.set_capacity(seats.shard, {GENERAL: 1})
    just_right = await seats.store.set_capacity(seats.shard, {GENERAL: 2})

    assert (too_low.code, too_low.detail) == (Code.BELOW_TAKEN, ("jinan/general", 2))
    assert just_right.code is Code.DONE
    assert (await seats.reserve("candidate-3")).code is Code.SOLD_OUT


async def test_one_capacity_that_cannot_be_leaves_all_as_they_were(
    seats: SeatsUnderTest,
) -> None:
    await seats.confirmed("candidate-1", ("general", "qms"))
    before = await seats.snapshot()

    answer = await seats.store.set_capacity(
        seats.shard, {SERVICE: 9, GENERAL: 0, Quota("xian", "qms"): 5, QMS: 0}
    )

    assert (answer.code, answer.detail) == (
        Code.BELOW_TAKEN,
        ("jinan/general", 1, "jinan/qms", 1),
    )
    after = await seats.snapshot()
    assert (after.version, after.capacity) == (before.version, before.capacity)


async def test_a_quota_can_go_when_nothing_of_it_is_taken(seats: SeatsUnderTest) -> None:
    answer = await seats.store.set_capacity(seats.shard, {QMS: 0})

    assert answer.code is Code.DONE
    assert (await seats.reserve("candidate-1", ("qms",))).code is Code.SOLD_OUT


async def test_each_changed_capacity_is_a_step_of_its_own_in_the_journal(
    seats: SeatsUnderTest,
) -> None:
    before = len(await read_journal(seats.client, seats.shard))

    await seats.store.set_capacity(seats.shard, {GENERAL: 7, QMS: 2, SERVICE: 4})

    entries = await read_journal(seats.client, seats.shard)
    assert [(e["verb"], e["subject"], e["body"]) for _, e in entries[before:]] == [
        ("capacity", "jinan/general", "7"),
        ("capacity", "jinan/service", "4"),
    ]


async def test_no_capacities_at_all_are_no_change(seats: SeatsUnderTest) -> None:
    answer = await seats.store.set_capacity(seats.shard, {})

    assert (answer.code, answer.detail) == (Code.DONE, (0,))


async def test_an_exam_of_many_quotas_is_set_and_read(seats: SeatsUnderTest) -> None:
    many = {Quota(f"venue-{i // 128}", f"subject-{i % 128}"): 10 for i in range(3_000)}

    answer = await seats.store.set_capacity(seats.shard, many)

    assert answer.detail == (3_000,)
    assert len((await seats.snapshot()).remaining) == 3_000 + len(seats.exam.seats)


async def test_a_snapshot_tells_every_counter(seats: SeatsUnderTest) -> None:
    await seats.hold("candidate-1")
    await seats.with_attempt("candidate-2")
    await seats.confirmed("candidate-3", ("qms",))

    found = await seats.snapshot()

    assert (found.remaining[GENERAL], found.held[GENERAL], found.confirming[GENERAL]) == (1, 1, 1)
    assert (found.remaining[QMS], found.confirmed[QMS], found.capacity[QMS]) == (1, 1, 2)
    assert found.live_holds == 1
    assert found.journal_entries == found.version == len(seats.exam.seats) + 6
    assert abs(found.clock_ms - await redis_now_ms(seats.client)) < 5_000
    assert found.epoch == seats.shard.epoch


async def test_claims_tell_whose_reservations_stand_in_sessions(seats: SeatsUnderTest) -> None:
    both = await seats.hold("candidate-1", ("general", "qms"))
    third = await seats.hold("candidate-1", ("service",))
    await seats.hold("candidate-2", ("qms",))
    sessions = [session.id for session in seats.exam.sessions]

    found = await seats.store.claims(seats.shard, "candidate-1", sessions)

    assert found == sorted([both, third])
    assert await seats.store.claims(seats.shard, "candidate-3", sessions) == []


async def test_many_are_read_in_the_order_they_were_asked_for(seats: SeatsUnderTest) -> None:
    serials = [await seats.hold(f"candidate-{i}") for i in range(3)]

    found = await seats.store.read_many(seats.shard, [serials[2], "never-made", serials[0]])

    assert [r and r.candidate for r in found] == ["candidate-2", None, "candidate-0"]


async def test_the_journal_is_read_in_order_and_in_parts(seats: SeatsUnderTest) -> None:
    serial = await seats.hold()
    await seats.store.release(seats.shard, serial)
    version = (await seats.snapshot()).version

    first = (await seats.store.journal(seats.shard, "0-0", version - 1))[1]
    rest = (await seats.store.journal(seats.shard, first[-1][0], 100))[1]

    assert [entry for entry, _ in first] == [f"1-{n}" for n in range(1, version)]
    assert [(entry, fields["verb"]) for entry, fields in rest] == [(f"1-{version}", "release")]


async def test_a_trimmed_journal_keeps_what_came_after_and_its_numbers_go_on(
    seats: SeatsUnderTest,
) -> None:
    version = (await seats.snapshot()).version
    await seats.hold("candidate-1")

    await seats.store.trim_journal(seats.shard, (1, version))
    left = (await seats.store.journal(seats.shard, "0-0", 100))[1]
    await seats.store.trim_journal(seats.shard, (1, version + 1))
    await seats.hold("candidate-2")

    assert [entry for entry, _ in left] == [f"1-{version + 1}"]
    assert [entry for entry, _ in await read_journal(seats.client, seats.shard)] == [
        f"1-{version + 2}"
    ]


async def test_every_key_of_the_catalogue_is_written_by_some_step_and_none_beside_it(
    seats: SeatsUnderTest,
) -> None:
    with called_with("key-a"):
        await seats.hold("candidate-1")
    await seats.with_attempt("candidate-2")
    await seats.store.release(seats.shard, await seats.hold("candidate-3"))

    found = {key async for key in seats.client.scan_iter(count=1000)}

    records = {key for key in found if key.startswith(seats.shard.record_key(""))}
    assert len(records) == 3
    # What a recovery goes on from is in `origin`, which goes when the shard opens; nobody has come
    # to the waiting room, and the exam has no rule that keys of its own go with.
    standing = SHARD_KEYS.keys() - ROOM_KEYS.keys() - RULE_KEYS.keys() - {"origin"}
    assert found - records == {seats.shard.key(name) for name in standing}


async def test_all_keys_of_a_shard_live_in_one_slot(seats: SeatsUnderTest) -> None:
    script = seats.runner.scripts["reserve"]
    keys = [*seats.shard.keys_for(script.shard_keys), seats.shard.record_key("a" * 24)]

    assert {key[: key.index("}") + 1] for key in keys} == {"{exam-1:0}"}
    with pytest.raises(KeyError):
        seats.shard.key("r:" + "a" * 24)


async def test_two_exams_know_nothing_of_each_other(seats: SeatsUnderTest) -> None:
    other = Shard("exam-10", 1)
    await seats.store.open(other)
    await seats.store.set_capacity(other, {GENERAL: 1})

    await seats.hold("candidate-1")

    assert (await seats.store.snapshot(other)).remaining == {GENERAL: 1}
