"""Availability: what is left everywhere, from memory: looking costs the reserve path nothing.

Redis is asked at most once in a refresh interval for each exam, and only while someone looks; all
who wait at the time share one read. It answers the version first: while nothing was
changed nothing is read anew. A large exam is read page by page, and after that left alone for as
many times as long as it took, so that however large it is, looks take a small part of the time.

Of a quota under a ceiling no more is left than under the ceiling, which is read after the quotas.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from quota_service.domain.exam import Exam, Quota
from quota_service.registration.registry import ExamRegistry
from quota_service.seats.ceilings import CeilingStore
from quota_service.seats.replies import QuotaSeats, Totals
from quota_service.seats.store import SeatStore

_LEFT_ALONE = 4
"""How many times as long as the reading took an exam of several pages is left alone after it."""
_VENUES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class QuotaLeft:
    """What is left of one quota."""

    venue: str
    subject: str
    remaining: int
    capacity: int
    returned: int | None = None
    """Seats that wait for the next announced time; None where they wait for none."""


@dataclass(frozen=True, eq=False)
class Availability:
    """All quotas of an exam, with the time of the read (ms by Redis's clock).

    Every step up to the version is in it; where it was read in several pages, some later ones may
    be. Equal versions of one process, equal seats: `quotas` is the same object then.
    """

    exam: Exam
    epoch: int
    version: int
    as_of_ms: int
    quotas: tuple[QuotaLeft, ...]
    free: Mapping[str, int]
    """The subjects that have a seat at each venue, as bits in the exam's order."""

    @property
    def state_id(self) -> str:
        """What names this state of seats and definition, in an ETag and in events of the stream."""
        return f"{self.epoch}-{self.version}-{self.exam.revision}"

    def venues_with_all(self, subjects: Collection[str]) -> list[str]:
        """Return the venues that have a seat in every one of the subjects, in the exam's order."""
        bits, asked = subject_bits(self.exam), set(subjects)
        if not asked <= bits.keys():
            return []  # a stream goes on when a subject is gone that it was opened for
        wanted, free = sum(bits[subject] for subject in asked), self.free
        return [venue.id for venue in self.exam.venues if free.get(venue.id, 0) & wanted == wanted]


def subject_bits(exam: Exam) -> Mapping[str, int]:
    """Return the bit of each subject in `Availability.free`."""
    return {subject.id: 1 << i for i, subject in enumerate(exam.subjects)}


@dataclass(slots=True, eq=False)
class _Kept:
    """What is known of an exam under one definition and one epoch, and until when it is fresh."""

    exam: Exam
    epoch: int
    quotas: list[QuotaLeft] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)
    bits: Mapping[str, int] = field(default_factory=dict)
    free: dict[str, int] = field(default_factory=dict)
    availability: Availability | None = None
    fresh_until_s: float = 0.0

    async def lay_out(self) -> None:
        """Give every quota of the exam its place, in the order of venues and subjects."""
        self.bits = subject_bits(self.exam)
        for count, venue in enumerate(self.exam.venues):
            self.free[venue.id] = 0
            for subject in self.exam.subjects:
                if Quota(venue.id, subject.id) in self.exam.seats:
                    self.positions[f"{venue.id}/{subject.id}"] = len(self.quotas)
                    self.quotas.append(QuotaLeft(venue.id, subject.id, 0, 0))
            if count % _VENUES_AT_ONCE == _VENUES_AT_ONCE - 1:
                await asyncio.sleep(0)

    def take(self, page: Sequence[QuotaSeats], under: Mapping[str, int]) -> None:
        """Replace the state with the one read; an unchanged quota stays the same object.

        What is closed for sale has nothing left; `under` has what is left under ceilings.
        """
        for row in page:
            position = self.positions.get(row.name)
            if position is None:
                continue  # it is not in the definition any more
            was = self.quotas[position]
            is_closed = self.exam.is_closed(was.venue, (was.subject,))
            left = 0 if is_closed else row.remaining
            if under:
                session = self.exam.session_of[was.subject]
                left = min(left, under.get(f"{was.venue}/{session}", left))
            returned = row.returned if self.exam.returned.times else None
            if (was.remaining, was.capacity, was.returned) != (left, row.capacity, returned):
                quota = QuotaLeft(was.venue, was.subject, left, row.capacity, returned)
                self.quotas[position] = quota
                bit = self.bits[quota.subject]
                if quota.remaining > 0:
                    self.free[quota.venue] |= bit
                else:
                    self.free[quota.venue] &= ~bit


async def _as_it_is(_availability: Availability) -> None:
    """Get nothing ready."""


class AvailabilityCache:
    """The latest availability of every exam that was requested.

    `get_ready` is awaited with each one before it is answered.
    """

    def __init__(
        self,
        seats: SeatStore,
        ceilings: CeilingStore,
        registry: ExamRegistry,
        refresh_ms: int,
        get_ready: Callable[[Availability], Awaitable[None]] = _as_it_is,
    ) -> None:
        self._seats = seats
        self._ceilings = ceilings
        self._registry = registry
        self._refresh_s = refresh_ms / 1000
        self._get_ready = get_ready
        self._kept: dict[str, _Kept] = {}
        self._refreshing: dict[str, asyncio.Task[Availability]] = {}

    def fresh(self, exam_id: str) -> Availability | None:
        """Return the availability of an exam if it is in memory and not too old."""
        kept = self._kept.get(exam_id)
        if kept is None or time.monotonic() >= kept.fresh_until_s:
            return None
        return kept.availability

    async def current(self, exam_id: str) -> Availability:
        """Return the availability of an exam, no older than the refresh interval.

        That of an exam of several pages may be older by a few times what reading them takes.

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
        exam, shard = self._registry.find(exam_id), self._registry.shard(exam_id)
        kept = self._kept.get(exam_id)
        if kept is None or kept.exam is not exam or kept.epoch != shard.epoch:
            kept = _Kept(exam, shard.epoch)
            await kept.lay_out()
        known = kept.availability
        began_s = time.monotonic()
        looks: list[Totals] = []
        read: list[Sequence[QuotaSeats]] = []
        async for totals, page in self._seats.pages(
            shard, None if known is None else known.version
        ):
            looks.append(totals)
            if exam.ceilings and page:
                read.append(page)
            else:
                kept.take(page, {})
        if read:
            names = [f"{venue}/{session}" for venue, session in exam.ceilings]
            under = await self._ceilings.left(shard, names)
            for quotas_read in read:
                kept.take(quotas_read, under)
                await asyncio.sleep(0)
        took_s = time.monotonic() - began_s if len(looks) > 1 else 0.0
        first = looks[0]
        is_as_known = known is not None and known.version == first.version
        quotas = known.quotas if known is not None and is_as_known else tuple(kept.quotas)
        availability = Availability(
            exam, shard.epoch, first.version, first.clock_ms, quotas, kept.free.copy()
        )
        await self._get_ready(availability)
        kept.availability = availability
        kept.fresh_until_s = max(began_s + self._refresh_s, time.monotonic() + _LEFT_ALONE * took_s)
        self._kept[exam_id] = kept
        return availability
