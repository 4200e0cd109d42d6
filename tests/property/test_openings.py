"""The opening of a waiting room moves at random, under two processes that hear of it when they may.

Nobody who can know the seed gets into the draw, nobody is let in while registration is not open,
and whoever has a ticket or a place has it still when registration is open in the end.
"""

import itertools
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from quota_service.app.opening import Service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import NotReady, NotYourTurn
from quota_service.domain.exam import Window
from quota_service.registration.waiting_room import Joined, claim, join
from quota_service.settings import Settings
from quota_service.waiting_room.room import LAST_RANK
from tests.support.admissions import RoomUnderTest, open_room
from tests.support.lost_shards import recover_shards
from tests.support.records import redis_now_ms
from tests.support.redis_clients import redis_of
from tests.support.rooms import process_beside
from tests.support.running_service import running_service

EXAMS = itertools.count(1)
EXAMPLES = 12
HOUR_MS = 3_600_000

action = st.sampled_from(
    [
        *(("join", 0), ("join", 1), ("claim", 0), ("claim", 1), ("hear", 1)),
        *(("admit",), ("admit",), ("redis is lost",)),
    ]
)
rounds = st.lists(
    st.tuples(st.sampled_from([-1000, HOUR_MS]), st.lists(action, min_size=2, max_size=6)),
    min_size=2,
    max_size=4,
)
"""The opening moves, to a second ago or to an hour from now, and then something happens."""


@dataclass
class History:
    """A room that opens in an hour, the processes that serve it, and what candidates have."""

    room: RoomUnderTest
    processes: tuple[Service, Service]
    tickets: dict[str, Joined] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)
    is_open: bool = False
    is_seed_known: bool = False

    async def take(self, verb: str, *args: Any) -> None:
        """Take one step, and check what it was answered; a shard that was lost may be not ready."""
        with suppress(NotReady):
            match (verb, *args):
                case ("join", at):
                    await self.join(self.processes[at])
                case ("claim", at):
                    await self.claim(self.processes[at])
                case ("hear", at):
                    await refresh_memory(self.processes[at])
                    await self.processes[at].stores.waiting_room.rooms.refresh()
                case _:
                    await self.go_on(verb)
        shown = [
            each.stores.waiting_room.rooms.current(self.room.exam.id) for each in self.processes
        ]
        self.is_seed_known |= any(each.document.seed is not None for each in shown)

    async def join(self, at: Service) -> None:
        candidate = f"candidate-{len(self.tickets)}"
        joined = await join(at.stores.waiting_room, self.room.exam.id, candidate)
        assert not (self.is_seed_known and joined.ticket.is_for_draw), candidate
        self.tickets[candidate] = joined

    async def claim(self, at: Service) -> None:
        for candidate, ticket in self.tickets.items():
            with suppress(NotYourTurn):
                await claim(at.stores.waiting_room, self.room.exam.id, candidate, ticket.text)
                assert self.is_open, f"{candidate} was let in"
                self.inside.add(candidate)

    async def move(self, opens_in_ms: int) -> None:
        opens_at_ms = await redis_now_ms(redis_of(self.room.service)) + opens_in_ms
        await self.room.move(Window(opens_at_ms, opens_at_ms + 100 * HOUR_MS))
        self.is_open = opens_in_ms < 0
        if not self.is_open:
            await self.let_time_pass()

    async def let_time_pass(self) -> None:
        """Let all places have been used two hours earlier."""
        client, places = redis_of(self.room.service), self.room.shard.key("places")
        for candidate in await client.zrange(places, 0, -1):
            await client.zincrby(places, -2 * HOUR_MS, candidate)

    async def go_on(self, verb: str) -> None:
        room = self.room
        if verb == "admit":
            if self.is_open:
                await self.let_everybody_in()
                await self.claim(room.service)
            before = await room.room()
            await room.second()
            after = await room.room()
            assert self.is_open or (before.threshold, before.late_threshold) == (
                after.threshold,
                after.late_threshold,
            )
        else:
            client = redis_of(room.service)
            async for key in client.scan_iter(match=f"{room.shard.tag}*", count=1000):
                await client.delete(key)
            await recover_shards(room.service)
            self.inside.clear()

    async def end(self) -> None:
        """Open registration and let everybody in: every ticket is worth what it was."""
        stores = self.room.service.stores
        for each in self.processes:
            await refresh_memory(each)
        await self.move(-1000)
        await self.let_everybody_in()
        for candidate, ticket in self.tickets.items():
            claimed = await claim(stores.waiting_room, self.room.exam.id, candidate, ticket.text)
            assert claimed.replayed or candidate not in self.inside, candidate

    async def let_everybody_in(self) -> None:
        await self.room.execute(
            "UPDATE waiting_rooms SET threshold = $2, serving = numbers_reserved WHERE exam = $1",
            LAST_RANK,
        )
        for each in self.processes:
            await each.stores.waiting_room.rooms.refresh()


async def live(service: Service, rounds: list[tuple[int, list[tuple[Any, ...]]]]) -> None:
    exam = f"exam-{next(EXAMS)}-o"
    room = await open_room(service, exam, opens_in_s=3600, claim_grace_s=3600)
    async with process_beside(service.settings) as other:
        history = History(room, (service, other))
        await history.take("join", 0)
        for opens_in_ms, actions in rounds:
            await history.move(opens_in_ms)
            for each in actions:
                await history.take(*each)
        await history.end()


def test_whatever_becomes_of_the_opening_nobody_loses_by_it(settings: Settings) -> None:
    with running_service(settings) as (runner, service):

        @hypothesis_settings(
            max_examples=EXAMPLES,
        )
        @given(rounds)
        @example([(-1000, [("admit",)]), (HOUR_MS, [("admit",), ("claim", 1)])])
        @example([(-1000, [("hear", 1)]), (HOUR_MS, [("redis is lost",), ("join", 0)])])
        @example([(HOUR_MS, [("join", 1)]), (-1000, [("join", 0), ("join", 1)])])
        def histories(rounds: list[tuple[int, list[tuple[Any, ...]]]]) -> None:
            runner.run(live(service, rounds))

        histories()
