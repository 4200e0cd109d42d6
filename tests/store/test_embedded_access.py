"""Who can reach the local servers, whom they run as, and that they leave rights alone."""

import os
import pwd
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from quota_service.embedded import (
    EmbeddedError,
    EmbeddedPostgres,
    EmbeddedRedis,
    program_copies,
)
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


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that every user can reach; pytest's are closed."""
    with tempfile.TemporaryDirectory(prefix="quota-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


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


def test_a_cluster_without_its_password_is_refused_and_left_alone(
    tmp_path: Path, postgres_of: MakePostgres
) -> None:
    server = postgres_of()
    server.start()
    server.stop()
    kept = tmp_path / "postgres" / "postgres.password"
    password = kept.read_text()
    kept.unlink()

    with pytest.raises(EmbeddedError, match=r"cannot use .*No such file.*postgres\.password"):
        server.start()

    kept.write_text(password)
    server.start()
    assert query(server.url, "SELECT 1") == 1


@needs_root
def test_root_with_everything_closed_to_others_changes_no_rights_and_keeps_all_in_one_place(
    tmp_path: Path, postgres_of: MakePostgres
) -> None:
    nobody = pwd.getpwnam("nobody")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data_dir = closed / "data"
    data_dir.mkdir(mode=0o700)
    watched = (tmp_path.parent, tmp_path, closed, data_dir)
    before = rights(*watched)
    server = postgres_of(data_dir)

    server.start()
    query(server.url, "CREATE TABLE booking AS SELECT 1 AS id")
    uid = Path(f"/proc/{server.pid}").stat().st_uid
    server.stop()
    moved = data_dir.rename(closed / "moved")
    again = postgres_of(moved)
    again.start()

    assert query(again.url, "SELECT id FROM booking") == 1
    status = again.pgdata.stat()
    assert uid == status.st_uid == nobody.pw_uid
    assert stat.S_IMODE(status.st_mode) == 0o700
    assert again.pgdata.is_relative_to(moved)
    moved.rename(data_dir)
    assert rights(*watched) == before


@needs_root
def test_root_runs_a_copy_of_programs_that_are_closed_to_others_and_makes_it_once(
    tmp_path: Path, postgres_of: MakePostgres, monkeypatch: pytest.MonkeyPatch, open_dir: Path
) -> None:
    monkeypatch.setattr(program_copies, "_COPIES", open_dir / "copies")
    _, bin_dir = copy_wheels(tmp_path)
    before = rights(tmp_path, bin_dir, bin_dir.parent)
    first = postgres_of(tmp_path / "first", bin_dir=bin_dir)
    second = postgres_of(tmp_path / "second", bin_dir=bin_dir)

    first.start()
    second.start()

    (copy,) = (open_dir / "copies").iterdir()
    for server in (first, second):
        program = Path(f"/proc/{server.pid}/exe").readlink()
        assert program.is_relative_to(copy)
    for path in (copy, *copy.rglob("*")):
        status = path.stat()
        assert status.st_uid == 0
        assert not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    assert rights(tmp_path, bin_dir, bin_dir.parent) == before


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
