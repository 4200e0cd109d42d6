"""Writes a definition as the TOML that `exam import` reads, with a comment behind what has one.

The standard library reads TOML and writes none; a definition has few kinds of values, so that this
is short. Times are written as TOML's own, titles on one line.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]
"""The names of a member and of the tables around it; entries of lists are not told apart."""
_NOTHING: Mapping[Path, str] = {}
_TIMES = {"at", "until"}
_COLUMN = 40
"""Where a comment begins, at the earliest."""


def toml_of(document: Mapping[str, Any], comments: Mapping[Path, str] = _NOTHING) -> str:
    """Return a definition document as TOML, members in their order."""
    return "\n".join(_table((), document, comments)).lstrip("\n") + "\n"


def _table(path: Path, table: Mapping[str, Any], comments: Mapping[Path, str]) -> Iterator[str]:
    """Yield the lines of a table: first its values, then the tables in it, as TOML wants it."""
    for name, value in table.items():
        if not _is_table(name, value) and value is not None:
            at = (*path, name)
            yield _commented(f"{_key(name)} = {_value(name, value)}", comments.get(at))
    for name, value in table.items():
        if _is_table(name, value):
            at = (*path, name)
            brackets = "[[{}]]" if isinstance(value, list) else "[{}]"
            head = brackets.format(".".join(map(_key, at)))
            for i, entry in enumerate(value if isinstance(value, list) else [value]):
                yield ""
                yield _commented(head, comments.get(at) if i == 0 else None)
                yield from _table(at, entry, comments if i == 0 else _NOTHING)


def _is_table(name: str, value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, dict) for each in value)
    return isinstance(value, dict) and name != "title"


def _value(name: str, value: Any) -> str:
    if isinstance(value, dict):
        members = [f"{_key(key)} = {_value(key, each)}" for key, each in value.items()]
        return f"{{ {', '.join(members)} }}"
    if isinstance(value, list):
        return f"[{', '.join(_value(name, each) for each in value)}]"
    if not isinstance(value, str):
        return str(value)
    if name.endswith("_at") or name in _TIMES:
        return value
    if "\n" in value:
        return '"""\n' + "\n".join(_escaped(line) for line in value.split("\n")) + '"""'
    return f'"{_escaped(value)}"'


def _escaped(text: str) -> str:
    """Return a text without its quotes; what JSON escapes TOML escapes alike."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _key(name: str) -> str:
    is_bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if is_bare else f'"{_escaped(name)}"'


def _commented(line: str, comment: str | None) -> str:
    return line if comment is None else f"{line:<{_COLUMN}}# {comment}"
