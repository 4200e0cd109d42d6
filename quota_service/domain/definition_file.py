"""Definition files: TOML or JSON, and the CSV of seats beside them, as raw values.

Nothing is judged here beyond the syntax of the files; a mistake in it names file and line.
"""

import csv
import io
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from quota_service.domain.definition_fields import DefinitionError, Problem, Problems, shown
from quota_service.domain.definition_seats import CsvSeats

MAX_FILE_BYTES = 16 * 1024 * 1024
"""More than the largest exam needs: every venue and subject in a CSV are a few megabytes. What is
sent over HTTP has the same limit."""

_SEATS_COLUMNS = ({"venue", "subject", "seats"}, {"venue", "subject", "capacity"})
_WHOLE_NUMBER = re.compile(r"[0-9]{1,12}", re.ASCII)
_TOML_LINE = re.compile(r"\s*\(at (?:line (?P<line>[0-9]+), column [0-9]+|end of document)\)$")


class _DuplicateKeyError(ValueError):
    """A JSON object names a key twice, of which a plain reader would silently drop one."""


def read_definition_file(path: Path) -> dict[str, object]:
    """Return the document in a TOML file, or a JSON file if its name ends in `.json`.

    Raises `DefinitionError` naming file and line if it cannot be read or is malformed.
    """
    try:
        text = _read(path)
        document = _json(text, path) if path.suffix == ".json" else _toml(text, path)
    except RecursionError as error:
        raise DefinitionError([Problem(path.name, "is nested too deeply")]) from error
    if not isinstance(document, dict):
        raise DefinitionError([Problem(path.name, "must be a table at the top")])
    return document


def read_seats_file(folder: Path, name: object, problems: Problems) -> list[CsvSeats]:
    """Return the rows of the CSV file `name` in `folder`, with the header venue,subject,seats.

    The columns may stand in any order and blank lines are skipped. Rows that cannot be read are
    noted with file and line, and left out; a file without rows is noted too.
    """
    if not isinstance(name, str) or not name or Path(name).name != name or "\\" in name:
        detail = f"must be the name of a file beside the definition, not {shown(name)}"
        problems.note("seats_csv", detail)
        return []
    try:
        text = _read(folder / name)
    except DefinitionError as error:
        for problem in error.problems:
            problems.note("seats_csv", str(problem))
        return []
    noted_before = len(problems)
    rows = list(_csv_rows(name, text, problems))
    if not rows and len(problems) == noted_before:
        problems.note(name, "must give the seats of at least one venue and subject")
    return rows


def _csv_rows(name: str, text: str, problems: Problems) -> Iterator[CsvSeats]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if set(header) not in _SEATS_COLUMNS or len(header) != len(set(header)):
            problems.note(f"{name}:1", "the first line must be the header venue,subject,seats")
            return
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{name}:{reader.line_num}"
            if len(cells) != len(header):
                problems.note(where, f"has {len(cells)} columns, not {len(header)}")
                continue
            row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
            seats = row["seats"] if "seats" in row else row["capacity"]
            yield CsvSeats(
                where=where,
                venue=row["venue"],
                subject=row["subject"],
                seats=int(seats) if _WHOLE_NUMBER.fullmatch(seats) else seats,
            )
    except csv.Error as error:
        problems.note(f"{name}:{reader.line_num}", f"is not CSV: {error}")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        # A name with a zero byte is a ValueError.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DefinitionError([Problem(path.name, f"cannot be read: {reason}")]) from error
    if len(content) > MAX_FILE_BYTES:
        detail = f"is larger than {MAX_FILE_BYTES // 1024 // 1024} MiB"
        raise DefinitionError([Problem(path.name, detail)])
    try:
        # Spreadsheets and some editors put a byte order mark first.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DefinitionError([Problem(f"{path.name}:{line}", "is not UTF-8")]) from error


def _toml(text: str, path: Path) -> object:
    try:
        return tomllib.loads(text)
    except ValueError as error:
        # The message ends with the place; an overlong number is refused without one.
        message = str(error)
        place = _TOML_LINE.search(message)
        if place is None:
            raise DefinitionError([Problem(path.name, message)]) from error
        line = place["line"] or str(text.count("\n") + 1)
        where = f"{path.name}:{line}"
        raise DefinitionError([Problem(where, message[: place.start()])]) from error


def _json(text: str, path: Path) -> object:
    try:
        return json.loads(text, object_pairs_hook=_unique_members)
    except json.JSONDecodeError as error:
        raise DefinitionError([Problem(f"{path.name}:{error.lineno}", error.msg)]) from error
    except ValueError as error:
        raise DefinitionError([Problem(path.name, str(error))]) from error


def parse_definition_json(content: bytes) -> object:
    """Return the JSON in the bytes of a definition that was sent, by the rules of a file.

    Raises `DefinitionError` for a key that stands twice, which another reader would read otherwise,
    and ValueError for what is no JSON.
    """
    try:
        return json.loads(content, object_pairs_hook=_unique_members)
    except _DuplicateKeyError as error:
        raise DefinitionError([Problem("definition", str(error))]) from error
    except RecursionError as error:
        raise DefinitionError([Problem("definition", "is nested too deeply")]) from error


def _unique_members(members: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(members)
    if len(table) != len(members):
        keys = [key for key, _ in members]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _DuplicateKeyError(f"the key {shown(twice)} stands twice in one object")
    return table
