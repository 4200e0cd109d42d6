"""The opening of a waiting room moves: Redis alone says when it is, and nobody loses by it.

Over 400 lines because each way to move an opening has those before and after it.
"""

import dataclasses
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import (
    LedgerUnavailable,
    NotReady,
    NotYourTurn,
    Paused,
    RegistrationClosed,
    RegistrationNotOpen,
    TicketUsed,
)
from quota_service.domain.exam import Pause, Window
from quota_service.ledger.admission import Position
from quota_service.ledger.pool import Ledger
from quota_service.registration.pause import pause_exam, resume_exam
from quota_service.registration.reserve import Order, reserve
from quota_service.registration.room_cache import RoomRefresh
from quota_service.registration.waiting_room import Claimed, Joined, claim, finish, join
from quota_service.settings import Settings
from quota_service.waiting_room.document import PublicDocument
from quota_service.waiting_room.passes import Pass, write_pass
from quota_service.waiting_room.room import FIRST_RANK, LAST_RANK
from quota_service.waiting_room.status import Phase
from tests.support.admissions import RoomUnderTest, open_room
from tests.support.lost_shards import lose_everything, recover_shards
from tests.support.records import redis_now_ms
from tests.support.redis_clients import redis_of
from tests.support.rooms import process_beside
from tests.support.use_cases import DiedError

EXAM = "exam-2"
HOUR_MS = 3_600_000
IN_DRAW = [f"candidate-{n}" for n in range(20)]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return dataclasses.replace(settings, registry_refresh_s=10).with_limits(RoomRefresh(10))


@pytest.fixture
async def room(service: Service) -> RoomUnderTest:
    """A room that opens in an hour; its turns pass after a second."""
    return await open_room(service, opens_in_s=3600, claim_grace_s=1, pass_ttl_s=60, idle_s=30)


@pytest.fixture
async def other(settings: Settings, room: RoomUnderTest) -> AsyncIterator[Service]:
    """Another process, which has heard of the room as it was made."""
    assert room.service.stores.registry.is_loaded
    async with process_beside(settings) as opened:
        yield opened


async def move(room: RoomUnderTest, opens_in_ms: int) -> None:
    """Move the opening to so long from now."""
    opens_at_ms = await redis_now_ms(redis_of(room.service)) + opens_in_ms
    await room.move(Window(opens_at_ms, opens_at_ms + 2 * HOUR_MS))


async def joined(service: Service, *candidates: str) -> dict[str, Joined]:
    return {each: await join(service.stores.waiting_room, EXAM, each) for each in candidates}


async def try_claim(service: Service, candidate: str, ticket: Joined) -> Claimed | Exception:
    try:
        return await claim(service.stores.waiting_room, EXAM, candidate, ticket.text)
    except Exception as refusal:  # noqa: BLE001  what it is, is asserted
        return refusal


async def claims(service: Service, tickets: dict[str, Joined]) -> dict[str, Any]:
    await service.stores.waiting_room.rooms.refresh()
    return {each: await try_claim(service, each, ticket) for each, ticket in tickets.items()}


def document(service: Service) -> PublicDocument:
    return service.stores.waiting_room.rooms.current(EXAM).document


async def let_in_some(room: RoomUnderTest) -> None:
    """Let a part of the draw have its turn."""
    await room.second()
    await room.second()
    assert FIRST_RANK < (await room.room()).threshold < LAST_RANK


async def test_a_postponed_opening_keeps_the_draw_and_everybodys_turn(room: RoomUnderTest) -> None:
    tickets = await joined(room.service, *IN_DRAW)
    await move(room, -1000)
    await let_in_some(room)
    before = await room.room()
    rank = room.service.stores.waiting_room.rooms.current(EXAM).status.rank
    let_in = {each for each in tickets if rank(each) <= before.threshold}

    await move(room, HOUR_MS)
    admitted = [await room.second() for _ in range(6)]
    during = await claims(room.service, tickets)
    shown, stood = document(room.service), await room.room()
    newcomer = await joined(room.service, "newcomer")
    await move(room, -1000)
    after = await claims(room.service, tickets | newcomer)

    assert let_in
    assert admitted == [0] * 6
    assert {type(each) for each in during.values()} == {NotYourTurn}
    assert (shown.phase, stood.threshold) == (Phase.BEFORE, before.threshold)
    assert (stood.late_threshold, stood.late_through) == (FIRST_RANK, 0)
    assert {each for each, end in after.items() if isinstance(end, Claimed)} == let_in
    assert newcomer["newcomer"].ticket.place == 1
    assert type(after["newcomer"]) is NotYourTurn


async def test_a_draw_that_was_closed_takes_nobody_in_though_the_opening_is_postponed(
    room: RoomUnderTest,
) -> None:
    """Its seed is known: candidates could be made up until one has a low rank."""
    await move(room, -1000)
    await move(room, HOUR_MS)

    ticket = (await joined(room.service, "candidate-1"))["candidate-1"]

    assert document(room.service).seed is not None
    assert ticket.ticket.place == 1
    assert ticket.eta_s is not None
    assert ticket.eta_s > 3000


@pytest.mark.parametrize("left_ms", [500, 8_000, 60_000])
async def test_an_opening_that_is_postponed_before_it_came_has_not_come(
    room: RoomUnderTest, left_ms: int
) -> None:
    await move(room, left_ms)
    before = document(room.service)

    await move(room, HOUR_MS)
    admitted = [await room.second() for _ in range(2)]
    await room.service.stores.waiting_room.rooms.refresh()
    ticket = (await joined(room.service, "candidate-1"))["candidate-1"]

    assert before.seed is None
    assert document(room.service).seed is None
    assert document(room.service).phase is Phase.BEFORE
    assert admitted == [0, 0]
    assert ticket.ticket.is_for_draw


@pytest.mark.parametrize("is_paused", [False, True], ids=["running", "paused first"])
async def test_a_place_and_its_pass_outlive_a_postponed_opening(
    room: RoomUnderTest, *, is_paused: bool
) -> None:
    service, client = room.service, redis_of(room.service)
    tickets = await joined(service, "candidate-1", "candidate-2")
    await move(room, -1000)
    await room.execute("UPDATE waiting_rooms SET threshold = $2 WHERE exam = $1", LAST_RANK)
    await service.stores.waiting_room.admission.set_paused(EXAM, paused=is_paused)
    first = await claims(service, tickets)
    await finish(service.stores.waiting_room, EXAM, "candidate-2")
    order = Order("candidate-1", ("general",), ("jinan",), accepted_notice=True)

    await move(room, HOUR_MS)
    await age(room, "candidate-1", by_ms=120_000)
    await room.second()
    during = await claims(service, tickets)
    old_pass = await aged_pass(room, "candidate-1")
    with pytest.raises(RegistrationNotOpen):
        await reserve(service.stores.reservations, EXAM, order, "key-1", old_pass)
    await move(room, -1000)
    await room.second()
    after = await claims(service, tickets)
    await service.stores.waiting_room.rooms.refresh()
    reserved = [
        await reserve(service.stores.reservations, EXAM, order, "key-1", old_pass),
        await reserve(service.stores.reservations, EXAM, order, "key-1", after["candidate-1"].text),
    ]

    assert all(isinstance(each, Claimed) for each in first.values())
    assert {type(each) for each in during.values()} == {NotYourTurn}
    assert after["candidate-1"].replayed
    left_ms = after["candidate-1"].granted.expires_ms - await redis_now_ms(client)
    assert 50_000 < left_ms <= 60_000
    assert type(after["candidate-2"]) is TicketUsed
    assert [each.replayed for each in reserved] == [False, True]


async def age(room: RoomUnderTest, candidate: str, *, by_ms: int) -> None:
    """Let a candidate have claimed and used its place that much earlier."""
    client, shard = redis_of(room.service), room.shard
    await client.zincrby(shard.key("places"), -by_ms, candidate)
    place, expires_ms, epoch = (await client.hget(shard.key("passes"), candidate)).split("|")
    aged = f"{place}|{int(expires_ms) - by_ms}|{epoch}"
    await client.hset(shard.key("passes"), candidate, aged)


async def aged_pass(room: RoomUnderTest, candidate: str) -> str:
    """Return the pass that a candidate has by what Redis holds."""
    text = await redis_of(room.service).hget(room.shard.key("passes"), candidate)
    place, expires_ms, epoch = map(int, text.split("|"))
    granted = Pass(EXAM, candidate, place, expires_ms, epoch)
    return write_pass(room.service.stores.waiting_room.rooms.current(EXAM).status.room, granted)


async def test_places_are_idle_again_after_the_new_opening(room: RoomUnderTest) -> None:
    tickets = await joined(room.service, "candidate-1")
    await move(room, -1000)
    await room.execute("UPDATE waiting_rooms SET threshold = $2 WHERE exam = $1", LAST_RANK)
    await claims(room.service, tickets)
    await move(room, HOUR_MS)
    await age(room, "candidate-1", by_ms=120_000)

    await move(room, -29_000)
    kept = (await room.service.stores.waiting_room.room_statistics.read(room.shard)).places
    await move(room, -31_000)
    left = (await room.service.stores.waiting_room.room_statistics.read(room.shard)).places

    assert (kept, left) == (1, 0)


async def test_places_outlive_a_closed_registration_that_gets_a_new_opening(
    room: RoomUnderTest,
) -> None:
    tickets = await joined(room.service, "candidate-1")
    await move(room, -1000)
    await room.execute("UPDATE waiting_rooms SET threshold = $2 WHERE exam = $1", LAST_RANK)
    await claims(room.service, tickets)

    closed_ms = await redis_now_ms(redis_of(room.service)) - 1
    await room.move(Window(closed_ms - HOUR_MS, closed_ms))
    await age(room, "candidate-1", by_ms=120_000)
    admitted = await room.second()
    over = await claims(room.service, tickets)
    await move(room, -1000)
    await room.second()
    again = await claims(room.service, tickets)

    assert admitted == 0
    assert type(over["candidate-1"]) is RegistrationClosed
    assert again["candidate-1"].replayed


async def test_whoever_knows_the_seed_gets_into_no_draw_at_any_process(
    room: RoomUnderTest, other: Service
) -> None:
    """The other process has not heard that the opening was brought forward."""
    before = await joined(other, "candidate-1")

    await move(room, -1)
    seed = document(room.service).seed
    after = await joined(other, "candidate-2", "candidate-3")

    assert other.stores.registry.find(EXAM).registration != room.exam.registration
    assert before["candidate-1"].ticket.is_for_draw
    assert seed is not None
    assert [each.ticket.place for each in after.values()] == [1, 2]


async def test_a_process_that_has_not_heard_of_a_postponed_opening_lets_nobody_in(
    room: RoomUnderTest, other: Service
) -> None:
    tickets = await joined(room.service, *IN_DRAW)
    await move(room, -1000)
    await room.execute("UPDATE waiting_rooms SET threshold = $2 WHERE exam = $1", LAST_RANK)
    await refresh_memory(other)
    await other.stores.waiting_room.rooms.refresh()

    await move(room, HOUR_MS)
    ends = [await try_claim(other, each, ticket) for each, ticket in tickets.items()]

    assert document(other).phase is not Phase.BEFORE
    assert {type(each) for each in ends} == {NotYourTurn}
    assert {each.poll_after_s for each in ends if isinstance(each, NotYourTurn)} != {1.0}


async def test_the_seed_is_secret_until_both_stores_know_the_draw_to_be_closed(
    room: RoomUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_self: Ledger) -> None:
        raise LedgerUnavailable("postgres is away")

    await open_in_redis(room)
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "transaction", away)
        await room.service.stores.waiting_room.rooms.refresh()
        secret = document(room.service)
        let_in = [await room.second() for _ in range(2)]
    await room.service.stores.waiting_room.rooms.refresh()
    shown = document(room.service)

    assert (secret.seed, secret.phase, let_in) == (None, Phase.BEFORE, [0, 0])
    assert (shown.seed is None, shown.phase) == (False, Phase.DRAW)


@pytest.mark.parametrize("line", ["look: draw closed in redis", "look: draw closed in postgres"])
async def test_a_process_that_dies_while_it_closes_a_draw_lets_nobody_into_it(
    settings: Settings, room: RoomUnderTest, other: Service, line: str
) -> None:
    def failpoint(now: str) -> None:
        if now == line:
            raise DiedError(line)

    async with process_beside(settings, failpoint) as mortal:
        await open_in_redis(room)
        with pytest.raises(DiedError):
            await mortal.stores.waiting_room.rooms.refresh()
        assert document(mortal).seed is None
    await move(room, HOUR_MS)
    ticket = (await joined(other, "candidate-1"))["candidate-1"]
    await other.stores.waiting_room.rooms.refresh()

    assert ticket.ticket.place == 1
    assert document(other).seed is not None
    assert (await room.room()).is_draw_closed


async def open_in_redis(room: RoomUnderTest) -> None:
    """Let registration have opened a second ago, and nobody have looked yet."""
    client = redis_of(room.service)
    opens_at_ms = await redis_now_ms(client) - 1000
    await client.hset(room.shard.key("definition"), "opens_at_ms", opens_at_ms)


async def test_a_redis_that_lives_in_the_past_reveals_no_seed(room: RoomUnderTest) -> None:
    past = (EXAM, room.shard.epoch)
    await lose_everything(room.service)
    await recover_shards(room.service)

    with pytest.raises(NotReady):
        await room.service.stores.maintenance.waiting_rooms.note_draw_closed(past)

    assert not (await room.room()).is_draw_closed


async def test_a_redis_that_was_lost_takes_nobody_into_a_draw_that_was_closed(
    room: RoomUnderTest, other: Service
) -> None:
    """Its definition says that the opening is to come; what had been is known to Postgres alone."""
    await move(room, -1000)
    await move(room, HOUR_MS)

    await lose_everything(room.service)
    await recover_shards(room.service)
    await refresh_memory(other)
    ticket = (await joined(other, "candidate-1"))["candidate-1"]

    assert not other.stores.waiting_room.rooms.current(EXAM).status.room.is_draw_closed
    assert ticket.ticket.place == 1


async def test_a_step_that_was_decided_by_another_definition_is_refused(
    room: RoomUnderTest,
) -> None:
    await joined(room.service, *IN_DRAW)
    await move(room, -1000)
    await room.second()
    known = room.exam

    await move(room, HOUR_MS)
    room.exam = known
    unheard = await room.second()
    await room.end_lease()
    lease = await room.service.stores.waiting_room.admission.lease(EXAM, "leader-1", 60)
    assert lease is not None
    to = Position(LAST_RANK, 0, 10, 0, 1000)
    written = await room.service.stores.waiting_room.admission.step(
        lease.room, known.revision, to, 1000
    )

    assert (unheard, written) == (0, False)
    assert (await room.room()).threshold == FIRST_RANK


async def test_those_let_in_before_a_postponed_opening_are_expected_after_it(
    room: RoomUnderTest,
) -> None:
    await joined(room.service, *IN_DRAW)
    await move(room, -1000)
    await let_in_some(room)
    turnout = room.leader._memories[EXAM].turnout  # noqa: SLF001  what it remembers is not told
    let_in = turnout.coming(time.monotonic(), 0)

    await move(room, HOUR_MS)
    await room.second()

    assert turnout.coming(time.monotonic() + turnout.window_s / 2, 0) == let_in > 0


PAUSE = Pause("", "", stops_changes=False, reason="a test", retry_after_s=60, since_ms=0)


async def let_in(room: RoomUnderTest, *candidates: str) -> dict[str, Joined]:
    """Let candidates have a place; return their tickets."""
    tickets = await joined(room.service, *candidates)
    await move(room, -HOUR_MS // 2)
    await room.execute("UPDATE waiting_rooms SET threshold = $2 WHERE exam = $1", LAST_RANK)
    claimed = await claims(room.service, tickets)
    assert all(isinstance(each, Claimed) for each in claimed.values())
    return tickets


async def resume(room: RoomUnderTest) -> None:
    stores = room.service.stores.maintenance
    await resume_exam(stores, EXAM, "", "", "", extend_holds=False)
    room.exam = room.service.stores.registry.find(EXAM)


async def test_a_place_and_its_pass_outlive_a_pause(room: RoomUnderTest, other: Service) -> None:
    service, client = room.service, redis_of(room.service)
    tickets = await let_in(room, "candidate-1", "candidate-2")
    await refresh_memory(other)
    await finish(service.stores.waiting_room, EXAM, "candidate-2")
    order = Order("candidate-1", ("general",), ("jinan",), accepted_notice=True)

    await pause_exam(service.stores, EXAM, PAUSE)
    room.exam = service.stores.registry.find(EXAM)
    await age(room, "candidate-1", by_ms=120_000)
    await room.second()
    during = await claims(other, tickets)  # it has not heard of the pause
    old_pass = await aged_pass(room, "candidate-1")
    with pytest.raises(Paused):
        await reserve(service.stores.reservations, EXAM, order, "key-1", old_pass)
    await resume(room)
    await room.second()
    after = await claims(service, tickets)
    reserved = [
        await reserve(service.stores.reservations, EXAM, order, "key-1", old_pass),
        await reserve(service.stores.reservations, EXAM, order, "key-1", after["candidate-1"].text),
    ]

    assert {type(each) for each in during.values()} == {Paused}
    assert after["candidate-1"].replayed
    left_ms = after["candidate-1"].granted.expires_ms - await redis_now_ms(client)
    assert 0 < left_ms <= 60_000
    assert type(after["candidate-2"]) is TicketUsed
    assert [each.replayed for each in reserved] == [False, True]


async def test_places_are_idle_again_after_a_pause(room: RoomUnderTest) -> None:
    await let_in(room, "candidate-1")
    statistics = room.service.stores.waiting_room.room_statistics
    await pause_exam(room.service.stores, EXAM, PAUSE)
    await age(room, "candidate-1", by_ms=120_000)
    during = (await statistics.read(room.shard)).places
    await resume(room)
    kept = (await statistics.read(room.shard)).places
    definition = room.shard.key("definition")
    await redis_of(room.service).hincrby(definition, "resumed_at_ms", -31_000)

    assert (during, kept, (await statistics.read(room.shard)).places) == (1, 1, 0)


async def test_a_pause_of_a_part_keeps_no_place(room: RoomUnderTest) -> None:
    await let_in(room, "candidate-1")
    statistics = room.service.stores.waiting_room.room_statistics

    await pause_exam(room.service.stores, EXAM, dataclasses.replace(PAUSE, venue="jinan"))
    await age(room, "candidate-1", by_ms=120_000)

    assert (await statistics.read(room.shard)).places == 0
