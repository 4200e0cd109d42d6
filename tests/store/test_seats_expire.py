"""The expiry: not before its time, once, by whoever comes first; and the indexes workers read."""

import asyncio
from collections import Counter

from quota_service.domain.reservation import State
from quota_service.seats.codes import Code
from tests.support.books import DAY_MS
from tests.support.records import HOUR_MS, move_attempt, move_due
from tests.support.seats import SeatsUnderTest


async def test_a_hold_is_not_expired_before_it_is_due(seats: SeatsUnderTest) -> None:
    serial = await seats.hold()
    await move_due(seats.client, seats.shard, serial, ago_ms=-60_000)

    expired, lag_ms = await seats.store.expire(seats.shard, [serial])

    assert (expired, lag_ms) == (0, 0)
    assert (await seats.record(serial)).state is State.HELD
    assert await seats.store.overdue(seats.shard, "due", 0, 10) == []


async def test_a_due_hold_gives_back_its_seats_and_sessions(seats: SeatsUnderTest) -> None:
    serial = await seats.hold("candidate-1", ("general", "qms"))
    await move_due(seats.client, seats.shard, serial, ago_ms=5_000)

    expired, lag_ms = await seats.store.expire(seats.shard, [serial])

    assert expired == 1
    assert 5_000 <= lag_ms < 60_000
    assert (await seats.record(serial)).state is State.EXPIRED
    assert (await seats.remaining("jinan", "general"), await seats.remaining("jinan", "qms")) == (
        3,
        2,
    )
    assert await seats.store.claims(seats.shard, "candidate-1", ["day1-am", "day1-pm"]) == []


async def test_many_workers_at_once_expire_each_hold_once(seats: SeatsUnderTest) -> None:
    serials = [
        await seats.hold("candidate-1"),
        await seats.hold("candidate-2"),
        await seats.hold("candidate-3", ("general",), ("tianjin",)),
    ]
    for serial in serials:
        await move_due(seats.client, seats.shard, serial)

    ends = await asyncio.gather(
        *(seats.store.expire(seats.shard, serials[i % 3 :] + serials[: i % 3]) for i in range(8))
    )

    assert sum(expired for expired, _ in ends) == 3
    assert await seats.remaining("jinan", "general") == 3
    assert (await seats.verbs()).count("expire") == 3


async def test_a_batch_takes_only_those_that_are_unpaid_and_due(seats: SeatsUnderTest) -> None:
    due = await seats.hold("candidate-1")
    later = await seats.hold("candidate-2")
    paying = await seats.with_attempt("candidate-3")
    paid = await seats.confirmed("candidate-4", ("service",))
    gone = await seats.hold("candidate-5", ("qms",))
    await seats.store.release(seats.shard, gone)
    await move_due(seats.client, seats.shard, due)

    expired, _ = await seats.store.expire(
        seats.shard, [later, paying, due, paid, gone, "never-made", due]
    )

    assert expired == 1
    states = [(await seats.record(serial)).state for serial in (due, later, paying, paid, gone)]
    assert states == [
        State.EXPIRED,
        State.HELD,
        State.CONFIRMING,
        State.CONFIRMED,
        State.RELEASED,
    ]


async def test_an_index_entry_without_a_hold_is_cleared_away(seats: SeatsUnderTest) -> None:
    paid = await seats.confirmed()
    await seats.client.zadd(seats.shard.key("due"), {paid: 1, "never-made": 2})

    expired, _ = await seats.store.expire(seats.shard, [paid, "never-made"])

    assert expired == 0
    assert await seats.store.overdue(seats.shard, "due", 0, 10) == []
    assert (await seats.record(paid)).state is State.CONFIRMED


async def test_an_empty_batch_expires_nothing(seats: SeatsUnderTest) -> None:
    assert await seats.store.expire(seats.shard, []) == (0, 0)


async def test_the_lag_told_is_that_of_the_hold_that_waited_longest(
    seats: SeatsUnderTest,
) -> None:
    waited = {90_000: await seats.hold("candidate-1"), 3_000: await seats.hold("candidate-2")}
    for ago_ms, serial in waited.items():
        await move_due(seats.client, seats.shard, serial, ago_ms=ago_ms)

    expired, lag_ms = await seats.store.expire(seats.shard, list(waited.values()))

    assert expired == 2
    assert 90_000 <= lag_ms < 150_000


async def test_a_checkout_between_finding_and_expiring_saves_the_hold(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold()
    await move_due(seats.client, seats.shard, serial, ago_ms=1_000)
    found = await seats.store.overdue(seats.shard, "due", 0, 10)

    await seats.store.checkout(seats.shard, serial, 600_000)
    expired, _ = await seats.store.expire(seats.shard, found)

    assert (found, expired) == ([serial], 0)
    assert (await seats.record(serial)).state is State.HELD


async def test_overdue_reads_the_oldest_first_and_not_more_than_asked(
    seats: SeatsUnderTest,
) -> None:
    serials = [await seats.hold(f"candidate-{i}", ("general",), ("tianjin",)) for i in range(4)]
    for i, serial in enumerate(serials):
        await move_due(seats.client, seats.shard, serial, ago_ms=(i + 1) * 10_000)

    two, all_of_them = (
        await seats.store.overdue(seats.shard, "due", 0, 2),
        await seats.store.overdue(seats.shard, "due", 0, 100),
    )

    assert two == [serials[3], serials[2]]
    assert all_of_them == serials[::-1]


async def test_overdue_leaves_out_what_is_younger_than_the_age_asked_for(
    seats: SeatsUnderTest,
) -> None:
    young, old = await seats.with_attempt("candidate-1"), await seats.with_attempt("candidate-2")
    await move_attempt(seats.client, seats.shard, old, ago_ms=HOUR_MS)

    found = await seats.store.overdue(seats.shard, "pinned", HOUR_MS - 1, 10)

    assert found == [old]
    assert await seats.store.overdue(seats.shard, "pinned", 0, 10) == [old, young]


async def test_what_began_before_the_clock_was_set_back_is_overdue_when_nothing_else_is(
    seats: SeatsUnderTest,
) -> None:
    ahead, old = await seats.with_attempt("candidate-1"), await seats.with_attempt("candidate-2")
    near = await seats.with_attempt("candidate-3")
    await move_attempt(seats.client, seats.shard, ahead, ago_ms=-HOUR_MS)
    await move_attempt(seats.client, seats.shard, near, ago_ms=-60_000)
    await move_attempt(seats.client, seats.shard, old)

    first = await seats.store.overdue(seats.shard, "pinned", HOUR_MS, 10, HOUR_MS // 2)
    await seats.store.confirm(seats.shard, old)
    second = await seats.store.overdue(seats.shard, "pinned", HOUR_MS, 10, HOUR_MS // 2)
    not_asked_for = await seats.store.overdue(seats.shard, "pinned", HOUR_MS, 10)

    assert (first, second, not_asked_for) == ([old], [ahead], [])
    assert await seats.store.with_attempt(seats.shard, 10) == [near, ahead]


async def test_a_large_batch_is_expired_in_one_call(seats: SeatsUnderTest) -> None:
    await seats.client.zadd(seats.shard.key("due"), {f"never-made-{i}": 1 for i in range(5000)})

    found = await seats.store.overdue(seats.shard, "due", 0, 5000)
    await seats.store.expire(seats.shard, found)

    assert len(found) == 5000
    assert await seats.client.zcard(seats.shard.key("due")) == 0


async def test_a_batch_writes_each_counter_once(seats: SeatsUnderTest) -> None:
    serials = [await seats.hold(f"candidate-{i}", ("general",), ("tianjin",)) for i in range(4)]
    serials += [await seats.hold("candidate-4", ("general", "qms"))]
    for serial in serials:
        await move_due(seats.client, seats.shard, serial)
    before = await commands(seats)

    expired, _ = await seats.store.expire(seats.shard, serials)

    asked = await commands(seats) - before
    assert expired == 5
    # Held and remaining of tianjin/general, jinan/general and jinan/qms.
    assert asked["hincrby"] == 6
    assert {name: asked[name] for name in ("mget", "hmget", "hset", "hdel", "zrem", "sadd")} == {
        "mget": 1,
        "hmget": 3,
        "hset": 1,
        "hdel": 1,
        "zrem": 1,
        "sadd": 1,
    }
    assert await seats.remaining("tianjin", "general") == 5


async def commands(seats: SeatsUnderTest) -> Counter[str]:
    """Return how often each command was called."""
    stats = await seats.client.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): told["calls"] for name, told in stats.items()})


async def test_the_entries_of_a_batch_are_contiguous_and_carry_the_records(
    seats: SeatsUnderTest,
) -> None:
    serials = [await seats.hold(f"candidate-{i}", ("general",), ("tianjin",)) for i in range(3)]
    for serial in serials:
        await move_due(seats.client, seats.shard, serial)
    version, _ = await seats.store.journal(seats.shard, "0-0", 1)

    await seats.store.expire(seats.shard, serials)

    _, told = await seats.store.journal(seats.shard, f"{seats.shard.epoch}-{version}", 10)
    assert [id_ for id_, _ in told] == [f"{seats.shard.epoch}-{version + n}" for n in (1, 2, 3)]
    assert [(entry["verb"], entry["subject"]) for _, entry in told] == [
        ("expire", serial) for serial in serials
    ]
    assert [entry["body"] for _, entry in told] == [
        await seats.client.get(seats.shard.record_key(serial)) for serial in serials
    ]


async def test_a_torn_record_keeps_no_other_hold_of_its_batch(seats: SeatsUnderTest) -> None:
    torn, whole = await seats.hold("candidate-1"), await seats.hold("candidate-2")
    text = await seats.client.get(seats.shard.record_key(torn))
    await seats.client.set(seats.shard.record_key(torn), "held|candidate-1|jinan")
    await move_due(seats.client, seats.shard, whole)

    expired, _ = await seats.store.expire(seats.shard, [torn, whole])

    assert expired == 1
    assert (await seats.record(whole)).state is State.EXPIRED
    await seats.client.set(seats.shard.record_key(torn), text)


async def test_a_record_from_before_a_field_was_there_is_expired(seats: SeatsUnderTest) -> None:
    serial = await seats.hold()
    await move_due(seats.client, seats.shard, serial)
    key = seats.shard.record_key(serial)
    await seats.client.set(key, "|".join((await seats.client.get(key)).split("|")[:18]))

    expired, _ = await seats.store.expire(seats.shard, [serial])

    assert expired == 1
    assert (await seats.record(serial)).state is State.EXPIRED


async def test_a_record_is_kept_for_a_day_after_its_end_and_without_limit_before(
    seats: SeatsUnderTest,
) -> None:
    released, expired = await seats.hold("candidate-1"), await seats.hold("candidate-2")
    live = await seats.hold("candidate-3")
    await seats.store.release(seats.shard, released)
    await move_due(seats.client, seats.shard, expired)
    await seats.store.expire(seats.shard, [expired])

    left_ms = [
        await seats.client.pttl(seats.shard.record_key(serial))
        for serial in (released, expired, live)
    ]

    assert [DAY_MS - 10_000 < left <= DAY_MS for left in left_ms[:2]] == [True, True]
    assert left_ms[2] == -1


async def test_asking_about_an_ended_reservation_does_not_keep_its_record_longer(
    seats: SeatsUnderTest,
) -> None:
    serial = await seats.hold(key="key-a")
    await seats.store.release(seats.shard, serial)
    key = seats.shard.record_key(serial)
    await seats.client.pexpire(key, DAY_MS - 20_000)

    await seats.store.release(seats.shard, serial)
    await seats.store.checkout(seats.shard, serial, 1000)
    await seats.reserve(key="key-a")
    answer = await seats.begin_payment(serial)

    assert answer.code is Code.RELEASED
    assert 0 < await seats.client.pttl(key) <= DAY_MS - 20_000
