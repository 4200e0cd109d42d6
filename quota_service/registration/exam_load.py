"""The load of an exam, for the screen of ops: what comes, what is let in, held, refused and left.

All of it is read from what the stores hold anyway. Each process reads an exam at most once a second
however many look. The quotas of a large exam take longer to read than the rest, so they are read
beside it, less often: the rest is told with the quotas that were read last. After a reading that
took long the stores are left alone for some time, so that screens take a small part of their time
when it is scarce.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from quota_service.ledger.reading import StepsOfSecond
from quota_service.ledger.refusals import RefusalLedger, RefusedInMinute
from quota_service.registration.stores import WaitingRoomStores
from quota_service.seats.keys import Shard
from quota_service.seats.replies import ShardSnapshot, Totals
from quota_service.seats.room_statistics import RoomStatistics
from quota_service.waiting_room.document import PublicDocument
from quota_service.waiting_room.status import RoomStatus

Read = TypeVar("Read")
SECONDS = 10
"""How many seconds are told of; a screen keeps those before."""
MINUTES = 10
"""How many minutes of refusals are told of."""
_FRESH_S = 1.0
_LEFT_ALONE = 4
"""How many times as long as the reading took the stores are left alone after it."""
_OLD_SEATS_AFTER_S = 0.25
"""How long a reading of the quotas is waited for before those that are known are told."""
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
    where there was much to read. `seats` may be older than `totals`.
    """

    exam: str
    as_of_ms: int
    room: RoomLoad | None
    totals: Totals
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


@dataclass(frozen=True, slots=True)
class _Kept(Generic[Read]):
    """What was read, and until when (monotonic clock, s) it is not read again."""

    read: Read
    fresh_until_s: float


class _Readings(Generic[Read]):
    """What was read last of every exam; all who ask at once share one reading."""

    def __init__(self, read: Callable[[Shard], Awaitable[Read]]) -> None:
        self._read = read
        self._kept: dict[str, _Kept[Read]] = {}
        self._reading: dict[str, asyncio.Task[Read]] = {}

    async def current(self, shard: Shard, old_after_s: float | None = None) -> Read:
        """Return what is fresh, or read; what is known is returned after `old_after_s` instead."""
        kept = self._kept.get(shard.exam)
        if kept is not None and time.monotonic() < kept.fresh_until_s:
            return kept.read
        reading = self._reading.get(shard.exam)
        if reading is None:
            reading = asyncio.get_running_loop().create_task(self._renew(shard))
            self._reading[shard.exam] = reading
            reading.add_done_callback(lambda task: self._is_read(shard.exam, task))
        if kept is not None and old_after_s is not None:
            done, _ = await asyncio.wait({reading}, timeout=old_after_s)
            if not done:
                return kept.read
        return await asyncio.shield(reading)

    async def _renew(self, shard: Shard) -> Read:
        began_s = time.monotonic()
        read = await self._read(shard)
        now_s = time.monotonic()
        fresh_until_s = max(began_s + _FRESH_S, now_s + _LEFT_ALONE * (now_s - began_s))
        self._kept[shard.exam] = _Kept(read, fresh_until_s)
        return read

    def _is_read(self, exam: str, task: "asyncio.Task[Read]") -> None:
        self._reading.pop(exam, None)
        if not task.cancelled():
            task.exception()  # those who asked may have left


class ExamLoads:
    """The load of every exam that ops have looked at lately."""

    def __init__(self, stores: WaitingRoomStores, refusals: RefusalLedger) -> None:
        self._stores = stores
        self._refusals = refusals
        self._loads = _Readings(self._read)
        self._seats = _Readings(self._read_seats)

    async def current(self, exam: str) -> ExamLoad:
        """Return the load of an exam; all who ask for it at once share one reading.

        Raises UnknownExam, NotReady, SeatsUnavailable and LedgerUnavailable.
        """
        self._stores.registry.find(exam)
        return await self._loads.current(self._stores.registry.shard(exam))

    async def _read(self, shard: Shard) -> ExamLoad:
        stores, exam = self._stores, shard.exam
        totals = await stores.seats.totals(shard)
        seats = await self._seats.current(shard, _OLD_SEATS_AFTER_S)
        room = await self._room(shard)
        until_ms = totals.clock_ms // 1000 * 1000 - _UNSETTLED_MS
        from_ms = until_ms - SECONDS * 1000
        seconds = await stores.reader.steps_by_second(exam, from_ms, until_ms, _ENTRIES_MAX)
        refusals = await self._refusals.by_minute(exam, MINUTES)
        return ExamLoad(exam, totals.clock_ms, room, totals, seats, seconds, refusals)

    async def _read_seats(self, shard: Shard) -> ShardSnapshot:
        return await self._stores.seats.snapshot(shard)

    async def _room(self, shard: Shard) -> RoomLoad | None:
        stores = self._stores
        if stores.registry.find(shard.exam).waiting_room is None:
            return None
        shown = stores.rooms.current(shard.exam)
        statistics = await stores.room_statistics.read(shard)
        return RoomLoad(shown.status, shown.document, statistics)
