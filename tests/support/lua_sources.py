"""The Lua scripts as text, their headers taken apart, for tests that hold both together."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

LUA = Path(__file__).parents[2] / "lua"

_KEY = re.compile(r"^-- KEYS\[(\d+)\]\s+(\w+)\s+(\w+)\s+(\S.*)$", re.MULTILINE)
_ARG = re.compile(r"^-- ARGV\[(\d+)\]\s+(\S.*(?:\n--         \s*\S.*)*)$", re.MULTILINE)
_RETURNS = re.compile(r"^-- Returns (.*?)(?=^-- @include|\Z)", re.MULTILINE | re.DOTALL)
_FUNCTION = re.compile(r"^local function (\w+)\(([^)]*)\)\n(.*?)^end$", re.MULTILINE | re.DOTALL)
_LOCALS = re.compile(r"^\s*local ([\w,\s]+?)\s*=\s*((?:[^\n]*,\n)*[^\n]*)$", re.MULTILINE)


@dataclass(frozen=True)
class LuaSource:
    """One file of `lua/`."""

    name: str
    text: str

    @cached_property
    def header(self) -> str:
        """The comment lines at the top, the shebang left out."""
        lines = self.text.splitlines(keepends=True)
        if lines[0].startswith("#!"):
            lines = lines[1:]
        end = next(i for i, line in enumerate(lines) if not line.startswith("--"))
        return "".join(lines[:end])

    @cached_property
    def code(self) -> str:
        """Everything below the header, comments left out."""
        below = self.text[self.text.index(self.header) + len(self.header) :]
        return re.sub(r"--[^\n]*", "", below)

    @cached_property
    def flags(self) -> set[str]:
        """The flags of the shebang line."""
        found = re.match(r"#!lua(?: flags=([\w,-]+))?\n", self.text)
        assert found is not None, self.name
        return set(found[1].split(",")) if found[1] else set()

    @cached_property
    def keys(self) -> list[tuple[int, str, str]]:
        """(number, type, name) of each `KEYS[n]` line, in order."""
        return [(int(number), kind, name) for number, kind, name, _ in _KEY.findall(self.header)]

    @cached_property
    def args(self) -> list[tuple[int, str]]:
        """(number, meaning) of each `ARGV[n]` line, in order."""
        return [(int(number), meaning) for number, meaning in _ARG.findall(self.header)]

    @cached_property
    def returns(self) -> str:
        """The block that lists the answers."""
        found = _RETURNS.search(self.header)
        assert found is not None, self.name
        return found[1]

    @cached_property
    def includes(self) -> list[str]:
        """The parts it includes, in order."""
        return re.findall(r"^-- @include (\w+)$", self.header, re.MULTILINE)

    @cached_property
    def transitions(self) -> set[tuple[str, str]]:
        """The transitions of its `Transitions:` line."""
        found = re.search(r"^-- Transitions: (.+)\.$", self.header, re.MULTILINE)
        transitions = found[1].split(", ") if found else []
        return {
            (start, end)
            for start, _, end in (transition.partition(" -> ") for transition in transitions)
        }

    @cached_property
    def functions(self) -> Mapping[str, tuple[list[str], str]]:
        """Parameters and body of each local function at the left margin."""
        return {
            name: (re.split(r",\s*", parameters), body)
            for name, parameters, body in _FUNCTION.findall(self.code)
        }

    @cached_property
    def main(self) -> str:
        """The code outside of those functions."""
        return _FUNCTION.sub("", self.code)

    @cached_property
    def assignments(self) -> list[tuple[str, str]]:
        """(name, expression) of every `local` statement, those of several names paired up."""
        return [
            pair
            for names, values in _LOCALS.findall(self.code)
            for pair in zip(re.split(r",\s*", names), _split(values), strict=False)
        ]


def read_sources(folder: Path = LUA) -> dict[str, LuaSource]:
    """Return every file of a folder by its name."""
    return {
        path.stem: LuaSource(path.stem, path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.lua"))
    }


def _split(values: str) -> list[str]:
    """Split a list of expressions at the commas outside of brackets."""
    parts, depth = [""], 0
    for letter in values:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
