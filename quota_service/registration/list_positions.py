"""Positions in the waiting lists, from memory: all who wait may look at once.

Each process reads a list when somebody looks at it, and again after a while. An entry is looked for
by its place in the order, so one that is newer than what was read has a position too.
"""

import asyncio
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from quota_service.ledger.waiting_list import WaitingListLedger
from quota_service.slices import in_slices
from quota_service.waiting_list.entry import Entry, Place

_SHARE_MAX = 20
"""A list is not read again for so many times as long as reading it took."""
_FORGOTTEN_S = 60.0
"""A list nobody looks at is forgotten after so long."""


@dataclass(frozen=True, slots=True)
class PositionLimits:
    """How fresh positions are."""

    interval_s: float = 2.0
    """Pause between two readings of a list."""


@dataclass(slots=True)
class _Queues:
    """A list as it was read: the places of those who wait for each quota, and who was offered."""

    places: Mapping[str, list[Place]]
    offered_within_a_day: Mapping[str, int]
    fresh_until_s: float
    asked_s: float


class ListPositions:
    """The lists that this process was asked about."""

    def __init__(self, ledger: WaitingListLedger, limits: PositionLimits) -> None:
        self._ledger = ledger
        self._limits = limits
        self._queues: dict[str, _Queues] = {}
        self._reading: dict[str, asyncio.Task[_Queues]] = {}

    async def ahead(self, entry: Entry) -> int:
        """Return how many wait before an entry at the venue where fewest do.

        At a venue it is the subject that counts which most wait for. Raises LedgerUnavailable.
        """
        queues = await self._of(entry.exam)
        return min(
            max(
                bisect_left(queues.places.get(f"{venue}/{subject}", ()), entry.place)
                for subject in entry.subjects
            )
            for venue in entry.venues
        )

    async def offered_within_a_day(self, entry: Entry) -> int | None:
        """Return how many who wanted a quota of an entry were offered seats within a day.

        It is that of the quota of which most were; None where none of any ever was.
        """
        offered = (await self._of(entry.exam)).offered_within_a_day
        quotas = (f"{venue}/{subject}" for venue in entry.venues for subject in entry.subjects)
        return max((offered[quota] for quota in quotas if quota in offered), default=None)

    async def _of(self, exam: str) -> _Queues:
        now_s = time.monotonic()
        queues = self._queues.get(exam)
        if queues is None or now_s >= queues.fresh_until_s:
            reading = self._reading.get(exam)
            if reading is None:
                reading = self._reading[exam] = asyncio.create_task(self._read(exam))
                reading.add_done_callback(lambda _: self._reading.pop(exam, None))
                reading.add_done_callback(lambda task: task.cancelled() or task.exception())
            queues = await asyncio.shield(reading)
        queues.asked_s = now_s
        return queues

    async def _read(self, exam: str) -> _Queues:
        began_s = time.monotonic()
        places: defaultdict[str, list[Place]] = defaultdict(list)
        async for waiting in in_slices(await self._ledger.queue(exam)):
            for venue in waiting.venues:
                for subject in waiting.subjects:
                    places[f"{venue}/{subject}"].append(waiting.place)
        offered = await self._ledger.offered_by_quota(exam)
        now_s = time.monotonic()
        pause_s = max(self._limits.interval_s, _SHARE_MAX * (now_s - began_s))
        queues = _Queues(places, offered, now_s + pause_s, now_s)
        kept = {e: q for e, q in self._queues.items() if q.asked_s > now_s - _FORGOTTEN_S}
        self._queues = {**kept, exam: queues}
        return queues
