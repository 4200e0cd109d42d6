"""Seats that wait for the next allocation are in both stores, and outlive the loss of Redis."""

import dataclasses

from quota_service.app.opening import Service
from quota_service.domain.exam import Quota, ReturnedSeats, ReturnRule
from quota_service.registration.audit import audit
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.release import release
from tests.support.exams import make_exam
from tests.support.lost_shards import another_run, drain, lose_everything, recover_shards, ways
from tests.support.redis_clients import redis_of
from tests.support.use_cases import hold, payment

QUOTA = Quota("jinan", "general")


async def under(service: Service, rule: ReturnRule) -> None:
    times = ("10:00",) if rule is ReturnRule.AT_TIMES else ()
    exam = dataclasses.replace(make_exam(), returned=ReturnedSeats(rule, times))
    await import_exam(service.stores.maintenance, exam)


async def pools(service: Service) -> tuple[int, int]:
    """Return the seats of the quota that remain, and those that wait."""
    found = await service.stores.seats.snapshot(service.stores.registry.shard("exam-1"))
    return found.remaining[QUOTA], found.returned[QUOTA]


async def with_one_returned(service: Service) -> tuple[int, int]:
    await under(service, ReturnRule.AT_TIMES)
    await release(service.stores.payments, (await hold(service, "first", "jinan")).id)
    before = await pools(service)
    assert before[1] == 1
    return before


async def test_what_waits_is_as_before_when_redis_has_lost_everything(service: Service) -> None:
    before = await with_one_returned(service)
    await drain(service)
    await lose_everything(service)

    assert await recover_shards(service) == 1

    assert await ways(service) == ["rebuilt"]
    assert await pools(service) == before
    assert (await audit(service.stores.maintenance, "exam-1")).is_clean


async def test_what_waits_is_as_drained_when_redis_comes_back_older(service: Service) -> None:
    before = await with_one_returned(service)
    client, shard = redis_of(service), service.stores.registry.shard("exam-1")
    older = await client.dump(shard.key("returned"))
    assert older
    await release(service.stores.payments, (await hold(service, "second", "jinan")).id)
    await drain(service)
    after = await pools(service)
    await client.restore(shard.key("returned"), 0, older, replace=True)
    await client.hincrby(shard.key("remaining"), str(QUOTA), 1)
    await another_run(service)

    assert await recover_shards(service) == 1

    assert (before[1], after[1]) == (1, 2)
    assert await pools(service) == after


async def test_an_audit_tells_of_seats_that_wait_in_one_store_alone(service: Service) -> None:
    await with_one_returned(service)
    await drain(service)
    assert (await audit(service.stores.maintenance, "exam-1")).is_clean
    client, shard = redis_of(service), service.stores.registry.shard("exam-1")
    await client.hdel(shard.key("returned"), str(QUOTA))
    await client.hincrby(shard.key("remaining"), str(QUOTA), 1)

    found = (await audit(service.stores.maintenance, "exam-1")).differences

    assert [str(difference) for difference in found] == [
        "P7 jinan/general returned: expected 1 in Postgres, found 0 in Redis"
    ]


async def test_seats_that_wait_go_on_sale_when_that_becomes_the_rule(service: Service) -> None:
    remaining, waiting = await with_one_returned(service)

    await under(service, ReturnRule.AT_ONCE)

    assert await pools(service) == (remaining + waiting, 0)
    await drain(service)
    assert (await audit(service.stores.maintenance, "exam-1")).is_clean


async def test_seats_that_waited_and_are_booked_since_wait_in_neither_store(
    service: Service,
) -> None:
    await with_one_returned(service)
    await drain(service)
    client, shard = redis_of(service), service.stores.registry.shard("exam-1")
    # As offers take them, whose steps are lost with Redis: of one seat the booking is not.
    await client.hdel(shard.key("returned"), str(QUOTA))
    await client.hincrby(shard.key("remaining"), str(QUOTA), 1)
    left, _ = await pools(service)
    for n in range(left):
        held = await hold(service, f"candidate-{n}", "jinan")
        await confirm(service.stores.payments, payment(held, f"event-{n}"))
    await lose_everything(service)

    assert await recover_shards(service) == 1
    await drain(service)

    assert await pools(service) == (0, 0)
    assert (await audit(service.stores.maintenance, "exam-1")).is_clean


async def test_no_seat_waits_where_the_rule_has_changed_and_redis_was_lost_with_it(
    service: Service,
) -> None:
    before = await with_one_returned(service)
    await drain(service)
    await under(service, ReturnRule.AT_ONCE)
    await lose_everything(service)

    assert await recover_shards(service) == 1
    await drain(service)

    assert await pools(service) == (sum(before), 0)
    assert (await audit(service.stores.maintenance, "exam-1")).is_clean
