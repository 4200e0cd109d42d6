"""The exam of one rehearsal: the only thing a rehearsal ever writes to a service.

It has a name that no real exam can have, is made by the rehearsal itself, and is ended and archived
by it. An exam that is there already is never touched, whatever its name.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from loadtest.rush.evidence import Document
from loadtest.rush.exam import OVER_AFTER_S, ended, moment
from quota_service.client.call import Call
from quota_service.client.unsent import UNSENT
from quota_service.domain.exam import REHEARSAL_PREFIX

TRIES_MAX = 20
RELEASE = "kept-back"
"""Id of the seat release of a rehearsal."""
_PAUSE_S = 0.5
_CREATED = 201
_UNKNOWN = "unknown-exam"


class NotOurExamError(Exception):
    """The exam was not made by this rehearsal, or could not be made."""


class Answer(Protocol):
    """How a call ended; see `calls`."""

    status: int
    slug: str
    body: Any

    @property
    def is_ok(self) -> bool:
        """Whether the call was done."""
        ...


class Ops(Protocol):
    """Calls with the key of ops; see `calls`."""

    def send(self, step: str, call: Call) -> Answer:
        """Send a call."""
        ...


class OwnExam:
    """Makes, changes and ends one exam through the API."""

    def __init__(self, exam: str, ops: Ops, sleep: Callable[[float], object] = time.sleep) -> None:
        if not exam.startswith(REHEARSAL_PREFIX):
            raise NotOurExamError(f"{exam} is no name for a rehearsal: {REHEARSAL_PREFIX}…")
        self._exam = exam
        self._ops = ops
        self._sleep = sleep
        self._is_ours = False

    def make(self, definition: Document) -> None:
        """Make the exam; NotOurExamError when there is one of this name."""
        look = UNSENT.get_exam(self._exam)
        standing = self._ops.send("look at exam", look)
        if standing.is_ok:
            raise NotOurExamError(
                f"{self._exam} is there already, and a rehearsal touches no exam that it has not "
                "made: choose another --exam, or leave it out"
            )
        if standing.slug != _UNKNOWN:
            raise NotOurExamError(f"GET {look.path} is answered {standing.status} {standing.slug}")
        made = self._ops.send("import", UNSENT.import_exam(self._exam, definition))
        if made.status != _CREATED:
            raise NotOurExamError(f"{self._exam} was not made: {made.status} {made.body}")
        self._is_ours = True

    def change(self, definition: Document) -> bool:
        """Change the exam that was made; return whether it was done."""
        if not self._is_ours:
            raise NotOurExamError(f"{self._exam} was not made by this rehearsal")
        return self._ops.send("import", UNSENT.import_exam(self._exam, definition)).is_ok

    def plan_release(self, at_s: float, seats: Mapping[str, Mapping[str, int]]) -> None:
        """Have the service release more seats at a time; NotOurExamError when it refuses."""
        if not self._is_ours:
            raise NotOurExamError(f"{self._exam} was not made by this rehearsal")
        planning = UNSENT.plan_seat_release(
            self._exam,
            id=RELEASE,
            at=moment(at_s),
            announce="time-and-venues",
            seats=seats,
            reason="the seats that the rehearsal has kept back",
        )
        # An API process reads once a second which exams there are.
        for _ in range(TRIES_MAX):
            planned = self._ops.send("plan release", planning)
            if planned.slug != _UNKNOWN:
                break
            self._sleep(_PAUSE_S)
        if planned.status != _CREATED:
            raise NotOurExamError(f"no seats are released: {planned.status} {planned.body}")

    def end(self, definition: Document, refunds_due: Iterable[str]) -> str:
        """Settle what is due back by id, let the exam be over, and archive it.

        Returns what is left to do, in words; empty when nothing is.
        """
        for refund in refunds_due:
            self._ops.send("settle", UNSENT.settle_refund_due(self._exam, refund))
        over_s = time.time()
        if not self.change(ended(definition, over_s)):
            return f"{self._exam} stays open: its end could not be imported"
        self._sleep(max(0.0, over_s + OVER_AFTER_S - time.time()))
        archiving = UNSENT.archive_exam(self._exam)
        answer = self._ops.send("archive", archiving)
        for _ in range(TRIES_MAX):
            if answer.is_ok or answer.slug == "not-found":
                break
            self._sleep(_PAUSE_S)
            answer = self._ops.send("archive", archiving)
        if answer.is_ok:
            return ""
        return f"{self._exam} is over, and not archived: {answer.status} {answer.slug}"
