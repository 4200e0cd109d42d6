"""The audit of a waiting list: what is not in order is found, and what is under way is not."""

import pytest

from quota_service.app.opening import Service
from quota_service.registration.audit_list import audit_list
from tests.support.dealings import ListUnderTest, open_list
from tests.support.redis_clients import redis_of

GENERAL = "jinan/general"
LONG_AGO = "UPDATE waiting_list_entries SET {} = now() - interval '2 minutes' WHERE exam = $1"


@pytest.fixture
async def waiting(service: Service) -> ListUnderTest:
    """A list with one entry that has an offer and two that wait, the second for two subjects."""
    waiting = await open_list(service)
    await waiting.join("first")
    await waiting.join("second", ("general", "qms"))
    await waiting.join("third")
    await waiting.return_seats(GENERAL)
    await waiting.visit()
    await waiting.rows(LONG_AGO.format("joined_at"))
    return waiting


async def found(waiting: ListUnderTest) -> set[tuple[str, str, str]]:
    maintenance = waiting.service.stores.maintenance
    return await audit_list(maintenance, waiting.exam, waiting.shard)


async def test_a_list_that_is_level_is_in_order(waiting: ListUnderTest) -> None:
    await waiting.put_on_sale("jinan/qms")
    client = redis_of(waiting.service)
    await client.hset(waiting.shard.key("list"), "joining", "|candidate-9|ems|day1-pm|jinan")

    assert await found(waiting) == set()


async def test_entries_that_only_one_store_has_are_found(waiting: ListUnderTest) -> None:
    client, key = redis_of(waiting.service), waiting.shard.key("list")
    await client.hdel(key, next(iter(await waiting.hash_of("list"))))
    await client.hset(key, "gone", "9|candidate-9|general|day1-am|jinan")

    assert await found(waiting) == {
        ("waiting list", "every entry in Redis", "1 not there"),
        ("waiting list", "no other entry in Redis", "1 do not wait"),
    }


async def test_a_wrong_count_of_what_is_wanted_is_found(waiting: ListUnderTest) -> None:
    await redis_of(waiting.service).hset(waiting.shard.key("wanted"), GENERAL, 3)

    assert await found(waiting) == {(f"{GENERAL} wanted", "by 2 entries", "by 3")}


async def test_an_offer_without_its_hold_is_found(waiting: ListUnderTest) -> None:
    hold = (await waiting.holds())["first"]
    await waiting.rows(LONG_AGO.format("offered_at") + " AND state = 'offered'")
    held = await found(waiting)
    serial = hold.id.rpartition(".")[2]
    await redis_of(waiting.service).delete(waiting.shard.record_key(serial))

    ((_, expected, told),) = await found(waiting)

    assert held == set()
    assert (expected, told) == (f"the hold {hold.id}", "none")


async def test_a_seat_on_open_sale_that_an_entry_waits_for_is_found(
    waiting: ListUnderTest,
) -> None:
    await waiting.put_on_sale(GENERAL)

    passed_over = await found(waiting)
    await waiting.rows("UPDATE waiting_lists SET is_paused = true WHERE exam = $1")
    paused = await found(waiting)

    assert passed_over == {
        (f"{GENERAL} on open sale", "no seat while an entry waits for it", "1 seats")
    }
    assert paused == set()
