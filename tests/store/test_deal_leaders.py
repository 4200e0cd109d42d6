"""Who deals the seats of an exam: one at a time, whatever befalls them, and nothing twice."""

import asyncio
import random
from dataclasses import replace

import pytest

from quota_service.app.opening import Service
from quota_service.registration.deal_round import DealingRound
from quota_service.registration.offers import settle_unfinished
from quota_service.seats.dealing import OvertakenError
from tests.support.books import read_journal
from tests.support.dealings import open_list
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError, dying, hold

GENERAL = "jinan/general"

LINES = [
    ("list-first", "number", "leased"),
    ("list-first", "number", "settled"),
    ("list-first", "number", "ended"),
    ("list-first", "draw", "window closed"),
    ("list-first", "number", "conflicts ended"),
    ("list-first", "number", "offered"),
    ("list-first", "number", "recorded"),
    ("list-first", "number", "offers made"),
    ("at-times", "number", "offered"),
    ("at-times", "number", "dealt"),
]


@pytest.mark.parametrize(("rule", "order", "line"), LINES)
async def test_what_a_leader_leaves_that_dies_the_next_one_finishes(
    service: Service, rule: str, order: str, line: str
) -> None:
    waiting = await open_list(service, rule, order=order)
    ends = {"wants-two": "waiting", "first": "offered", "second": "offered"}
    if order == "number":  # who is drawn last may never be looked at
        ends["has-the-session"] = "conflict"
        await waiting.join("has-the-session", ("general",), ("jinan",))
        await waiting.put_on_sale("tianjin/general")
        await hold(service, "has-the-session", "tianjin")
    for candidate, subjects in {
        "wants-two": ("general", "qms"),
        "first": ("general",),
        "second": ("general",),
    }.items():
        await waiting.join(candidate, subjects)
    await waiting.return_seats(GENERAL, 2)
    await waiting.return_seats("jinan/ems", 1)
    await waiting.rows("UPDATE waiting_lists SET is_due = true WHERE exam = $1")

    with pytest.raises(DiedError):
        await waiting.visit(waiting.another_leader(dying(service.stores, f"deal: {line}")))
    await waiting.end_lease()
    heir = waiting.another_leader()
    await waiting.visit(heir)
    await waiting.visit(heir)

    assert await waiting.states() == ends
    assert sorted(await waiting.holds()) == ["first", "second"]
    assert await waiting.on_sale() == {"jinan/ems": 1}
    assert await waiting.hash_of("returned") == {}
    assert await waiting.hash_of("offers") == {}
    assert len(await waiting.hash_of("list")) == 1
    assert await waiting.rows("SELECT is_due, is_dealing FROM waiting_lists WHERE exam = $1") == [
        (False, False)
    ]
    await waiting.check_books()


async def test_a_leader_that_goes_on_when_another_has_taken_over_changes_nothing(
    service: Service,
) -> None:
    waiting = await open_list(service)
    await waiting.join("first")
    stores = service.stores.dealing
    old = await stores.deals.lease(waiting.exam.id, "old", 60)
    assert old is not None
    await waiting.end_lease()
    await waiting.visit()
    await waiting.return_seats(GENERAL)
    stopped = DealingRound(
        stores, waiting.exam, waiting.shard, old, {GENERAL: 1}, has_all=True, is_instant=False
    )

    with pytest.raises(OvertakenError):
        await stopped.run()

    assert await waiting.states() == {"first": "waiting"}
    assert await waiting.hash_of("returned") == {GENERAL: "1"}


async def test_a_leader_whose_lease_has_ended_records_nothing_and_leaves_its_offers(
    service: Service,
) -> None:
    waiting = await open_list(service)
    await waiting.join("first")
    await waiting.return_seats(GENERAL)
    stores = service.stores.dealing
    with pytest.raises(DiedError):
        await waiting.visit(waiting.another_leader(dying(service.stores, "deal: offered")))
    await waiting.end_lease()
    (row,) = await waiting.rows("SELECT leader_epoch FROM waiting_lists WHERE exam = $1")
    stale = await stores.deals.lease(waiting.exam.id, "stale", 60)
    assert stale is not None
    assert stale.epoch == row["leader_epoch"] + 1
    await waiting.end_lease()
    _, unfinished = await stores.dealing.begin(waiting.shard, stale.epoch)

    with pytest.raises(OvertakenError):
        await settle_unfinished(stores, waiting.exam, waiting.shard, stale, unfinished)

    assert await waiting.states() == {"first": "waiting"}
    assert await waiting.hash_of("offers") == unfinished
    await waiting.visit()
    assert await waiting.states() == {"first": "offered"}


async def test_of_many_leaders_at_once_none_offers_twice_nor_out_of_order(
    service: Service,
) -> None:
    waiting = await open_list(service)
    chance = random.Random(7)  # noqa: S311  the same storm in every run
    leaders = [waiting.another_leader() for _ in range(4)]
    for number in range(12):
        await waiting.join(f"candidate-{number}", venues=("jinan", "tianjin"))
    supply = [GENERAL, "tianjin/general"] * 4

    async def visit_often(leader: object) -> None:
        for _ in range(6):
            await waiting.visit(leader)  # type: ignore[arg-type]

    async def upset() -> None:
        while supply:
            await waiting.return_seats(supply.pop())
            if chance.random() < 0.5:
                await waiting.end_lease()
            await asyncio.sleep(0)

    await asyncio.gather(*map(visit_often, leaders), upset())
    await waiting.end_lease()
    await waiting.visit()

    entries = list((await waiting.entries()).values())
    assert [entry["state"] for entry in entries] == ["offered"] * 8 + ["waiting"] * 4
    assert [entry["offers"] for entry in entries] == [1] * 8 + [0] * 4
    journal = await read_journal(redis_of(service), waiting.shard)
    offers = [parts["body"].split("|")[1] for _, parts in journal if parts["verb"] == "offer"]
    assert offers == [f"candidate-{number}" for number in range(8)]
    assert len(await waiting.holds()) == 8
    assert await waiting.hash_of("offers") == {}
    await waiting.check_books()


async def test_a_lease_is_kept_by_its_leader_alone_while_it_lasts(
    service: Service,
) -> None:
    waiting = await open_list(service)
    deals = service.stores.dealing.deals
    left = "SELECT extract(epoch FROM lease_until - now())::int AS s FROM waiting_lists"
    await waiting.join("first")
    await waiting.return_seats(GENERAL)

    await waiting.visit(waiting.another_leader(lease_s=600))
    lease = await deals.lease(waiting.exam.id, "other", 60)
    ((seconds,),) = await waiting.rows(f"{left} WHERE exam = $1")
    await waiting.end_lease()
    mine = await deals.lease(waiting.exam.id, "mine", 60)
    assert mine is not None
    kept = await deals.keep(replace(mine, lasts_s=900))
    ((renewed,),) = await waiting.rows(f"{left} WHERE exam = $1")
    await waiting.end_lease()
    lost = await deals.keep(mine)

    assert lease is None
    assert seconds > 500
    assert (kept, lost, renewed > 800) == (True, False, True)
