"""Availability: what is left everywhere, from memory: looking costs the reserve path nothing.

Redis is asked at most once in a refresh interval for each exam, and only while someone looks; all
who wait at that moment share the one question.
"""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass

from quota_service.domain.exam import Exam, Quota
from quota_service.registration.registry import ExamRegistry
from quota_service.seats.store import SeatStore, ShardSnapshot

_ONLY_SHARD = 0
"""Exams have one shard as yet."""


@dataclass(frozen=True, slots=True)
class QuotaLeft:
    """What is left of one quota."""

    venue: str
    subject: str
    remaining: int
    capacity: int


@dataclass(frozen=True, slots=True, eq=False)
class Availability:
    """All quotas of an exam at one moment (ms by Redis's clock); equal versions, equal seats."""

    exam: Exam
    epoch: int
    version: int
    as_of_ms: int
    quotas: tuple[QuotaLeft, ...]

    @property
    def state_id(self) -> str:
        """What names this state of the seats, as an ETag does and as events of the stream do."""
        return f"{self.epoch}-{self.version}"

    def venues_with_all(self, subjects: Collection[str]) -> list[str]:
        """Return the venues that have a seat in every one of the subjects, in the exam's order."""
        free: dict[str, set[str]] = {}
        for quota in self.quotas:
            if quota.remaining > 0:
                free.setdefault(quota.venue, set()).add(quota.subject)
        wanted = set(subjects)
        return [venue.id for venue in self.exam.venues if wanted <= free.get(venue.id, set())]


class AvailabilityBoard:
    """The latest availability of every exam somebody asked about."""

    def __init__(self, seats: SeatStore, registry: ExamRegistry, refresh_ms: int) -> None:
        self._seats = seats
        self._registry = registry
        self._refresh_s = refresh_ms / 1000
        self._known: dict[str, tuple[float, Availability]] = {}
        self._refreshing: dict[str, asyncio.Task[Availability]] = {}

    def fresh(self, exam_id: str) -> Availability | None:
        """Return the availability of an exam if it is in memory and not too old."""
        read_at, known = self._known.get(exam_id, (0.0, None))
        return known if time.monotonic() - read_at < self._refresh_s else None

    async def current(self, exam_id: str) -> Availability:
        """Return the availability of an exam, no older than the refresh interval.

        Raises UnknownExam, NotReady and SeatsUnavailable: an old answer is never passed off as new.
        """
        known = self.fresh(exam_id)
        if known is not None:
            return known
        refreshing = self._refreshing.get(exam_id)
        if refreshing is None:
            refreshing = asyncio.get_running_loop().create_task(self._refresh(exam_id))
            self._refreshing[exam_id] = refreshing
            refreshing.add_done_callback(lambda _: self._refreshing.pop(exam_id, None))
        return await asyncio.shield(refreshing)

    async def _refresh(self, exam_id: str) -> Availability:
        exam = self._registry.find(exam_id)
        read_at = time.monotonic()
        snapshot = await self._seats.snapshot(self._registry.shard(exam_id, _ONLY_SHARD))
        availability = _availability(exam, snapshot)
        self._known[exam_id] = (read_at, availability)
        return availability


def _availability(exam: Exam, snapshot: ShardSnapshot) -> Availability:
    in_order = [Quota(venue.id, subject.id) for venue in exam.venues for subject in exam.subjects]
    quotas = tuple(
        QuotaLeft(
            quota.venue,
            quota.subject,
            snapshot.remaining.get(quota, 0),
            snapshot.capacity.get(quota, 0),
        )
        for quota in in_order
        if quota in exam.seats
    )
    return Availability(exam, snapshot.epoch, snapshot.version, snapshot.clock_ms, quotas)
