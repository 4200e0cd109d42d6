"""The waiting room over both stores: its secrets, its claims, and what outlives a lost Redis."""

import dataclasses
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import (
    LedgerUnavailable,
    NotReady,
    NotYourTurn,
    TicketUsed,
    WaitingRoomOff,
)
from quota_service.registration.import_exam import import_exam
from quota_service.registration.room_cache import RoomRefresh
from quota_service.registration.waiting_room import claim, finish, join
from quota_service.settings import Settings
from quota_service.waiting_room.room import FIRST_RANK, LAST_RANK
from quota_service.waiting_room.status import Phase
from tests.support.lost_shards import lose_everything, recover_shards, rows
from tests.support.redis_clients import redis_of
from tests.support.rooms import (
    admit,
    let_open,
    number,
    open_room,
    process_beside,
    room_exam,
    stored,
)
from tests.support.waiting import eventually


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_limits(RoomRefresh(10))


@pytest.fixture
async def room(service: Service) -> Service:
    """A service whose exam has a room that opens in an hour."""
    await open_room(service)
    return service


@pytest.fixture
async def queue(service: Service) -> Service:
    """A service whose exam has a room without a draw: numbers from the start."""
    await open_room(service, opens_in_s=-60)
    return service


@pytest.fixture
async def other(settings: Settings, queue: Service) -> AsyncIterator[Service]:
    """Another process on the stores of `queue`."""
    assert queue.stores.registry.is_loaded
    async with process_beside(settings) as opened:
        yield opened


async def test_a_room_is_made_with_its_exam_and_keeps_its_secrets(room: Service) -> None:
    before = await stored(room)

    await open_room(room, rules={"rate_per_s": 5, "places_max": 7})
    after = await stored(room)

    assert len({before.seed, before.ticket_key, before.pass_key}) == 3
    assert (before.threshold, before.serving, before.opened_ms) == (FIRST_RANK, 0, None)
    assert (after.seed, after.ticket_key, after.pass_key) == (
        before.seed, before.ticket_key, before.pass_key
    )  # fmt: skip


async def test_two_exams_have_two_seeds(room: Service) -> None:
    await import_exam(room.stores.maintenance, room_exam("exam-2"))

    rooms = await room.stores.maintenance.waiting_rooms.all()

    assert len({each.seed for each in rooms.values()}) == 2


async def test_an_exam_without_a_room_gets_one_by_an_import_and_loses_it_by_another(
    service: Service,
) -> None:
    with pytest.raises(WaitingRoomOff):
        await number(service, "candidate-1")

    await open_room(service)
    exam = service.stores.registry.find("exam-1")
    with_room = await join(service.stores.waiting_room, "exam-1", "candidate-1")
    without = dataclasses.replace(exam, waiting_room=None)
    await import_exam(service.stores.maintenance, without, force=True)
    with pytest.raises(WaitingRoomOff):
        await number(service, "candidate-1")
    await import_exam(service.stores.maintenance, exam)
    again = await join(service.stores.waiting_room, "exam-1", "candidate-1")

    assert with_room.ticket.is_for_draw
    assert again.text == with_room.text


async def test_a_room_that_is_switched_on_after_the_opening_starts_with_numbers(
    queue: Service,
) -> None:
    found = await stored(queue)

    assert (found.threshold, found.late_threshold) == (LAST_RANK, LAST_RANK)
    assert found.opened_ms is not None
    assert await number(queue, "candidate-1") == 1


async def test_a_room_does_not_open_by_a_clock_that_is_not_redis_own(
    settings: Settings, room: Service
) -> None:
    await let_open(room)
    away = dataclasses.replace(settings, redis_url="redis://127.0.0.1:1")

    async with process_beside(away) as blind:
        shown = blind.stores.waiting_room.rooms.current("exam-1").document
        with pytest.raises(NotReady):
            blind.stores.clock.now_ms()
        with pytest.raises(NotReady):
            await join(blind.stores.waiting_room, "exam-1", "candidate-1")
    await room.stores.waiting_room.rooms.refresh()
    seen = room.stores.waiting_room.rooms.current("exam-1").document

    assert shown.phase is Phase.BEFORE
    assert seen.phase is not Phase.BEFORE
    assert seen.seed is not None


@pytest.mark.parametrize(
    ("constraint", "change"),
    [
        ("waiting_rooms_late_ranks", "late_threshold = repeat('1', 64)"),
        ("waiting_rooms_late_numbers", "late_through = 1"),
        ("waiting_rooms_numbers", f"threshold = '{LAST_RANK}', serving = 1"),
        ("waiting_rooms_draw_first", "serving = 1, numbers_reserved = 1"),
        ("waiting_rooms_threshold", "threshold = repeat('F', 64)"),
        ("waiting_rooms_seed", "seed = ''"),
        ("waiting_rooms_rate", "rate = 0"),
        ("waiting_rooms_lease", "leader = 'somebody'"),
    ],
)
async def test_postgres_refuses_a_position_that_cannot_be(
    room: Service, constraint: str, change: str
) -> None:
    async with room.stores.ledger.connection() as connection:
        with pytest.raises(asyncpg.CheckViolationError, match=constraint):
            async with connection.transaction():
                await connection.execute(f"UPDATE waiting_rooms SET {change}")  # noqa: S608


async def test_a_claim_asks_again_before_it_is_told_to_be_too_early(
    queue: Service, other: Service
) -> None:
    """One process knows since a moment that the turn has come; the other is asked."""
    ticket = await join(queue.stores.waiting_room, "exam-1", "candidate-1")
    await admit(queue, serving=1)
    assert other.stores.waiting_room.rooms.current("exam-1").status.room.serving == 0

    other.stores.waiting_room.rooms._looked_at = 0.0  # noqa: SLF001  its last look is long ago
    claimed = await claim(other.stores.waiting_room, "exam-1", "candidate-1", ticket.text)

    assert claimed.granted.place == 1
    assert not claimed.replayed


async def test_a_claim_that_comes_too_early_again_and_again_asks_postgres_seldom(
    queue: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = await join(queue.stores.waiting_room, "exam-1", "candidate-1")
    await queue.stores.waiting_room.rooms.refresh()
    looks = []
    real = type(queue.stores.maintenance.waiting_rooms).all

    async def counted(ledger: Any, *args: Any) -> Any:
        looks.append(ledger)
        return await real(ledger, *args)

    monkeypatch.setattr(type(queue.stores.maintenance.waiting_rooms), "all", counted)
    began_s = time.monotonic()
    for _ in range(50):
        with pytest.raises(NotYourTurn):
            await claim(queue.stores.waiting_room, "exam-1", "candidate-1", ticket.text)

    took_s = time.monotonic() - began_s
    assert len(looks) <= 2 + 4 * took_s


async def test_the_board_keeps_what_it_knows_while_a_store_is_away(
    queue: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await number(queue, "candidate-1")
    await queue.stores.waiting_room.rooms.refresh()
    before = queue.stores.waiting_room.rooms.current("exam-1")

    async def away(_self: object, *_args: object) -> None:
        raise LedgerUnavailable("postgres is away")

    monkeypatch.setattr(type(queue.stores.maintenance.waiting_rooms), "all", away)
    with pytest.raises(LedgerUnavailable):
        await queue.stores.waiting_room.rooms.refresh()
    await redis_of(queue).delete("{exam-1:0}:epoch")

    async def time_goes_on() -> bool:
        with pytest.raises(LedgerUnavailable):
            await queue.stores.waiting_room.rooms.refresh()
        document = queue.stores.waiting_room.rooms.current("exam-1").document
        return document.server_time_ms > before.document.server_time_ms

    await eventually(time_goes_on)
    after = queue.stores.waiting_room.rooms.current("exam-1")

    assert after is not before
    assert after.status == before.status
    assert after.status.counts.last_number == 1


async def test_a_place_ends_with_its_pass_however_often_it_is_used(queue: Service) -> None:
    await open_room(queue, opens_in_s=-60, rules={"pass_ttl_s": 60, "idle_s": 60})
    ticket = await join(queue.stores.waiting_room, "exam-1", "candidate-1")
    await admit(queue, serving=1)
    places = queue.stores.registry.shard("exam-1").key("places")

    granted = (await claim(queue.stores.waiting_room, "exam-1", "candidate-1", ticket.text)).granted
    free_ms = await redis_of(queue).zscore(places, "candidate-1")

    assert free_ms == granted.expires_ms


async def test_every_claim_is_counted_once_also_the_second_of_a_candidate(queue: Service) -> None:
    shard = queue.stores.registry.shard("exam-1")
    ticket = await join(queue.stores.waiting_room, "exam-1", "candidate-1")
    await admit(queue, serving=1)
    for _ in range(3):
        await claim(queue.stores.waiting_room, "exam-1", "candidate-1", ticket.text)
    await finish(queue.stores.waiting_room, "exam-1", "candidate-1")

    once = await queue.stores.waiting_room.room_statistics.read(shard)
    again = await join(queue.stores.waiting_room, "exam-1", "candidate-1")
    await admit(queue, serving=2)
    await claim(queue.stores.waiting_room, "exam-1", "candidate-1", again.text)
    twice = await queue.stores.waiting_room.room_statistics.read(shard)

    assert (once.claims, once.claimed) == (1, 1)
    assert (twice.claims, twice.claimed) == (2, 1)


async def test_finishing_is_for_who_has_a_place(queue: Service) -> None:
    ticket = await join(queue.stores.waiting_room, "exam-1", "candidate-1")
    await admit(queue, serving=1)
    await claim(queue.stores.waiting_room, "exam-1", "candidate-1", ticket.text)

    ends = [
        await finish(queue.stores.waiting_room, "exam-1", "nobody"),
        await finish(queue.stores.waiting_room, "exam-1", "candidate-1"),
        await finish(queue.stores.waiting_room, "exam-1", "candidate-1"),
    ]

    assert ends == [False, True, False]
    with pytest.raises(TicketUsed):
        await claim(queue.stores.waiting_room, "exam-1", "candidate-1", ticket.text)


async def test_a_draw_that_redis_forgot_is_as_large_as_it_was_known_to_be(room: Service) -> None:
    for i in range(20):
        await join(room.stores.waiting_room, "exam-1", f"candidate-{i}")
    await admit(room, drawn=20)

    await lose_everything(room)
    await recover_shards(room)
    await room.stores.waiting_room.rooms.refresh()

    assert room.stores.waiting_room.rooms.current("exam-1").document.waiting == 20
    assert await rows(room, "SELECT drawn FROM waiting_rooms") == [(20,)]
