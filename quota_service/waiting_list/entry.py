"""An entry of a waiting list, its states and the id that finds it.

    waiting ──> offered ──> served     the offer was paid for: the candidate has a booking
       │           ├──────> missed     the offer ran out
       │           └──────> declined   the offer was given back
       ├──────────────────> left       the candidate left the list
       ├──────────────────> over       the time it chose, registration, or the list has ended, or
       │                               the exam cannot serve it any more
       └──────────────────> conflict   the candidate took one of its sessions elsewhere

Postgres alone decides the state. An offer is a hold like any other: how it ended is known by its
reservation first, and the dealing writes it to the entry.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from quota_service.domain.exam import Exam, QuietHours


class EntryState(StrEnum):
    """The state of an entry."""

    WAITING = "waiting"
    OFFERED = "offered"
    SERVED = "served"
    MISSED = "missed"
    DECLINED = "declined"
    LEFT = "left"
    OVER = "over"
    CONFLICT = "conflict"

    @property
    def is_live(self) -> bool:
        """Whether the entry has not ended; a candidate has one such entry in an exam at most."""
        return self in {EntryState.WAITING, EntryState.OFFERED}


ENTRY_ID = re.compile(r"([a-z0-9][a-z0-9_-]{0,31})\.w\.([a-z2-7]{24})", re.ASCII)
"""The form of an id as it is published."""


@dataclass(frozen=True, slots=True)
class EntryId:
    """The parts of an entry id, `exam.w.serial`."""

    exam: str
    serial: str

    def __str__(self) -> str:
        """Return the id as clients see it."""
        return f"{self.exam}.w.{self.serial}"

    @classmethod
    def parse(cls, text: str) -> "EntryId | None":
        """Return the parts of `text`, or None when it was never one of our ids."""
        found = ENTRY_ID.fullmatch(text)
        return None if found is None else cls(found[1], found[2])


Place = tuple[int, str, int]
"""A place in the order of a list: window, rank or "", number."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One candidate's place in the waiting list of an exam; times in ms since the Unix epoch.

    `venues` are in order of choice; the entry is served in full, all `subjects` at one of them, or
    not at all. `until_ms` is None where it lasts until registration closes. Entries are ordered by
    `window`, then `rank`, which is None where the list goes by number or the window is not drawn,
    then `number`. `reservation` and `deadline_ms` are those of the last offer, of which there were
    `offers`; None and 0 before the first.
    """

    exam: str
    serial: str
    candidate: str
    number: int
    subjects: tuple[str, ...]
    sessions: tuple[str, ...]
    venues: tuple[str, ...]
    until_ms: int | None
    quiet_hours: QuietHours | None
    window: int
    rank: str | None
    state: EntryState
    offers: int
    reservation: str | None
    deadline_ms: int
    joined_ms: int
    ended_ms: int | None
    request_hash: str

    @property
    def id(self) -> str:
        """The id as clients see it."""
        return str(EntryId(self.exam, self.serial))

    @property
    def place(self) -> Place:
        """Its place in the order of the list."""
        return self.window, self.rank or "", self.number

    def in_sessions_of(self, exam: Exam) -> "Entry":
        """Return the entry in the sessions that its subjects have by now; "" for one that is gone.

        `sessions` are those of when it joined.
        """
        sessions = tuple(exam.session_of.get(subject, "") for subject in self.subjects)
        return self if sessions == self.sessions else replace(self, sessions=sessions)

    def is_possible_in(self, exam: Exam) -> bool:
        """Return whether the exam has all of it at a venue of it, each subject in its session."""
        return (
            "" not in self.sessions
            and len({*self.sessions}) == len(self.sessions)
            and any(venue in exam.venue_ids for venue in self.venues)
        )
