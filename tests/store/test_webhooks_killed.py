"""Deliveries when workers die at each line, hang, or are several: at least once, and in order."""

import asyncio

import pytest
from aiohttp import web

from quota_service.app.opening import Service
from quota_service.registration.webhook_endpoints import replay
from tests.support.lost_shards import rows
from tests.support.use_cases import DiedError, dying
from tests.support.webhooks import deliver, endpoint_to, happen, receiving, taken, working

HELD, CONFIRMED = "reservation.held", "reservation.confirmed"


async def leases_end(service: Service) -> None:
    """Let the leases of workers that died be over."""
    await rows(service, "UPDATE webhook_endpoints SET held_until = now() RETURNING id")


async def leases_last(service: Service) -> None:
    """Let leases last longer than this test."""
    await rows(
        service,
        "UPDATE webhook_endpoints SET held_until = now() + interval '1 h' "
        "WHERE holder IS NOT NULL RETURNING id",
    )


@pytest.mark.parametrize(
    ("line", "posted"),
    [
        ("deliver: after claim", 0),
        ("deliver: before post", 0),
        ("deliver: after post", 1),
        ("deliver: before record", 1),
        ("deliver: after record", 1),
    ],
)
async def test_after_a_death_another_worker_delivers_what_was_not_recorded_in_order(
    service: Service, line: str, posted: int
) -> None:
    mortal = dying(service.stores.webhooks, line)
    async with (
        receiving() as receiver,
        working(service, mortal) as dies,  # to the end: a dead worker leaves nothing to others
        working(service) as worker,
    ):
        await endpoint_to(service, receiver.url)
        await happen(service, ("r-1", HELD), ("r-1", CONFIRMED))
        with pytest.raises(DiedError):
            await deliver(dies)
        await leases_last(service)
        held = await deliver(worker)
        seen = list(receiver.told)
        await leases_end(service)
        await deliver(worker)

    is_recorded = line == "deliver: after record"
    assert held == {}
    assert seen == [("r-1", HELD)] * posted
    assert receiver.told == [*seen, *[("r-1", HELD)] * (not is_recorded), ("r-1", CONFIRMED)]
    assert len(set(receiver.ids)) == 2


async def test_of_two_workers_at_once_each_delivery_is_made_by_one(service: Service) -> None:
    async with receiving() as one, receiving() as two:
        for receiver in (one, two):
            await endpoint_to(service, receiver.url)
        await happen(service, *((f"r-{n % 40}", HELD) for n in range(120)))
        async with working(service) as first, working(service) as second:
            while len(one.came) + len(two.came) < 240:
                await asyncio.gather(first.run_once(), second.run_once())
                await asyncio.gather(first.finish_turns(), second.finish_turns())

    for receiver in (one, two):
        assert len(receiver.ids) == len(set(receiver.ids)) == 120
        for n in range(40):
            of_one = [each for each in receiver.ids if (int(each[4:]) - 1) % 40 == n]
            assert of_one == sorted(of_one, key=lambda each: int(each[4:]))


async def test_a_worker_whose_lease_went_to_another_begins_nothing_more(service: Service) -> None:
    go_on = asyncio.Event()

    async def slowly(_request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return web.Response()

    async with receiving(slowly) as receiver, working(service) as hangs, working(service) as worker:
        await endpoint_to(service, receiver.url)
        await happen(service, ("r-1", HELD), ("r-1", CONFIRMED))
        hanging = asyncio.create_task(deliver(hangs))
        await receiver.until_at_once(1)
        await leases_end(service)
        other = asyncio.create_task(deliver(worker))
        await receiver.until_at_once(2)
        go_on.set()
        done = [await hanging, await other]

    assert receiver.told == [("r-1", HELD), ("r-1", HELD), ("r-1", CONFIRMED)]
    assert done == [{"delivered": 1}, {"delivered": 2}]


async def test_an_ending_worker_leaves_its_endpoints_to_others_at_once(service: Service) -> None:
    async def never(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with receiving(never) as receiver:
        await endpoint_to(service, receiver.url)
        await happen(service, ("r-1", HELD))
        async with working(service) as ends:
            await ends.run_once()
            await receiver.until_at_once(1)
        receiver.answer = taken
        async with working(service) as worker:
            done = await deliver(worker)

    assert done == {"delivered": 1}
    assert receiver.ids == ["evt_1", "evt_1"]


async def test_a_replay_that_died_on_its_way_can_be_made_again(service: Service) -> None:
    stores = service.stores.webhooks
    async with receiving() as receiver, working(service) as worker:
        await happen(service, ("r-1", HELD), ("r-1", CONFIRMED))
        endpoint, _ = await endpoint_to(service, receiver.url)
        with pytest.raises(DiedError):
            await replay(dying(stores, "replay: after page"), endpoint, 0, "lost")
        made = await replay(stores, endpoint, 0, "lost, again")
        await deliver(worker)

    assert made == 2
    assert receiver.told == [("r-1", HELD), ("r-1", CONFIRMED)]
