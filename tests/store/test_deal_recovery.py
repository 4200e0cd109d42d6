"""A Redis that lost a waiting list: entries, what they want and their offers are there again."""

from collections.abc import Awaitable, Callable

import pytest

from quota_service.app.opening import Service
from quota_service.domain.reservation import State
from tests.support.dealings import ListUnderTest, open_list
from tests.support.lost_shards import another_run, drain, lose_everything, recover_shards
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying

GENERAL = "jinan/general"
PLACE = "jinan//day1-am"


@pytest.fixture
async def waiting(service: Service) -> ListUnderTest:
    """A list with one entry that was offered a seat and two that wait."""
    waiting = await open_list(service)
    for candidate in ("first", "second", "third"):
        await waiting.join(candidate)
    await waiting.return_seats(GENERAL)
    return waiting


async def next_leader(waiting: ListUnderTest) -> None:
    await waiting.end_lease()
    await waiting.visit(waiting.another_leader())


async def test_a_list_is_rebuilt_with_what_its_entries_want(waiting: ListUnderTest) -> None:
    await waiting.visit()
    await drain(waiting.service)
    before = [await waiting.hash_of(name) for name in ("list", "wanted")]

    await lose_everything(waiting.service)
    recovered = await recover_shards(waiting.service)

    assert recovered == 1
    assert [await waiting.hash_of(name) for name in ("list", "wanted")] == before
    assert (await waiting.holds())["first"].state is State.HELD


async def test_a_list_is_level_before_a_reconciled_shard_opens(waiting: ListUnderTest) -> None:
    await waiting.visit()
    await drain(waiting.service)
    client, key = redis_of(waiting.service), waiting.shard.key("list")
    before = await waiting.hash_of("list")
    lost = next(iter(before))
    text = before[lost]
    await client.hdel(key, lost)
    for wanted in (GENERAL, PLACE):
        await client.hincrby(waiting.shard.key("wanted"), wanted, -1)
    await client.hset(key, "joining", "|candidate-9|general|day1-am|jinan")
    for wanted in (GENERAL, PLACE):
        await client.hincrby(waiting.shard.key("wanted"), wanted, 1)

    await another_run(waiting.service)
    await recover_shards(waiting.service)

    assert await waiting.hash_of("list") == before
    assert await waiting.hash_of("wanted") == {GENERAL: "2", PLACE: "2"}
    assert text == before[lost]


@pytest.mark.parametrize("loss", [lose_everything, another_run])
async def test_an_offer_that_only_the_journal_tells_of_is_recorded(
    waiting: ListUnderTest, loss: Callable[[Service], Awaitable[None]]
) -> None:
    """The leader died before Postgres had the offer, and then Redis did."""
    with pytest.raises(DiedError):
        await waiting.visit(waiting.another_leader(dying(waiting.service.stores, "deal: offered")))
    await drain(waiting.service)
    ((made,),) = await waiting.rows("SELECT id FROM reservations WHERE exam = $1")

    await loss(waiting.service)
    await recover_shards(waiting.service)
    await next_leader(waiting)

    first = (await waiting.entries())["first"]
    assert (first["state"], first["offers"], first["reservation"]) == ("offered", 1, made)
    assert (await waiting.holds())["first"].state is State.HELD
    assert first["serial"] not in await waiting.hash_of("list")


async def test_an_offer_that_was_lost_with_redis_is_made_again_to_the_same_entry(
    waiting: ListUnderTest,
) -> None:
    """Redis lost the offer and what came back before it; Postgres has the offer."""
    await drain(waiting.service)
    await waiting.visit()
    await waiting.rows(
        "UPDATE waiting_list_entries SET offered_at = now() - interval '1 minute'"
        " WHERE exam = $1 AND state = 'offered'"
    )

    await lose_everything(waiting.service)
    await recover_shards(waiting.service)
    await next_leader(waiting)

    assert await waiting.states() == {"first": "offered", "second": "offered", "third": "offered"}
    assert (await waiting.entries())["first"]["offers"] == 2
    assert (await waiting.holds())["first"].state is State.HELD
