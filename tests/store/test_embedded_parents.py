"""Local servers end with the process that started them, and belong to one process at a time."""

import os
import subprocess
from pathlib import Path

import pytest

from quota_service.embedded import EmbeddedError, EmbeddedRedis
from tests.support.embedded import (
    IS_ROOT,
    MakeParent,
    MakePostgres,
    MakeRedis,
    await_until,
    commands,
    family,
    needs_linux,
    query,
    wheel_redis,
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
def test_a_redis_that_was_not_started_from_here_is_neither_joined_nor_ended(tmp_path: Path) -> None:
    place = ("--port", "0", "--unixsocket", tmp_path / "s", "--dir", tmp_path)
    stranger = subprocess.Popen(
        [wheel_redis(), *place, "--set-proc-title", "no"], stdout=subprocess.DEVNULL
    )
    assert await_until((tmp_path / "s").exists)

    with pytest.raises(EmbeddedError, match=rf"pid \[{stranger.pid}\]"):
        EmbeddedRedis(tmp_path).start(timeout_s=0.5)

    assert stranger.poll() is None
    stranger.kill()
    stranger.wait(LIMIT_S)
