"""Who can reach the local servers, whom they run as, and that they leave rights alone.

As root the clusters lie below the private place of the package, because pytest's directories are
closed to `nobody`; the tests remove theirs.
"""

import os
import pwd
import shutil
import socket
import stat
import sys
from pathlib import Path

import asyncpg
import pytest

from quota_service.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedRedis
from tests.support.embedded import (
    IS_ROOT,
    MakeParent,
    MakePostgres,
    MakeRedis,
    commands,
    copy_wheels,
    needs_root,
    query,
    rights,
)
from tests.support.patience import LIMIT_S
from tests.support.processes import is_running


def test_the_servers_listen_on_one_loopback_address_only(
    redis_of: MakeRedis,
    postgres_of: MakePostgres,
) -> None:
    stores, ledger = redis_of(), postgres_of()

    stores.start()
    ledger.start()

    for url in (stores.url, ledger.url):
        port = int(url.rsplit(":", 1)[1].split("/")[0])
        socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S).close()
        for address in ("127.0.0.2", "::1"):
            with pytest.raises(OSError, match=r"refused|not available|unreachable|assign"):
                socket.create_connection((address, port), timeout=LIMIT_S)
    assert query(ledger.url, "SELECT current_setting('unix_socket_directories')") == ""


def test_postgres_demands_the_password_that_is_kept_for_us_alone(
    tmp_path: Path, postgres_of: MakePostgres
) -> None:
    server = postgres_of()
    server.start()
    kept = tmp_path / "postgres" / "postgres.password"
    password = kept.read_text().strip()

    with pytest.raises(asyncpg.InvalidPasswordError):
        query(server.url.replace(password, "guess"), "SELECT 1")

    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert password not in (tmp_path / "postgres" / "postgres.log").read_text()


def test_a_deleted_password_is_replaced_by_a_new_one(
    tmp_path: Path, postgres_of: MakePostgres
) -> None:
    server = postgres_of()
    server.start()
    first_url = server.url
    server.stop()
    (tmp_path / "postgres" / "postgres.password").unlink()

    server.start()

    assert server.url != first_url
    assert query(server.url, "SELECT 1") == 1


@needs_root
def test_root_with_everything_closed_to_others_changes_no_rights_and_can_remove_all(
    tmp_path: Path, postgres_of: MakePostgres
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data_dir = closed / "data"
    data_dir.mkdir(mode=0o700)
    _, bin_dir = copy_wheels(closed)
    watched = (tmp_path.parent, tmp_path, closed, data_dir, bin_dir, bin_dir.parent)
    before = rights(*watched)
    server = postgres_of(data_dir, bin_dir=bin_dir)

    server.start()
    query(server.url, "CREATE TABLE booking AS SELECT 1 AS id")
    program = Path(f"/proc/{server.pid}/exe").readlink()
    uid = Path(f"/proc/{server.pid}").stat().st_uid
    server.stop()
    server.start()
    booked = query(server.url, "SELECT id FROM booking")
    server.stop()
    pgdata = server.pgdata
    owner, mode = pgdata.stat().st_uid, stat.S_IMODE(pgdata.stat().st_mode)
    after = rights(*watched)
    above = [directory.stat() for directory in program.parents]
    server.remove_data()

    assert booked == 1
    assert uid == owner == pwd.getpwnam("nobody").pw_uid
    assert mode == 0o700
    assert closed not in program.parents
    for status in above:
        assert status.st_uid == 0
        assert not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    assert after == before
    assert not pgdata.parent.exists()
    assert not data_dir.exists()


@needs_root
def test_root_starts_afresh_when_a_closed_data_directory_was_removed_by_hand(
    tmp_path: Path, postgres_of: MakePostgres
) -> None:
    data_dir = tmp_path / "data"
    first, second = postgres_of(data_dir), postgres_of(data_dir)
    first.start()
    query(first.url, "CREATE TABLE booking AS SELECT 1 AS id")
    first.stop()
    shutil.rmtree(data_dir)

    second.start()

    assert query(second.url, "SELECT to_regclass('booking')") is None


@needs_root
def test_root_removes_what_was_kept_for_a_temporary_data_directory_that_is_gone(
    tmp_path: Path, postgres_of: MakePostgres
) -> None:
    gone, kept, made = (postgres_of(tmp_path / name) for name in ("gone", "kept", "made"))
    for server in (gone, kept):
        server.start()
        server.stop()
    abandoned = gone.pgdata
    shutil.rmtree(tmp_path / "gone")

    made.start()

    assert not abandoned.parent.exists()
    kept.start()
    assert query(kept.url, "SELECT 1") == 1


@needs_root
def test_root_refuses_a_closed_data_directory_that_was_copied(
    tmp_path: Path, postgres_of: MakePostgres
) -> None:
    original = postgres_of(tmp_path / "original")
    original.start()
    shutil.copytree(tmp_path / "original", tmp_path / "copy")

    with pytest.raises(EmbeddedError, match="moved or copied"):
        EmbeddedPostgres(tmp_path / "copy").start()

    assert query(original.url, "SELECT 1") == 1


@needs_root
def test_root_keeps_the_cluster_in_a_data_directory_that_everybody_can_pass_to(
    open_dir: Path, postgres_of: MakePostgres
) -> None:
    before = rights(open_dir)
    server = postgres_of(open_dir / "data")

    server.start()

    nobody = pwd.getpwnam("nobody").pw_uid
    assert (open_dir / "data" / "pgdata").stat().st_uid == nobody
    assert stat.S_IMODE((open_dir / "data" / "pgdata").stat().st_mode) == 0o700
    assert (open_dir / "data").stat().st_uid == 0
    assert not (open_dir / "data" / "postgres.place").exists()
    assert rights(open_dir) == before


@needs_root
def test_root_refuses_a_data_directory_that_others_can_write_to(open_dir: Path) -> None:
    theirs = open_dir / "theirs"
    theirs.mkdir()
    os.chown(theirs, pwd.getpwnam("nobody").pw_uid, -1)
    before = rights(theirs)

    for server in (EmbeddedRedis(theirs), EmbeddedPostgres(theirs)):
        with pytest.raises(EmbeddedError, match="belongs to root alone"):
            server.start()

    assert rights(theirs) == before
    assert list(theirs.iterdir()) == []


def test_an_ordinary_user_runs_both_servers_as_itself(
    open_dir: Path, parent_of: MakeParent
) -> None:
    user = pwd.getpwnam("nobody") if IS_ROOT else pwd.getpwuid(os.geteuid())
    binary, bin_dir = copy_wheels(open_dir)
    data = open_dir / "data"
    data.mkdir(mode=0o700)
    os.chown(data, user.pw_uid, user.pw_gid)
    drop = {"uid": user.pw_uid, "gid": user.pw_gid} if IS_ROOT else {}

    parent = parent_of(data, binary=str(binary), bin_dir=str(bin_dir), **drop)

    with commands(parent.redis_url) as client:
        assert client.ping()
    assert query(parent.postgres_url, "SELECT 1") == 1
    if sys.platform == "linux":
        for pid in (parent.redis_pid, parent.postgres_pid):
            assert Path(f"/proc/{pid}").stat().st_uid == user.pw_uid
    assert (data / "postgres" / "pgdata").stat().st_uid == user.pw_uid
    assert parent.finish() == 0
    assert not is_running(parent.redis_pid)
    assert not is_running(parent.postgres_pid)
