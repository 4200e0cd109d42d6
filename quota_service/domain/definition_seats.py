"""The seats of a definition, in whichever form they come: a table, a list of rows, or CSV rows.

The table `{venue: {subject: seats}}` is the canonical form; rows are what spreadsheets and the
availability answer give. All end as one capacity for each quota, with the same checks.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from quota_service.domain.definition_fields import (
    Problems,
    key_path,
    number_fault,
    shown,
    tables_of,
)
from quota_service.domain.exam import MAX_CAPACITY, Quota


@dataclass(frozen=True, slots=True)
class CsvSeats:
    """One row of a seats file; `where` names file and line, `seats` is text if it is no number."""

    where: str
    venue: str
    subject: str
    seats: int | str


class SeatsReader:
    """Collects the capacity of each quota; what does not fit the exam becomes a problem.

    `venues` and `subjects` are the ids the definition names, or None where that list itself was
    unreadable: then nothing is said about ids missing from it.
    """

    __slots__ = ("_given_at", "_problems", "_subjects", "_venues", "capacity")

    def __init__(
        self,
        problems: Problems,
        venues: Collection[str] | None,
        subjects: Collection[str] | None,
    ) -> None:
        self._problems = problems
        self._venues = venues
        self._subjects = subjects
        self._given_at: dict[Quota, str] = {}
        self.capacity: dict[Quota, int] = {}

    def read(self, seats: object) -> None:
        """Read the member `seats` of a definition, a table or a list."""
        noted_before = len(self._problems)
        if isinstance(seats, Mapping):
            self._read_table(seats)
        elif isinstance(seats, list | tuple):
            self._read_rows(seats)
        else:
            self._problems.note("seats", f"must be a table or a list, not {shown(seats)}")
        if not self.capacity and len(self._problems) == noted_before:
            self._problems.note("seats", "must give the seats of at least one venue and subject")

    def read_csv(self, rows: Iterable[CsvSeats]) -> None:
        """Read the rows of a seats file."""
        for row in rows:
            self._check_venue(row.venue, row.where)
            self._check_subject(row.subject, row.where)
            self._put(Quota(row.venue, row.subject), row.seats, row.where, row.where)

    def _read_table(self, seats: Mapping[str, object]) -> None:
        for venue, subjects in seats.items():
            where = key_path("seats", venue)
            self._check_venue(venue, where)
            if not isinstance(subjects, Mapping):
                detail = f"must be a table of subjects and seats, not {shown(subjects)}"
                self._problems.note(where, detail)
                continue
            for subject, count in subjects.items():
                place = key_path(where, subject)
                self._check_subject(subject, place)
                self._put(Quota(venue, subject), count, place, place)

    def _read_rows(self, seats: Iterable[object]) -> None:
        for row in tables_of(seats, "seats", self._problems):
            venue = row.raw("venue")
            subject = row.raw("subject")
            # The availability answer calls the same figure `capacity`.
            key = "capacity" if row.has("capacity") and not row.has("seats") else "seats"
            count = row.raw(key)
            row.finish()
            if row.has("venue"):
                self._check_venue(venue, f"{row.where}.venue")
            if row.has("subject"):
                self._check_subject(subject, f"{row.where}.subject")
            if isinstance(venue, str) and isinstance(subject, str) and row.has(key):
                self._put(Quota(venue, subject), count, row.where, f"{row.where}.{key}")

    def _check_venue(self, venue: object, where: str) -> None:
        if self._venues is not None and (not isinstance(venue, str) or venue not in self._venues):
            self._problems.note(where, f"{shown(venue)} is not a venue of this exam")

    def _check_subject(self, subject: object, where: str) -> None:
        known = self._subjects
        if known is not None and (not isinstance(subject, str) or subject not in known):
            self._problems.note(where, f"{shown(subject)} is not a subject of this exam")

    def _put(self, quota: Quota, seats: object, entry: str, where: str) -> None:
        given_at = self._given_at.setdefault(quota, entry)
        if given_at != entry:
            detail = f"the seats of {shown(str(quota))} are given already at {given_at}"
            self._problems.note(entry, detail)
        fault = number_fault(seats, 0, MAX_CAPACITY)
        if fault is not None:
            self._problems.note(where, fault)
        elif isinstance(seats, int):
            self.capacity[quota] = seats
