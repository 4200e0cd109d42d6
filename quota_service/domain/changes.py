"""What changing a stored exam into a new definition would do, and why it may be refused.

A definition is imported again and again while people register: titles, windows and seats change.
Reserved and paid seats must not change, so a plan lists everything
that differs and every reason against it, and is applied as a whole or not at all.

Here a location is named by ids (`venues.jinan.title.en`), since what was removed has no index.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeGuard

from quota_service.domain.definition import Problem, exam_document
from quota_service.domain.exam import Exam, Quota
from quota_service.domain.seat_release import (
    NO_RELEASES,
    NOTHING_RELEASED,
    ReleaseChanges,
    Released,
    release_changes,
    release_problems,
)

ABSENT = "none"
"""The value of a member that is absent before or after."""

MAX_EXCERPT = 60
"""Characters of a longer text that a change shows, around the first that differs."""

_CONTEXT = 20
"""Characters shown before the first that differs."""

_VISIBLE = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})

_Entry = dict[str, Any]
"""A session, subject or venue in the canonical document."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, for people: where, and both values as text."""

    where: str
    before: str
    after: str

    def __str__(self) -> str:
        """Return the change as one line."""
        return f"{self.where}: {self.before} → {self.after}"


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """What an import would do.

    `capacity` is the new absolute capacity of each quota whose capacity changes or that is new, 0
    for a removed one. With any problem nothing may be applied, and `capacity` is empty.
    """

    changes: tuple[Change, ...]
    capacity: Mapping[Quota, int]
    problems: tuple[Problem, ...]
    releases: ReleaseChanges = NO_RELEASES
    released: Released = NOTHING_RELEASED


def plan_changes(
    old: Exam, new: Exam, taken: Mapping[Quota, int], released: Released = NOTHING_RELEASED
) -> ChangePlan:
    """Return the changes from `old` to `new`, and all reasons against them.

    `taken` counts the seats held, being confirmed or confirmed, by quota; absent means 0. Equal
    exams give an empty plan. The seats that came by releases stay beside those of a definition.
    """
    if old == new:
        return ChangePlan((), {}, ())
    problems = find_problems(old, new, taken, released)
    capacity = {
        quota: new.seats[quota] + released.seats.get(quota, 0) if quota in new.seats else 0
        for quota in sorted(old.seats.keys() | new.seats.keys())
        if old.seats.get(quota) != new.seats.get(quota)
    }
    changes = tuple(_table_changes("", exam_document(old), exam_document(new)))
    if problems:
        return ChangePlan(changes, {}, problems)
    return ChangePlan(changes, capacity, (), release_changes(old, new, released), released)


def find_problems(
    old: Exam, new: Exam, taken: Mapping[Quota, int], released: Released
) -> tuple[Problem, ...]:
    """Return all reasons against changing `old` to `new`; arguments as for `plan_changes`."""
    some = {quota: n for quota, n in taken.items() if n > 0}
    return (
        *_problems(old, new, some, released.seats),
        *release_problems(old, new, released),
    )


def list_problems(old: Exam, new: Exam, waiting: int) -> Iterator[Problem]:
    """Yield the reason against another order of a waiting list, on which `waiting` entries wait."""
    before, after = old.waiting_list, new.waiting_list
    if waiting and before is not None and after is not None and before.order != after.order:
        who = "1 entry waits" if waiting == 1 else f"{waiting} entries wait"
        detail = f"cannot change from {before.order} to {after.order} while {who}"
        yield Problem("waiting_list.order", detail)


def _problems(
    old: Exam, new: Exam, taken: Mapping[Quota, int], released: Mapping[Quota, int]
) -> Iterator[Problem]:
    if old.id != new.id:
        yield Problem("id", f"cannot change from {old.id} to {new.id}")
    everything = sum(taken.values())
    for name in ("amount", "currency"):
        if everything and getattr(old.fee, name) != getattr(new.fee, name):
            yield Problem(f"fee.{name}", f"cannot change while {_seats(everything)} taken")
    of_subject: Counter[str] = Counter()
    at_venue: Counter[str] = Counter()
    for quota, count in taken.items():
        of_subject[quota.subject] += count
        at_venue[quota.venue] += count
    yield from _moved_subjects(old, new, of_subject)
    # A session goes only when its subjects go or move, so that it needs no check of its own.
    subjects = new.session_of.keys()
    for subject in old.subjects:
        count = of_subject[subject.id]
        if count and subject.id not in subjects:
            yield Problem(
                f"subjects.{subject.id}", f"cannot be removed while {_seats(count)} taken"
            )
    for venue in old.venues:
        count = at_venue[venue.id]
        if count and venue.id not in new.venue_ids:
            yield Problem(f"venues.{venue.id}", f"cannot be removed while {_seats(count)} taken")
    yield from _lowered_quotas(old, new, taken, released)
    yield from _lowered_ceilings(old, new, taken)


def _moved_subjects(old: Exam, new: Exam, taken: Mapping[str, int]) -> Iterator[Problem]:
    for subject in old.subjects:
        session = new.session_of.get(subject.id, subject.session)
        count = taken[subject.id]
        if count and session != subject.session:
            yield Problem(
                f"subjects.{subject.id}.session",
                f"cannot move from {subject.session} to {session} while {_seats(count)} taken",
            )


def _lowered_quotas(
    old: Exam, new: Exam, taken: Mapping[Quota, int], released: Mapping[Quota, int]
) -> Iterator[Problem]:
    for quota, count in sorted(taken.items()):
        where = f"seats.{quota.venue}.{quota.subject}"
        seats, more = new.seats.get(quota), released.get(quota, 0)
        if seats is not None:
            if count > seats + more and seats != old.seats.get(quota):
                beside = f", with {more} released since," if more else ""
                yield Problem(where, f"cannot be {seats}{beside} while {_seats(count)} taken")
        elif (
            quota in old.seats
            and quota.venue in new.venue_ids
            and quota.subject in new.session_of  # else said of the venue or subject already
        ):
            yield Problem(where, f"cannot be removed while {_seats(count)} taken")


def _lowered_ceilings(old: Exam, new: Exam, taken: Mapping[Quota, int]) -> Iterator[Problem]:
    of_session: Counter[tuple[str, str]] = Counter()
    for quota, count in taken.items():
        of_session[quota.venue, new.session_of.get(quota.subject, "")] += count
    for (venue, session), seats in sorted(new.ceilings.items()):
        count = of_session[venue, session]
        if count > seats != old.ceilings.get((venue, session)):
            yield Problem(
                f"rooms.{venue}.{session}", f"cannot be {seats} while {_seats(count)} taken"
            )


def _seats(count: int) -> str:
    return "1 seat is" if count == 1 else f"{count} seats are"


def _table_changes(
    where: str, before: Mapping[str, object], after: Mapping[str, object]
) -> Iterator[Change]:
    for key in [*before, *(key for key in after if key not in before)]:
        path = f"{where}.{key}" if where else key
        yield from _value_changes(path, before.get(key), after.get(key))


def _value_changes(where: str, before: object, after: object) -> Iterator[Change]:
    if before == after:
        return
    if isinstance(before, dict | None) and isinstance(after, dict | None):
        # Of a table that comes or goes each member is a change.
        yield from _table_changes(where, before or {}, after or {})
    elif _has_entries(before) and _has_entries(after):
        yield from _list_changes(where, _by_id(before), _by_id(after))
    elif isinstance(before, str) and isinstance(after, str):
        yield Change(where, *_excerpts(before, after))
    else:
        yield Change(where, _shown(before), _shown(after))


def _list_changes(
    where: str, before: Mapping[str, _Entry], after: Mapping[str, _Entry]
) -> Iterator[Change]:
    for entry_id, entry in before.items():
        if entry_id in after:
            yield from _table_changes(f"{where}.{entry_id}", entry, after[entry_id])
        else:
            yield Change(f"{where}.{entry_id}", _title(entry), ABSENT)
    for entry_id, entry in after.items():
        if entry_id not in before:
            yield Change(f"{where}.{entry_id}", ABSENT, _title(entry))
    order_before = [entry_id for entry_id in before if entry_id in after]
    order_after = [entry_id for entry_id in after if entry_id in before]
    if order_before != order_after:
        yield Change(where, *_excerpts(", ".join(order_before), ", ".join(order_after)))


def _has_entries(value: object) -> TypeGuard[list[_Entry] | None]:
    """Return whether a value is a list of entries with ids, or absent as an empty one is."""
    return value is None or (
        isinstance(value, list) and all(isinstance(each, dict) for each in value)
    )


def _by_id(entries: list[_Entry] | None) -> dict[str, _Entry]:
    return {str(entry["id"]): entry for entry in entries or ()}


def _title(entry: _Entry) -> str:
    if "title" in entry:
        return _shown(entry["title"])
    seats = sum(sum(by_subject.values()) for by_subject in entry["seats"].values())
    return f"{seats} seats at {entry['at']}"  # a seat release


def _shown(value: object) -> str:
    """Return a value that is there in one of two definitions only, or is of another kind there."""
    if isinstance(value, dict):  # a text in several languages
        value = " / ".join(dict.fromkeys(map(str, value.values())))
    elif isinstance(value, list):  # times of day
        value = ", ".join(value)
    return ABSENT if value is None else _excerpt(str(value), 0)


def _excerpts(before: str, after: str) -> tuple[str, str]:
    """Return both texts, long ones from shortly before the first character that differs."""
    if max(len(before), len(after)) <= MAX_EXCERPT:
        return _one_line(before), _one_line(after)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))
    start = max(0, sum(1 for _ in same) - _CONTEXT)
    return _excerpt(before, start), _excerpt(after, start)


def _excerpt(text: str, start: int) -> str:
    end = start + MAX_EXCERPT
    shown = _one_line(text[start:end])
    return f"{'…' if start else ''}{shown}{'…' if end < len(text) else ''}"


def _one_line(text: str) -> str:
    return text.translate(_VISIBLE)
