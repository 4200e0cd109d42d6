"""Reading an exam definition field by field, noting every problem instead of stopping at the first.

A definition arrives as a nest of tables and lists (from TOML or JSON, where anything may stand
anywhere). `Table` takes typed members out of one table; what is wrong is noted with its key path in
`Problems` and a placeholder returned, which is never seen because a definition with any problem
raises `DefinitionError` in the end.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from quota_service.domain.definition_times import time_ms

MAX_PROBLEMS = 100
"""Problems one error carries; whoever fixes these will see the rest on the next try."""

MAX_SHOWN = 40
"""Characters of a wrong value that are repeated in a message."""

TIME_ZONE_NAME = re.compile(r"[A-Z][A-Za-z0-9_+/-]{0,63}", re.ASCII)
"""IANA zone names; `localtime` and the like, which mean something else elsewhere, are left out."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_LINE_BREAKS_AND_TABS = frozenset("\n\r\t")
_LARGEST_SHOWN_NUMBER = 10**18
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a definition.

    `where` is the key path (`sessions[2].starts_at`, `seats.jinan.qms`) or, for what stands in a
    file that has no keys, the file and line (`seats.csv:14`).
    """

    where: str
    detail: str

    def __str__(self) -> str:
        """Return the problem as one line."""
        return f"{self.where}: {self.detail}"


class DefinitionError(ValueError):
    """A definition, or a change of one, that cannot be accepted; nothing of it was applied.

    `problems` holds at most `MAX_PROBLEMS`; `omitted` counts those beyond. As a string it lists
    them one a line.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        every = tuple(problems)
        self.problems = every[:MAX_PROBLEMS]
        self.omitted = len(every) - len(self.problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        if self.omitted:
            lines.append(f"… and {self.omitted} more")
        return "\n".join(lines)


class Problems:
    """The problems found so far, each once, in the order they were found."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def note(self, where: str, detail: str) -> None:
        """Add a problem unless the very same one was noted before."""
        self._found[Problem(where, detail)] = None

    def raise_if_any(self) -> None:
        """Raise `DefinitionError` with everything noted, if anything was."""
        if self._found:
            raise DefinitionError(self._found)


class Table:
    """One table of a definition, read member by member; `finish` notes the members nobody read."""

    __slots__ = ("_asked", "_members", "problems", "where")

    def __init__(self, members: Mapping[str, object], where: str, problems: Problems) -> None:
        self._members = members
        self._asked: set[str] = set()
        self.where = where
        self.problems = problems

    def note(self, key: str, detail: str) -> None:
        """Note a problem of the member `key`."""
        self.problems.note(key_path(self.where, key), detail)

    def has(self, key: str) -> bool:
        """Return whether the table has the member, whatever its value."""
        return key in self._members

    def holds_text(self, key: str) -> bool:
        """Return whether the member is a string."""
        return isinstance(self._members.get(key), str)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all members."""
        return tuple(self._members)

    def ignore(self, key: str) -> None:
        """Accept the member with any value, or its absence."""
        self._asked.add(key)

    def finish(self) -> None:
        """Note every member that nobody asked for."""
        for key in self._members:
            if key not in self._asked:
                self.note(key, "unknown key")

    def require(self, key: str) -> bool:
        """Return whether the table has the member, and note it as missing if not."""
        return self._take(key) is not _MISSING

    def raw(self, key: str) -> object | None:
        """Return the member as it stands; a missing one is noted and given as None."""
        return self._members[key] if self.require(key) else None

    def text(self, key: str, *, longest: int, several_lines: bool = False) -> str:
        """Return a string of 1 to `longest` characters that is not blank.

        Control characters are refused, except line breaks and tabs where `several_lines` is true.
        """
        value = self._take(key)
        if not isinstance(value, str):
            self._note_kind(key, value, "a string")
            return ""
        allowed = _LINE_BREAKS_AND_TABS if several_lines else frozenset[str]()
        if not value.strip():
            self.note(key, "must not be empty")
        elif len(value) > longest:
            self.note(key, f"has {len(value)} characters, at most {longest} are allowed")
        elif (control := _first_control_character(value, allowed)) is not None:
            self.note(key, f"has the control character U+{ord(control):04X}")
        return value

    def matching(self, key: str, pattern: re.Pattern[str], meaning: str) -> str:
        """Return a string that matches `pattern` as a whole; `meaning` says it in words."""
        value = self._take(key)
        if not isinstance(value, str):
            self._note_kind(key, value, f"a string of {meaning}")
            return ""
        if pattern.fullmatch(value) is None:
            self.note(key, f"must be {meaning}, not {shown(value)}")
        return value

    def number(self, key: str, low: int, high: int, *, default: int | None = None) -> int:
        """Return a whole number from `low` to `high`, or the default where the member is absent."""
        if default is not None and not self.has(key):
            self._asked.add(key)
            return default
        value = self._take(key)
        fault = number_fault(value, low, high)
        if value is not _MISSING and fault is not None:
            self.note(key, fault)
        return value if isinstance(value, int) else 0

    def rate(self, key: str, low: float, high: float, *, default: float) -> float:
        """Return a number from `low` to `high`, whole or not, or the default where it is absent."""
        if not self.has(key):
            self._asked.add(key)
            return float(default)
        value = self._take(key)
        # A float that is no number compares as false, and so is refused.
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        self.note(key, f"must be a number from {low} to {high}, not {shown(value)}")
        return float(default)

    def zone(self, key: str) -> ZoneInfo | None:
        """Return the time zone the member names, or None where it names none."""
        value = self._take(key)
        if not isinstance(value, str):
            self._note_kind(key, value, "a string")
            return None
        try:
            if TIME_ZONE_NAME.fullmatch(value) is not None:
                return ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            # ZoneInfo looks for a file of that name, and a folder (`Asia`) is an OSError to it.
            pass
        self.note(key, f"{shown(value)} is not a known time zone")
        return None

    def time_ms(self, key: str, zone: ZoneInfo | None) -> int | None:
        """Return a time in milliseconds since the epoch, or None where it cannot be told.

        Without an offset it is a time in `zone`; while that is unknown (and noted) nothing more is
        said about such a time.
        """
        value = self._take(key)
        if not isinstance(value, str | datetime):
            self._note_kind(key, value, "an RFC 3339 date and time")
            return None
        try:
            return time_ms(value, zone)
        except ValueError as fault:
            self.note(key, str(fault))
            return None

    def table(self, key: str, *, wanted: str = "a table") -> "Table | None":
        """Return the table that stands at `key`; `wanted` says what may stand there."""
        value = self._take(key)
        if not isinstance(value, Mapping):
            self._note_kind(key, value, wanted)
            return None
        return Table(value, key_path(self.where, key), self.problems)

    def tables(self, key: str, most: int) -> "list[Table] | None":
        """Return the 1 to `most` tables of the list at `key`, or None if it is none."""
        value = self._take(key)
        if not isinstance(value, list | tuple):
            self._note_kind(key, value, "a list of tables")
            return None
        if not 1 <= len(value) <= most:
            self.note(key, f"must have 1 to {most} entries, not {len(value)}")
            return None
        return list(tables_of(value, key_path(self.where, key), self.problems))

    def _take(self, key: str) -> object:
        self._asked.add(key)
        value = self._members.get(key, _MISSING)
        if value is _MISSING:
            self.note(key, "is missing")
        return value

    def _note_kind(self, key: str, value: object, wanted: str) -> None:
        if value is not _MISSING:
            self.note(key, f"must be {wanted}, not {shown(value)}")


def tables_of(entries: Iterable[object], where: str, problems: Problems) -> Iterator[Table]:
    """Yield the entries of a list that are tables, and note those that are not."""
    for index, entry in enumerate(entries):
        place = f"{where}[{index}]"
        if isinstance(entry, Mapping):
            yield Table(entry, place, problems)
        else:
            problems.note(place, f"must be a table, not {shown(entry)}")


def number_fault(value: object, low: int, high: int) -> str | None:
    """Return what keeps `value` from being a whole number from `low` to `high`, or None."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return None
    return f"must be a whole number from {low} to {high}, not {shown(value)}"


def key_path(where: str, key: str) -> str:
    """Return the path of `key` in the table at `where`; odd keys are quoted and shortened."""
    part = key if _BARE_KEY.fullmatch(key) else shown(key)
    return f"{where}.{part}" if where else part


def shown(value: object) -> str:
    """Return a wrong value as a message may repeat it: short, on one line, printable."""
    match value:
        case None:
            text = "null"
        case bool():
            text = "true" if value else "false"
        case str():
            text = repr(value) if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]!r}…"
        case int():
            # Python refuses to print integers of thousands of digits, which TOML can carry.
            text = str(value) if abs(value) <= _LARGEST_SHOWN_NUMBER else "a very large number"
        case float():
            text = str(value)
        case date() | time():
            text = value.isoformat()
        case Mapping():
            text = "a table"
        case _:
            text = "a list"
    return text


def _first_control_character(text: str, allowed: frozenset[str]) -> str | None:
    for character in text:
        # Cs are lone surrogates, which no encoder writes; Zl and Zp break lines like controls do.
        if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} and character not in allowed:
            return character
    return None
