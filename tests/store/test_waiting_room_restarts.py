"""Every process and Redis are restarted, also with older data: nobody's place changes.

The Redis of this module is its own, because it is killed.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import NotYourTurn
from quota_service.embedded import EmbeddedRedis
from quota_service.registration.queue_numbers import NumberBlock
from quota_service.registration.room_cache import RoomRefresh
from quota_service.registration.waiting_room import Joined, claim, join
from quota_service.settings import Settings
from quota_service.waiting_room.room import LAST_RANK
from tests.support.lost_shards import first_answer, recover_shards
from tests.support.mortal_redis import copy_log, restart, restart_from
from tests.support.rooms import admit, let_open, open_room


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("redis-of-the-room")


@pytest.fixture(scope="module")
def redis_server(data_dir: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(data_dir) as server:
        yield server


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_limits(NumberBlock(5), RoomRefresh(10))


async def joined(service: Service, *candidates: str) -> dict[str, Joined]:
    return {c: await join(service.stores.waiting_room, "exam-1", c) for c in candidates}


async def revived(service: Service) -> None:
    """Do what brings a process back after Redis was another: notice it, rebuild, look again."""
    await first_answer(lambda: join(service.stores.waiting_room, "exam-1", "somebody"))
    assert await recover_shards(service) == 1
    await service.stores.waiting_room.rooms.refresh()


async def admitted(service: Service, tickets: dict[str, Joined]) -> list[str]:
    """Return who of those with a ticket can claim a place now."""
    found = []
    for candidate, ticket in tickets.items():
        try:
            await claim(service.stores.waiting_room, "exam-1", candidate, ticket.text)
        except NotYourTurn:
            continue
        found.append(candidate)
    return found


async def test_the_draw_is_the_same_after_everything_was_restarted(
    settings: Settings, service: Service, redis_server: EmbeddedRedis
) -> None:
    await open_room(service)
    tickets = await joined(service, *(f"candidate-{i}" for i in range(30)))
    standing = service.stores.waiting_room.rooms.current("exam-1").status
    order = sorted(tickets, key=standing.rank)

    restart(redis_server)
    async with open_service(settings) as another:
        await refresh_memory(another)
        await revived(another)
        again = await joined(another, *tickets)
        await let_open(another)
        await admit(another, threshold=standing.rank(order[9]))
        let_in = await admitted(another, tickets)

    assert {c: ticket.text for c, ticket in again.items()} == {
        c: ticket.text for c, ticket in tickets.items()
    }
    assert set(let_in) == set(order[:10])


@pytest.mark.parametrize("is_older", [False, True], ids=["same data", "older data"])
async def test_numbers_go_on_behind_all_that_were_given_and_tickets_keep_their_places(
    settings: Settings,
    service: Service,
    redis_server: EmbeddedRedis,
    data_dir: Path,
    tmp_path: Path,
    *,
    is_older: bool,
) -> None:
    await open_room(service, opens_in_s=-60)
    tickets = await joined(service, "a", "b", "c")
    copy_log(redis_server, data_dir, tmp_path / "copy")
    tickets |= await joined(service, "d", "e", "f", "g")
    await admit(service, threshold=LAST_RANK, serving=2)

    if is_older:
        restart_from(redis_server, data_dir, tmp_path / "copy")
    else:
        restart(redis_server)
    async with open_service(settings) as another:
        await refresh_memory(another)
        await revived(another)
        later = await joined(another, "x", "y")
        let_in = await admitted(another, tickets | later)

    numbers = [ticket.ticket.place for ticket in (tickets | later).values()]
    assert numbers[:7] == list(range(1, 8))
    assert len(set(numbers)) == 9
    assert min(numbers[7:]) > 10, "the block that was begun is skipped"
    assert let_in == ["a", "b"]


async def test_a_pass_is_the_same_after_a_restart(
    settings: Settings, service: Service, redis_server: EmbeddedRedis
) -> None:
    await open_room(service, opens_in_s=-60)
    ticket = (await joined(service, "candidate-1"))["candidate-1"]
    await admit(service, serving=1)
    before = await claim(service.stores.waiting_room, "exam-1", "candidate-1", ticket.text)

    restart(redis_server)
    async with open_service(settings) as another:
        await refresh_memory(another)
        await revived(another)
        after = await claim(another.stores.waiting_room, "exam-1", "candidate-1", ticket.text)

    assert (after.text, after.replayed) == (before.text, True)
