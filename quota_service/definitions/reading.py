"""Reads an exam from the document of a definition, or says all that is wrong with it.

The author of a definition gets every mistake at once, each with its place. The
model finds what is wrong with a member; what is wrong between members is looked for here in the
document itself, which may be wrong elsewhere.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from pydantic import TypeAdapter, ValidationError

from quota_service.definitions.allocation import RELEASES_MAX, SET_ASIDES_MAX
from quota_service.definitions.fields import TAGS, zone_named
from quota_service.definitions.model import ExamDefinition, SeatsMember, capacities
from quota_service.domain.definition import MAX_PROBLEMS, DefinitionError, Problem, by_quota, shown
from quota_service.domain.exam import (
    IDENTIFIER,
    MAX_CAPACITY,
    MAX_SESSIONS,
    MAX_SUBJECTS,
    MAX_VENUES,
    Exam,
    Quota,
    ReturnRule,
)
from quota_service.schema import FORM, Fault, Location, faults

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SEATS: TypeAdapter[Any] = TypeAdapter(SeatsMember)
MEMBERS_MAX = 30_000
"""Members of a definition beside its seats; the largest exam has some 24,000."""
SLICE = 500
"""Seats that are read at once."""
_MEMBERS = list(ExamDefinition.model_fields)
_LISTS = {
    "sessions": MAX_SESSIONS,
    "subjects": MAX_SUBJECTS,
    "venues": MAX_VENUES,
    "releases": RELEASES_MAX,
    "set_asides": SET_ASIDES_MAX,
}


def parse_exam(document: Mapping[str, object]) -> Exam:
    """Return the exam a document defines; raise `DefinitionError` with all that is wrong with it.

    Times are RFC 3339 strings or datetimes; one without an offset is in the exam's `time_zone`.
    `seats` is `{venue: {subject: count}}` or a list of `{venue, subject, seats}`. A `server_time`
    at the top is ignored, so that what the API answered can be sent back.
    """
    return read_exam(document, [], None)


def read_exam(
    document: Mapping[str, object], found: Sequence[Problem], lines: Sequence[str] | None
) -> Exam:
    """Return the exam of `parse_exam`, unless problems were found already.

    `lines` names the file and line of each row in `seats`, None where these come from no file.
    """
    if not isinstance(document, Mapping):
        raise DefinitionError([Problem("definition", f"must be a table, not {shown(document)}")])
    if _members(document) > MEMBERS_MAX:
        detail = f"has more than {MEMBERS_MAX} members beside its seats"
        raise DefinitionError([Problem("definition", detail)])
    seats, wrong = _read_seats(document.get("seats", {}))
    definition = None
    try:
        definition = ExamDefinition.model_validate(
            # What is wrong with seats is known; without any they are missing.
            {**document, "seats": {}} if "seats" in document else document,
            context=zone_named(document.get("time_zone")),
        )
    except ValidationError as error:
        wrong += [
            replace(fault, location=_untagged(fault.location) or ("definition",))
            for fault in faults(error)
        ]
    wrong += _contradictions(document, lines)
    wrong += _beyond_the_seats(document, {} if wrong else seats)
    if lines is not None and not lines:  # of a file without rows all is said
        wrong = [fault for fault in wrong if fault.location != ("seats",)]
    if definition is None or found or wrong:
        problems = [_problem(fault, lines) for fault in sorted(wrong, key=_position)]
        raise DefinitionError(dict.fromkeys([*found, *problems]))
    return definition.exam(seats)


def _members(document: Mapping[str, Any]) -> int:
    """Return how many members a document has beside its seats, or one more than it may have."""
    count = 0
    waiting = [value for key, value in document.items() if key not in {"seats", "server_time"}]
    while waiting and count <= MEMBERS_MAX:
        count += 1
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return count


def _read_seats(seats: Any) -> tuple[dict[Quota, int], list[Fault]]:
    """Return the capacity of each quota, and what is wrong with the form of seats.

    They are read in slices, between which other threads run, and no further when more
    is wrong than is reported.
    """
    capacity: dict[Quota, int] = {}
    wrong: list[Fault] = []
    for start, part in _slices(seats):
        try:
            capacity |= capacities(_SEATS.validate_python(part))
        except ValidationError as error:
            wrong += [
                replace(fault, location=_in_seats(_untagged(fault.location), start))
                for fault in faults(error)
            ]
        if len(wrong) > MAX_PROBLEMS:
            break
    return capacity, wrong


def _in_seats(location: Location, start: int) -> Location:
    """Return a location in a slice as one in `seats`."""
    match location:
        case (int(row), *rest):
            return ("seats", start + row, *rest)
        case _:
            return ("seats", *location)


def _slices(seats: Any) -> Iterator[tuple[int, Any]]:
    """Yield parts of seats, with the position of the first row in each."""
    if isinstance(seats, list):
        for start in range(0, len(seats), SLICE):
            yield start, seats[start : start + SLICE]
    elif isinstance(seats, Mapping):
        for venue, by_subject in seats.items():
            if isinstance(by_subject, Mapping):
                subjects = iter(by_subject.items())
                while part := dict(islice(subjects, SLICE)):
                    yield 0, {venue: part}
            else:
                yield 0, {venue: by_subject}
    else:
        yield 0, seats


def _contradictions(document: Mapping[str, Any], lines: Sequence[str] | None) -> Iterator[Fault]:
    """Yield what contradicts something else in a document, which may be wrong elsewhere too.

    Where a list cannot be read, nothing is said of ids that are missing from it.
    """
    ids: dict[str, Collection[str] | None] = {}
    for key, most in _LISTS.items():
        entries = document.get(key)
        first: dict[str, int] = {}
        ids[key] = first
        for i, entry in _tables(entries):
            entry_id = entry.get("id")
            if isinstance(entry_id, str) and first.setdefault(entry_id, i) != i:
                given_at = f"{key}[{first[entry_id]}]"
                yield Fault((key, i, "id"), f"{shown(entry_id)} is already the id of {given_at}")
        if not isinstance(entries, list) or not 1 <= len(entries) <= most:
            ids[key] = None
    for i, subject in _tables(document.get("subjects")):
        session = subject.get("session")
        yield from _unknown(("subjects", i, "session"), "session", session, ids["sessions"])
    yield from _wrong_seats(document.get("seats"), ids["venues"], ids["subjects"], lines)
    for at, seats in _seats_beside(document):
        yield from _unknown_in(at, seats, ids["venues"], ("subject", ids["subjects"]))
    rooms = document.get("rooms")
    yield from _unknown_in(("rooms",), rooms, ids["venues"], ("session", ids["sessions"]))
    yield from _list_without_returns(document)


def _wrong_seats(
    seats: Any,
    venues: Collection[str] | None,
    subjects: Collection[str] | None,
    lines: Sequence[str] | None,
) -> Iterator[Fault]:
    """Yield seats of no venue or no subject of the exam, those that are given twice, or none."""
    yield from _unknown_in(("seats",), seats, venues, ("subject", subjects))
    given_at: dict[tuple[str, str], int] = {}
    for i, row in _tables(seats):
        venue, subject = row.get("venue"), row.get("subject")
        yield from _unknown(("seats", i, "venue"), "venue", venue, venues)
        yield from _unknown(("seats", i, "subject"), "subject", subject, subjects)
        if isinstance(venue, str) and isinstance(subject, str):
            first = given_at.setdefault((venue, subject), i)
            if first != i:
                quota, place = shown(f"{venue}/{subject}"), _path(("seats", first), lines)
                yield Fault(("seats", i), f"the seats of {quota} are already given at {place}")
    known = venues or ()
    if seats == [] or (
        isinstance(seats, Mapping)
        and all(name in known and by_subject == {} for name, by_subject in seats.items())
    ):
        yield Fault(("seats",), "must give the seats of at least one venue and subject")


def _unknown_in(
    at: Location,
    table: Any,
    venues: Collection[str] | None,
    inner: tuple[str, Collection[str] | None],
) -> Iterator[Fault]:
    """Yield the keys that are no venue of the exam, and those in their tables that are no `inner`.

    `inner` is the kind of these, and the ids that there are of it.
    """
    kind, known = inner
    for venue, members in table.items() if isinstance(table, Mapping) else ():
        yield from _unknown((*at, venue), "venue", venue, venues)
        for member in members if isinstance(members, Mapping) else ():
            yield from _unknown((*at, venue, member), kind, member, known)


def _seats_beside(document: Mapping[str, Any]) -> Iterator[tuple[Location, Any]]:
    """Yield the seats of each release and set-aside, with their place."""
    for key in ("releases", "set_asides"):
        for i, entry in _tables(document.get(key)):
            yield (key, i, "seats"), entry.get("seats")


def _beyond_the_seats(document: Mapping[str, Any], seats: Mapping[Quota, int]) -> Iterator[Fault]:
    """Yield what releases and set-asides have of quotas that there are not, or of too few seats.

    `seats` are those of the quotas, none where they could not be read.
    """
    total = {"releases": Counter(seats), "set_asides": Counter[Quota]()}
    for at, table in _seats_beside(document) if seats else ():
        key = str(at[0])
        for quota, count in by_quota(table).items():
            place = (*at, quota.venue, quota.subject)
            if quota not in seats:
                yield Fault(place, f"{quota} is no quota of this exam: give it 0 seats at least")
                continue
            total[key][quota] += count
            if key == "releases" and total[key][quota] > MAX_CAPACITY:
                yield Fault(place, f"makes more than {MAX_CAPACITY} seats of {quota}")
            elif key == "set_asides" and total[key][quota] > seats[quota]:
                of_all = f"{total[key][quota]} seats are set aside"
                yield Fault(place, f"{of_all} of {quota}, which has {seats[quota]}")


def _list_without_returns(document: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a waiting list to which no seat comes back."""
    returned = document.get("returned", {})
    rule = returned.get("rule", "at-once") if isinstance(returned, Mapping) else None
    if "waiting_list" in document and rule == ReturnRule.AT_ONCE:
        detail = "needs returned.rule list-first or at-times, not at-once"
        yield Fault(("waiting_list",), detail)


def _tables(entries: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the entries of a list that are tables, with their positions."""
    if isinstance(entries, list):
        for i, entry in enumerate(entries):
            if isinstance(entry, Mapping):
                yield i, entry


def _unknown(
    location: Location, kind: str, member: Any, known: Collection[str] | None
) -> Iterable[Fault]:
    """Return the fault of an id that is none of the known ones; one of no right form has another.

    A key of a table has no other.
    """
    if known is None or (isinstance(member, str) and member in known):
        return ()
    is_key = location[-1] == member
    if is_key or (isinstance(member, str) and IDENTIFIER.fullmatch(member)):
        return (Fault(location, f"{shown(member)} is not a {kind} of this exam"),)
    return ()


def _untagged(location: Location) -> Location:
    """Return a location without what pydantic adds: the form of a value, that a key is wrong."""
    return tuple(each for each in location if each not in TAGS and each != "[key]")


def _position(fault: Fault) -> int:
    """Return the position of the top-level member with a fault; unknown ones come last."""
    top = fault.location[0]
    return _MEMBERS.index(str(top)) if top in _MEMBERS else len(_MEMBERS)


def _problem(fault: Fault, lines: Sequence[str] | None) -> Problem:
    detail = fault.detail
    if fault.kind == FORM:
        detail += f", not {shown(fault.value)}"
    return Problem(_path(fault.location, lines), detail)


def _path(location: Location, lines: Sequence[str] | None) -> str:
    """Return a location as people read it: `sessions[2].starts_at`, or a line of the seats file."""
    match location:
        case ("seats", int(row), *_) if lines is not None:
            return lines[row]
        case _:
            path = "".join(
                f"[{each}]" if isinstance(each, int) else f".{_key(each)}" for each in location
            )
            return path.removeprefix(".")


def _key(key: str) -> str:
    """Return a key as part of a path; unusual ones are quoted and shortened."""
    return key if _BARE_KEY.fullmatch(key) else shown(key)
