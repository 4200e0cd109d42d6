"""The units of `deploy/systemd/` as systemd reads them, for what a test starts in its place."""

import shlex
from collections.abc import Iterator
from pathlib import Path

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


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            yield name, value
