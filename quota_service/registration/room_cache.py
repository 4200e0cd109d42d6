"""The waiting rooms as this process knows them: looking costs neither store anything.

The rooms are read from Postgres and counted in Redis once a second, for all exams together. With a
store unavailable the last state stays, and no turn comes meanwhile.

An opening closes the draw, and then its seed is shown:

    1. a script that sees the opening in force in Redis come closes the draw there: from then on
       candidates who join, at any process, get a number
    2. note in Postgres that the draw is closed, fenced by the epoch of the shard
    3. show the seed

So no candidate who knows the seed gets into the draw, even if a process missed the opening; the
seed is shown by the first look after the opening. A process that dies before 2 has shown nothing:
the next look does it. One that dies after 2 has shown nothing either, and others do. A Redis that
has lost 1 is recovered with what 2 noted, and notes of the epoch before are refused by then.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quota_service.domain.errors import NotReady, Unavailable, WaitingRoomOff
from quota_service.domain.exam import Exam
from quota_service.ledger.waiting_rooms import WaitingRoomLedger
from quota_service.registration.registry import ExamRegistry
from quota_service.seats.clock import RedisClock
from quota_service.seats.rooms import RoomStore
from quota_service.waiting_room.document import Polling, PublicDocument, public_document
from quota_service.waiting_room.room import Room
from quota_service.waiting_room.status import Counts, RoomStatus

log = logging.getLogger(__name__)


_LOOK_AGAIN_S = 0.25
"""How old a look must be before a claim that seems to come too early asks for another one."""


@dataclass(frozen=True, slots=True, eq=False)
class ShownRoom:
    """A waiting room as it was at the last look; a new look is another object."""

    status: RoomStatus
    document: PublicDocument


@dataclass(frozen=True, slots=True)
class RoomRefresh:
    """How often the public documents of waiting rooms are made anew."""

    interval_s: float = 1.0


class WaitingRoomCache:
    """The waiting room of every exam that has one, as it was when `refresh` last ran."""

    def __init__(
        self,
        rooms: WaitingRoomLedger,
        store: RoomStore,
        registry: ExamRegistry,
        *,
        polling: Polling,
        clock: RedisClock,
        patience_s: float,
        failpoint: Callable[[str], None],
    ) -> None:
        """Take `patience_s`: how long a room whose server hangs holds up the others."""
        self._rooms = rooms
        self._store = store
        self._registry = registry
        self._polling = polling
        self._patience_s = patience_s
        self._clock = clock
        self.now_ms = clock.now_ms
        self._failpoint = failpoint
        # It keeps clients apart and is no secret. It is not the generator that others may have
        # seeded: a look that comes by itself must not take from theirs.
        self._chance = random.Random()  # noqa: S311
        self._shown: Mapping[str, ShownRoom] = {}
        self._shown_over: frozenset[str] = frozenset()
        self._looked_at = 0.0
        self.read_at_s = -math.inf
        """When the rooms were read last, by the monotonic clock."""
        self._looking: asyncio.Task[None] | None = None

    def current(self, exam_id: str) -> ShownRoom:
        """Return the room of an exam; UnknownExam, or WaitingRoomOff when the exam has none.

        NotReady is raised while an exam that has one is new to this process.
        """
        exam = self._registry.find(exam_id)
        if exam.waiting_room is None:
            raise WaitingRoomOff
        shown = self._shown.get(exam_id)
        if shown is None:
            raise NotReady(f"the waiting room of exam {exam_id} has not been read yet")
        return shown

    def poll_after_s(self, eta_s: float) -> float:
        """Return after how many seconds a candidate with this wait is to poll again."""
        return self._polling.after_s(eta_s, self._jitter())

    async def refresh(self) -> None:
        """Look at every room, as it is from now on; all who ask for it at once share one look.

        LedgerUnavailable leaves what is known of the rooms, and the documents go on telling it.
        """
        if self._looking is not None:
            await asyncio.wait({self._looking})  # it may have begun before what we are to see
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
            self._looking.add_done_callback(self._looked)
        await asyncio.shield(self._looking)

    async def look_again(self) -> None:
        """Refresh, unless that was done just now or a store is away."""
        if time.monotonic() - self._looked_at >= _LOOK_AGAIN_S:
            try:
                await self.refresh()
            except Unavailable as error:
                log.info("waiting rooms cannot be refreshed", extra={"cause": str(error)})

    def _looked(self, task: "asyncio.Task[None]") -> None:
        self._looking = None
        if not task.cancelled():
            task.exception()  # its callers may have left

    async def _look(self) -> None:
        with_room = [exam for exam in self._registry.all() if exam.waiting_room is not None]
        over = frozenset(self._registry.progress().over)
        # Nothing changes any more in the room of an exam that is over.
        kept = {
            exam.id: shown
            for exam in with_room
            if exam.id in over & self._shown_over
            and (shown := self._shown.get(exam.id)) is not None
            and shown.status.exam is exam
        }
        with_room = [exam for exam in with_room if exam.id not in kept]
        if not with_room:
            self._shown = kept
            return
        await self._clock.learn()
        self._looked_at = time.monotonic()
        try:
            rooms = await self._rooms.all([exam.id for exam in with_room])
        except Unavailable:
            rooms = {exam: shown.status.room for exam, shown in self._shown.items()}
            self._shown = kept | await self._show(with_room, rooms, may_note=False)
            raise
        self.read_at_s = time.monotonic()
        self._shown = kept | await self._show(with_room, rooms)
        self._shown_over = over & self._shown.keys()

    async def _show(
        self, exams: list[Exam], rooms: Mapping[str, Room], *, may_note: bool = True
    ) -> dict[str, ShownRoom]:
        known = [(exam, rooms[exam.id]) for exam in exams if exam.id in rooms]
        asked = await asyncio.gather(
            *(self._ask(room, self._shown.get(exam.id), may_note=may_note) for exam, room in known)
        )
        shown = {}
        for (exam, _), (room, counts) in zip(known, asked, strict=True):
            if (rules := exam.waiting_room) is not None:
                before = self._shown.get(exam.id)
                status = RoomStatus(exam, rules, room, counts)
                document = public_document(
                    status,
                    self._polling,
                    now_ms=self._clock.earliest_ms(),
                    jitter=self._jitter(),
                    before=None if before is None else before.document,
                )
                shown[exam.id] = ShownRoom(status, document)
        return shown

    async def _ask(
        self, room: Room, before: ShownRoom | None, *, may_note: bool
    ) -> tuple[Room, Counts]:
        """Count in Redis, and note that the draw is closed where Redis says so.

        The last known state stays while a store is unavailable.
        """
        try:
            shard = self._registry.shard(room.exam)
            async with asyncio.timeout(self._patience_s):
                counts = await self._store.counts(shard, is_draw_closed=room.is_draw_closed)
        except (Unavailable, TimeoutError) as error:
            extra = {"exam": room.exam, "cause": str(error) or "no answer in time"}
            log.info("waiting room cannot be counted", extra=extra)
            return room, Counts() if before is None else before.status.counts
        if may_note and counts.is_draw_closed and not room.is_draw_closed:
            self._failpoint("look: draw closed in redis")
            try:
                room = await self._rooms.note_draw_closed((shard.exam, shard.epoch))
                self._failpoint("look: draw closed in postgres")
            except Unavailable as error:
                extra = {"exam": room.exam, "cause": str(error)}
                log.info("seed of a draw cannot be published yet", extra=extra)
        return room, counts

    def _jitter(self) -> float:
        return self._chance.uniform(-1, 1)
