"""The units of `deploy/systemd/` as systemd reads them, for what a test starts in its place."""

import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.programs import need_program

SYSTEMD = Path(__file__).parents[2] / "deploy/systemd"
SHARED = SYSTEMD / "quota-.service.d/contained.conf"
UNITS = sorted(SYSTEMD.glob("*.service"))


class Unit:
    """A service and what it shares with the others; `specifiers` are put in, as `%i`."""

    def __init__(self, path: Path, specifiers: dict[str, str]) -> None:
        self.name = path.name
        self._lines = [*_lines(path), *_lines(SHARED)]
        self._specifiers = specifiers

    def values(self, directive: str) -> list[str]:
        """Return every value of a directive."""
        return [self._put_in(value) for name, value in self._lines if name == directive]

    def command(self, directive: str) -> list[str]:
        """Return the words of a command, without the prefix that lets it fail."""
        (value,) = self.values(directive)
        return shlex.split(value.removeprefix("-"))

    def environment(self) -> dict[str, str]:
        """Return the variables of the unit, and of the file that it reads, which wins."""
        pairs = [pair for value in self.values("Environment") for pair in shlex.split(value)]
        told = dict(pair.split("=", 1) for pair in pairs)
        for file in self.values("EnvironmentFile"):
            told |= dict(_lines(SYSTEMD / Path(file).name))
        return told

    def credentials(self) -> dict[str, Path]:
        """Return where each credential is loaded from."""
        loaded = [value.split(":", 1) for value in self.values("LoadCredential")]
        return {name: Path(path) for name, path in loaded}

    def _put_in(self, value: str) -> str:
        for specifier, text in self._specifiers.items():
            value = value.replace(specifier, text)
        return value


def forbidden(unit: Unit, trace: str) -> set[str]:
    """Return what a process did, as strace tells it, that the hardening of its unit forbids."""
    found: set[str] = set()
    allowed = _calls_that_may_be_made(unit)
    found |= set(re.findall(r"^\d+ +(\w+)\(", trace, re.MULTILINE)) - allowed
    if unit.values("MemoryDenyWriteExecute") == ["yes"]:
        found |= set(re.findall(r"^.*PROT_WRITE\|PROT_EXEC.*$", trace, re.MULTILINE))
    families = {name for value in unit.values("RestrictAddressFamilies") for name in value.split()}
    found |= set(re.findall(r"\bsocket\((AF_\w+)", trace)) - families
    if unit.values("ProcSubset") == ["pid"]:
        found |= set(re.findall(r'"(/proc/(?!self|\d)[^"]+)"', trace))
    if unit.values("ProtectSystem") == ["strict"]:
        opened = re.findall(r'\bopen(?:at)?\([^"]*"([^"]+)", [^)]*O_(?:WRONLY|RDWR|CREAT)', trace)
        found |= {path for path in opened if not path.startswith(("/dev/", "/tmp/"))}  # noqa: S108
    return found


def _calls_that_may_be_made(unit: Unit) -> set[str]:
    allowed: set[str] = set()
    for value in unit.values("SystemCallFilter"):
        if value.startswith("~"):
            allowed -= set(_calls(value.removeprefix("~").split()))
        else:
            allowed |= set(_calls([*value.split(), "@default"]))
    return allowed


def _calls(names: Iterable[str]) -> Iterator[str]:
    """Yield the system calls of these, and of the groups of systemd among them."""
    for name in names:
        if not name.startswith("@"):
            yield name
            continue
        told = subprocess.run(
            [need_program("systemd-analyze"), "syscall-filter", name],
            capture_output=True,
            text=True,
            check=True,
        )
        lines = [line.strip() for line in told.stdout.splitlines()[1:]]
        yield from _calls(line for line in lines if line and not line.startswith("#"))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            yield name, value
