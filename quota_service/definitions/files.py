"""Definition files: TOML or JSON, and the CSV of seats beside them.

A mistake in the syntax of a file names file and line.
"""

import csv
import io
import json
import re
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from quota_service.definitions.reading import read_exam
from quota_service.domain.definition import DefinitionError, Problem, shown
from quota_service.domain.exam import REHEARSAL_PREFIX, Exam

MAX_FILE_BYTES = 16 * 1024 * 1024
"""More than the largest exam needs: every venue and subject in a CSV are a few megabytes. What is
sent over HTTP has the same limit."""

SAMPLE_EXAM_ID = "ccaa-2023-1"
SAMPLE_EXAM = f"{SAMPLE_EXAM_ID}.toml"

_COUNTS = {"seats", "capacity"}
_SEATS_COLUMNS = [{"venue", "subject", count} for count in _COUNTS]
_WHOLE_NUMBER = re.compile(r"[0-9]{1,12}", re.ASCII)
_TOML_LINE = re.compile(r"\s*\(at (?:line (?P<line>[0-9]+), column [0-9]+|end of document)\)$")


class _DuplicateKeyError(ValueError):
    """A JSON object names a key twice, of which a plain reader would silently drop one."""


def load_sample_exam() -> Exam:
    """Return the exam that the demo runs and the documents show."""
    with resources.as_file(resources.files("quota_service") / "exams" / SAMPLE_EXAM) as path:
        return load_exam_file(path)


def load_exam_file(path: Path) -> Exam:
    """Return the exam that a TOML file (or JSON, by the suffix `.json`) defines.

    In place of `seats` it may name a CSV file beside it, `seats_csv = "seats.csv"`, with the header
    venue,subject,seats. Raises `DefinitionError`, also for files that are missing or malformed, and
    for an id that is kept for rehearsals.
    """
    document = _read_definition(path)
    found = []
    if str(document.get("id", "")).startswith(REHEARSAL_PREFIX):
        kept = f"starts with {REHEARSAL_PREFIX}, which is kept for rehearsals"
        found.append(Problem("id", kept))
    if "seats_csv" not in document:
        return read_exam(document, found, None)
    if "seats" in document:
        found.append(Problem("seats_csv", "cannot be given together with `seats`"))
    rows: list[dict[str, object]] = []
    lines: list[str] = []
    try:
        for line, row in _seats_rows(path.parent, document.pop("seats_csv"), found):
            rows.append(row)
            lines.append(line)
    except DefinitionError as error:
        found += [Problem("seats_csv", str(problem)) for problem in error.problems]
    return read_exam({**document, "seats": rows}, found, lines)


def _read_definition(path: Path) -> dict[str, object]:
    """Return the document in a definition file; `DefinitionError` names file and line."""
    text = _read(path)
    try:
        document = _json(text) if path.suffix == ".json" else tomllib.loads(text)
    except (RecursionError, ValueError) as error:
        line, detail = _mistake(error, text)
        where = path.name if line is None else f"{path.name}:{line}"
        raise DefinitionError([Problem(where, detail)]) from error
    if not isinstance(document, dict):
        raise DefinitionError([Problem(path.name, "must be a table at the top")])
    return document


def _mistake(error: Exception, text: str) -> tuple[int | None, str]:
    """Return the line of a mistake in the syntax of a file, None where untold, and what it is."""
    match error:
        case RecursionError():
            return None, "is nested too deeply"
        case json.JSONDecodeError():
            return error.lineno, error.msg
    # The message of TOML ends with the place; an overlong number is refused without one.
    message = str(error)
    place = _TOML_LINE.search(message)
    if place is None:
        return None, message
    return int(place["line"] or text.count("\n") + 1), message[: place.start()]


def _seats_rows(
    folder: Path, name: object, found: list[Problem]
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield file and line of each row of the CSV file `name`, and the row as `seats` has it.

    The columns may be in any order and blank lines are skipped. Rows that cannot be read are
    added to `found` with file and line; so is a file without rows.
    """
    if not isinstance(name, str) or not name or Path(name).name != name or "\\" in name:
        detail = f"must be the name of a file beside the definition, not {shown(name)}"
        found.append(Problem("seats_csv", detail))
        return
    reader = csv.reader(io.StringIO(_read(folder / name), newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if set(header) not in _SEATS_COLUMNS or len(header) != len(set(header)):
            detail = "the first line must be the header venue,subject,seats"
            found.append(Problem(f"{name}:1", detail))
            return
        is_empty = True
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            is_empty = False
            line = f"{name}:{reader.line_num}"
            if len(cells) != len(header):
                found.append(Problem(line, f"has {len(cells)} columns, not {len(header)}"))
                continue
            row: dict[str, object] = dict(zip(header, map(str.strip, cells), strict=True))
            for count in _COUNTS & row.keys():
                if _WHOLE_NUMBER.fullmatch(str(row[count])):
                    row[count] = int(str(row[count]))
            yield line, row
        if is_empty:
            detail = "must give the seats of at least one venue and subject"
            found.append(Problem(name, detail))
    except csv.Error as error:
        found.append(Problem(f"{name}:{reader.line_num}", f"is not CSV: {error}"))


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


def _json(text: str | bytes) -> object:
    return json.loads(text, object_pairs_hook=_unique_members)


def parse_definition_json(content: bytes) -> object:
    """Return the JSON in the bytes of a definition that was sent, by the rules of a file.

    Raises `DefinitionError` for a duplicated key, which another reader would read otherwise, and
    ValueError for what is no JSON.
    """
    try:
        return _json(content)
    except _DuplicateKeyError as error:
        raise DefinitionError([Problem("definition", str(error))]) from error
    except RecursionError as error:
        raise DefinitionError([Problem("definition", "is nested too deeply")]) from error


def _unique_members(members: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(members)
    if len(table) != len(members):
        keys = [key for key, _ in members]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _DuplicateKeyError(f"the key {shown(twice)} is duplicated in one object")
    return table
