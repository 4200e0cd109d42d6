"""The exams this process serves, held in memory so that no request waits for Postgres."""

import asyncio
import functools
import math
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quota_service.domain.errors import ExamArchived, NotReady, UnknownExam, UnknownReservation
from quota_service.domain.exam import Exam
from quota_service.domain.reservation import ReservationId
from quota_service.ledger.exams import ExamLedger, ShardState, StoredExam
from quota_service.seats.clock import RedisClock
from quota_service.seats.keys import Shard

_FINISHING_MS = 3_600_000
"""How long after its end an exam goes on for workers: what was begun by then has ended."""


@dataclass(frozen=True, slots=True)
class UsedShard:
    """A shard that was opened once, and whether it is open or fenced."""

    shard: Shard
    is_open: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """The exams that go on, those that are over, and those that could not be loaded, by id."""

    going_on: tuple[str, ...]
    over: tuple[str, ...]
    not_loaded: tuple[str, ...] = ()

    @property
    def watched(self) -> tuple[str, ...]:
        """The exams whose shards are polled."""
        return self.going_on + self.not_loaded


class ExamRegistry:
    """Every exam as it was when `refresh` last ran, which the app does again and again."""

    def __init__(self, ledger: ExamLedger, clock: RedisClock | None = None) -> None:
        self._ledger = ledger
        self._clock = clock
        self._exams: Mapping[str, StoredExam] | None = None
        self._archived: frozenset[str] = frozenset()
        self._fingerprint = ""
        self._refreshes = 0
        self._shown = 0
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._open: tuple[Mapping[str, StoredExam], tuple[Shard, ...]] = ({}, ())
        self._used: tuple[Mapping[str, StoredExam], tuple[UsedShard, ...]] = ({}, ())
        self._progress: tuple[Mapping[str, StoredExam], float, Progress] = ({}, 0, Progress((), ()))

    @property
    def is_loaded(self) -> bool:
        """Whether the exams were read at least once."""
        return self._exams is not None

    async def refresh(self) -> None:
        """Read the exams again; LedgerUnavailable leaves what is known as it is.

        What one refresh showed is not taken back by an earlier one that ends later.
        """
        self._refreshes += 1
        number = self._refreshes
        # Read first: what changes in between is then seen again, not missed.
        fingerprint = await self._ledger.fingerprint()
        if self._exams is not None and fingerprint == self._fingerprint:
            return
        exams = await self._ledger.all(self._exams or {})
        archived = await self._ledger.archived()
        if number > self._shown:
            self._exams, self._shown, self._fingerprint = exams, number, fingerprint
            self._archived = archived

    async def share_look(self, exam: str, look: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a look at an exam; all who ask for one meanwhile share it."""
        looking = self._looks.get(exam)
        if looking is None:
            looking = self._looks[exam] = asyncio.get_running_loop().create_task(look())
            looking.add_done_callback(lambda _: self._looks.pop(exam, None))
            looking.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(looking)

    def all(self) -> list[Exam]:
        """Return every exam that could be loaded, by id."""
        known = sorted(self._known().items())
        return [each.definition for _, each in known if not isinstance(each.definition, str)]

    def not_loaded(self) -> dict[str, str]:
        """Return why exams could not be loaded, by id."""
        known = sorted(self._known().items())
        return {exam: each.definition for exam, each in known if isinstance(each.definition, str)}

    def find(self, exam: str) -> Exam:
        """Return an exam; UnknownExam when there is none of this id, NotReady if not loaded.

        ExamArchived is raised for one that is kept in Postgres alone.
        """
        return self._stored(exam).exam

    @property
    def archived(self) -> frozenset[str]:
        """The exams that are archived."""
        return self._archived

    def is_archived(self, exam: str) -> bool:
        """Return whether an exam is archived."""
        return exam in self._archived

    def is_known(self, exam: str) -> bool:
        """Return whether there is such an exam, archived ones not among them."""
        return exam in self._known()

    def check_known(self, exam: str) -> None:
        """Raise UnknownExam when there is no such exam, archived ones among them."""
        if not self.is_archived(exam):
            self._stored(exam)

    def revision(self, exam: str) -> int:
        """Return the revision of the definition that is stored, also of one not loaded."""
        return self._stored(exam).revision

    def shard_if_known(self, exam: str) -> Shard | None:
        """Return `shard` of an exam, or None when there is none of this id."""
        return self.shard(exam) if self.is_known(exam) else None

    def locate(self, reservation: str) -> tuple[Shard, str]:
        """Return shard and serial of a reservation id; UnknownReservation if it is none of ours.

        ExamArchived is raised where its exam is kept in Postgres alone.
        """
        parts = ReservationId.parse(reservation)
        if parts is not None and self.is_archived(parts.exam):
            raise ExamArchived(parts.exam)
        shard = None if parts is None else self.shard_if_known(parts.exam)
        if parts is None or shard is None:
            raise UnknownReservation
        return shard, parts.serial

    def shard(self, exam: str) -> Shard:
        """Return an exam's shard under the epoch we know; NotReady while it is not open."""
        stored = self._stored(exam)
        if stored.state is not ShardState.OPEN:
            raise NotReady(f"the shard of exam {exam} is {stored.state}, not open")
        return _shard(exam, stored.epoch)

    def is_new(self, exam: str) -> bool:
        """Return whether Redis has never opened an exam."""
        return self._stored(exam).state is ShardState.NEW

    def is_retired(self, exam: str) -> bool:
        """Return whether an exam has left Redis but for its counters."""
        return self._stored(exam).is_retired

    def used_shard(self, exam: str) -> UsedShard:
        """Return one shard of `used_shards`."""
        stored = self._stored(exam)
        return UsedShard(Shard(exam, stored.epoch), stored.state is ShardState.OPEN)

    def used_shards(self) -> Sequence[UsedShard]:
        """Return every shard that was ever opened, for the fence and the rebuild."""
        known = self._known()
        if self._used[0] is not known:
            used = tuple(
                self.used_shard(exam)
                for exam, stored in known.items()
                if stored.state is not ShardState.NEW
            )
            self._used = known, used
        return self._used[1]

    def id_key(self, exam: str) -> bytes | None:
        """Return the key of an exam's reservation ids; None when it is older than such keys."""
        return self._stored(exam).id_key

    def open_shards(self) -> Sequence[Shard]:
        """Return every shard that is open, for workers."""
        known = self._known()
        if self._open[0] is not known:
            self._open = known, tuple(self.open_shards_of(known))
        return self._open[1]

    def open_shards_of(self, exams: Iterable[str]) -> list[Shard]:
        """Return the open shards of some exams."""
        known = self._known()
        return [
            _shard(exam, known[exam].epoch)
            for exam in exams
            if exam in known and known[exam].state is ShardState.OPEN
        ]

    def progress(self) -> Progress:
        """Return which exams go on and which are over; all go on while the time is not known."""
        known, now_ms = self._known(), 0 if self._clock is None else self._clock.earliest_ms()
        of, until_ms, progress = self._progress
        if of is known and now_ms < until_ms:
            return progress
        ends = {exam.id: exam.ends_at_ms + _FINISHING_MS for exam in self.all()}
        progress = Progress(
            tuple(exam for exam, end_ms in ends.items() if end_ms > now_ms),
            tuple(exam for exam, end_ms in ends.items() if end_ms <= now_ms),
            tuple(self.not_loaded()),
        )
        until_ms = min((float(ends[exam]) for exam in progress.going_on), default=math.inf)
        self._progress = known, until_ms, progress
        return progress

    def _stored(self, exam: str) -> StoredExam:
        stored = self._known().get(exam)
        if stored is None:
            raise ExamArchived(exam) if self.is_archived(exam) else UnknownExam(exam)
        return stored

    def _known(self) -> Mapping[str, StoredExam]:
        if self._exams is None:
            raise NotReady("the exams have not been read yet")
        return self._exams


@functools.lru_cache(maxsize=4096)
def _shard(exam: str, epoch: int) -> Shard:
    """Return one object for one shard: every order asks for it."""
    return Shard(exam, epoch)
