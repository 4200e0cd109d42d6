"""Draws with a public source for tests: exams that name one, and a drand chain of our own."""

import dataclasses
import hashlib
import time
from typing import Any

from quota_service.app.opening import Service
from quota_service.domain.exam import DrawSource, SourceKind, WaitingRoomRules
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings
from quota_service.waiting_room.room import Room, SourcedDraw
from quota_service.workers.draw import DrawWorker
from tests.support.rooms import room_exam

EVENT = "Lotto 6 of 49 of 14 March, the numbers in order of size"
OUTCOME = "03 11 17 22 28 30, 07"
CHAIN, ROUND = "ab" * 32, 4711
SIGNATURE = bytes(range(48))


def beacon(**changes: Any) -> dict[str, Any]:
    """Return what a server of drand answers for the round of `drand_source`."""
    return {
        "round": ROUND,
        "randomness": hashlib.sha256(SIGNATURE).hexdigest(),
        "signature": SIGNATURE.hex(),
        **changes,
    }


def event_source(now_ms: int, *, close_in_s: float, at_in_s: float) -> DrawSource:
    """Return an event whose draw is frozen, and which comes, at these times."""
    close_ms, at_ms = (round(now_ms + 1000 * s) for s in (close_in_s, at_in_s))
    return DrawSource(SourceKind.EVENT, close_ms, at_ms, description=EVENT)


def drand_source(now_ms: int, *, close_in_s: float, at_in_s: float) -> DrawSource:
    """Return a round whose draw is frozen, and which comes, at these times."""
    close_ms, at_ms = (round(now_ms + 1000 * s) for s in (close_in_s, at_in_s))
    return DrawSource(SourceKind.DRAND, close_ms, at_ms, chain=CHAIN, round=ROUND)


class DrawUnderTest:
    """The draw of an exam, whose times are moved by imports."""

    def __init__(self, service: Service, *, exam: str = "exam-1", is_drand: bool = False) -> None:
        self.service = service
        self.exam = exam
        self._make = drand_source if is_drand else event_source
        self.worker = DrawWorker(service.stores.waiting_room, service.settings)

    def fetches_from(self, *urls: str) -> None:
        """Let the worker fetch from these addresses."""
        settings: Settings = dataclasses.replace(self.service.settings, drand_relays=",".join(urls))
        self.worker = DrawWorker(self.service.stores.waiting_room, settings)

    async def define(
        self, *, close_in_s: float = 600, at_in_s: float = 1200, opens_in_s: float = 3600
    ) -> None:
        """Import the exam with these times."""
        now_ms = round(time.time() * 1000)
        exam = room_exam(self.exam, opens_in_s=opens_in_s, closes_in_s=opens_in_s + 7200)
        assert isinstance(exam.waiting_room, WaitingRoomRules)
        source = self._make(now_ms, close_in_s=close_in_s, at_in_s=at_in_s)
        rules = dataclasses.replace(exam.waiting_room, source=source)
        await import_exam(
            self.service.stores.maintenance, dataclasses.replace(exam, waiting_room=rules)
        )

    async def close(self, *, at_in_s: float = 600) -> None:
        """Let the time at which entries close be over, so that the draw is closed."""
        await self.define(close_in_s=-100, at_in_s=at_in_s)
        assert (await self.room()).is_draw_closed

    async def freeze(self, *, at_in_s: float = 600) -> SourcedDraw:
        """Let the entries be frozen, and return the draw."""
        await self.close(at_in_s=at_in_s)
        assert (await self.worker.run_once())["frozen"] == 1
        return await self.draw()

    async def room(self) -> Room:
        """Return the room as Postgres has it."""
        return (await self.service.stores.waiting_room.waiting_rooms.all())[self.exam]

    async def draw(self) -> SourcedDraw:
        """Return the draw as Postgres has it."""
        draw = (await self.room()).draw
        assert isinstance(draw, SourcedDraw)
        return draw

    async def entries(self) -> list[bytes]:
        """Return the entries in order."""
        async with self.service.stores.ledger.connection() as connection:
            rows = await connection.fetch(
                "SELECT leaf FROM draw_entries WHERE exam = $1 ORDER BY leaf", self.exam
            )
        return [row["leaf"] for row in rows]
