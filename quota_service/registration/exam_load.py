"""The load of an exam, for the screen of ops: what comes, what is let in, held, refused and left.

All of it is read from what the stores hold anyway. Each process reads an exam at most once a second
however many look, and after a reading that took long leaves the stores alone for some time, so that
the screens take a small part of their time when it is scarce.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from quota_service.ledger.reading import StepsOfSecond
from quota_service.ledger.refusals import RefusalLedger, RefusedInMinute
from quota_service.registration.stores import WaitingRoomStores
from quota_service.seats.replies import ShardSnapshot
from quota_service.seats.room_statistics import RoomStatistics
from quota_service.waiting_room.document import PublicDocument
from quota_service.waiting_room.status import RoomStatus

SECONDS = 10
"""How many seconds are told of; a screen keeps those before."""
MINUTES = 10
"""How many minutes of refusals are told of."""
_FRESH_S = 1.0
_LEFT_ALONE = 4
"""How many times as long as the reading took the stores are left alone after it."""
_ENTRIES_MAX = 20_000
"""Journal entries of a reading: some 10 ms of Postgres."""
_UNSETTLED_MS = 1000
"""How long the journal takes to be drained, at most, while all is well."""


@dataclass(frozen=True, slots=True)
class RoomLoad:
    """A waiting room: how it is steered and shown, and what was counted in it."""

    status: RoomStatus
    document: PublicDocument
    statistics: RoomStatistics


@dataclass(frozen=True, slots=True)
class ExamLoad:
    """An exam at one moment, by Redis's clock; `room` is None where it has no waiting room.

    `seconds` are whole and in order, and the last of them is over for a second. They are fewer
    where there was much to read.
    """

    exam: str
    as_of_ms: int
    room: RoomLoad | None
    seats: ShardSnapshot
    seconds: Sequence[StepsOfSecond]
    refusals: Sequence[RefusedInMinute]

    def seats_of(self, venue: str, subject: str) -> tuple[int, ...]:
        """Return the seats of a venue and subject, "" for every one: capacity, and its parts.

        The parts are in the order of `ShardSnapshot.parts_of`.
        """
        return tuple(
            sum(column)
            for column in zip(
                (0,) * 7,
                *(
                    (capacity, *self.seats.parts_of(quota))
                    for quota, capacity in self.seats.capacity.items()
                    if venue in {"", quota.venue} and subject in {"", quota.subject}
                ),
                strict=True,
            )
        )


class ExamLoads:
    """The load of every exam that ops have looked at lately."""

    def __init__(self, stores: WaitingRoomStores, refusals: RefusalLedger) -> None:
        self._stores = stores
        self._refusals = refusals
        self._kept: dict[str, tuple[ExamLoad, float]] = {}
        self._reading: dict[str, asyncio.Task[ExamLoad]] = {}

    async def current(self, exam: str) -> ExamLoad:
        """Return the load of an exam; all who ask for it at once share one reading.

        Raises UnknownExam, NotReady, SeatsUnavailable and LedgerUnavailable.
        """
        self._stores.registry.find(exam)
        kept = self._kept.get(exam)
        if kept is not None and time.monotonic() < kept[1]:
            return kept[0]
        reading = self._reading.get(exam)
        if reading is None:
            reading = asyncio.get_running_loop().create_task(self._read(exam))
            self._reading[exam] = reading
            reading.add_done_callback(lambda _: self._reading.pop(exam, None))
        return await asyncio.shield(reading)

    async def _read(self, exam: str) -> ExamLoad:
        began_s = time.monotonic()
        stores, shard = self._stores, self._stores.registry.shard(exam)
        seats = await stores.seats.snapshot(shard)
        room = await self._room(exam)
        until_ms = seats.clock_ms // 1000 * 1000 - _UNSETTLED_MS
        from_ms = until_ms - SECONDS * 1000
        seconds = await stores.reader.steps_by_second(exam, from_ms, until_ms, _ENTRIES_MAX)
        refusals = await self._refusals.by_minute(exam, MINUTES)
        load = ExamLoad(exam, seats.clock_ms, room, seats, seconds, refusals)
        now_s = time.monotonic()
        self._kept[exam] = load, max(began_s + _FRESH_S, now_s + _LEFT_ALONE * (now_s - began_s))
        return load

    async def _room(self, exam: str) -> RoomLoad | None:
        stores = self._stores
        if stores.registry.find(exam).waiting_room is None:
            return None
        shown = stores.rooms.current(exam)
        statistics = await stores.room_statistics.read(stores.registry.shard(exam))
        return RoomLoad(shown.status, shown.document, statistics)
