"""Local servers end with the process that started them, and belong to one process at a time."""

import os
import subprocess
from pathlib import Path

import pytest

from quota_service.embedded import EmbeddedError
from tests.support.embedded import (
    IS_ROOT,
    MakeParent,
    MakePostgres,
    MakeRedis,
    commands,
    family,
    needs_linux,
    query,
)
from tests.support.patience import LIMIT_S
from tests.support.processes import is_running


@needs_linux
def test_a_parent_killed_with_sigkill_takes_its_servers_along(
    tmp_path: Path,
    parent_of: MakeParent,
    redis_of: MakeRedis,
    postgres_of: MakePostgres,
) -> None:
    parent = parent_of(tmp_path)
    with commands(parent.redis_url) as client:
        client.set("seat", "taken")
    query(parent.postgres_url, "CREATE TABLE booking AS SELECT 1 AS id")
    members = family(parent.redis_pid) + family(parent.postgres_pid)

    parent.kill()
    stores, ledger = redis_of(), postgres_of()
    stores.start()
    ledger.start()

    assert not [pid for pid in members if is_running(pid)]
    with commands(stores.url) as client:
        assert client.get("seat") == "taken"
    assert query(ledger.url, "SELECT id FROM booking") == 1


def test_a_second_living_parent_is_refused(
    tmp_path: Path,
    parent_of: MakeParent,
    redis_of: MakeRedis,
    postgres_of: MakePostgres,
) -> None:
    parent = parent_of(tmp_path)
    holder = f"pid {parent.process.pid}"

    with pytest.raises(EmbeddedError, match=f"in use by another running process .{holder}"):
        redis_of().start()
    with pytest.raises(EmbeddedError, match=f"in use by another running process .{holder}"):
        postgres_of().start()

    with commands(parent.redis_url) as client:
        assert client.ping()
    assert query(parent.postgres_url, "SELECT 1") == 1
    assert parent.finish() == 0


def test_a_stale_pid_file_with_a_strangers_pid_harms_neither_start_nor_stranger(
    postgres_of: MakePostgres,
) -> None:
    ledger = postgres_of()
    ledger.start()
    ledger.stop()
    pgdata = ledger.pgdata
    owner = pgdata.stat().st_uid
    stranger = subprocess.Popen(["sleep", "600"], user=owner if IS_ROOT else None)
    (pgdata / "postmaster.pid").write_text(f"{stranger.pid}\n{pgdata}\n")
    os.chown(pgdata / "postmaster.pid", owner, -1)

    ledger.start()

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait(LIMIT_S)


@needs_linux
def test_a_server_whose_parent_was_killed_is_waited_for_and_then_refused(
    tmp_path: Path, redis_of: MakeRedis
) -> None:
    server = redis_of()
    server.start()
    assert server.pid is not None
    (tmp_path / "redis" / "redis-server.lock").write_text("")  # as if its parent had died

    with pytest.raises(EmbeddedError, match="or by a redis-server that it left"):
        redis_of().start(timeout_s=0.1)

    with commands(server.url) as client:
        assert client.ping()
