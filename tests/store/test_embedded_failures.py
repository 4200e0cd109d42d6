"""Starts of local servers that fail, and programs that are found, copied or refused."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from quota_service.embedded import EmbeddedError, local_server, ports, programs
from tests.support.embedded import (
    MakePostgres,
    MakeRedis,
    query,
    wheel_bin_dir,
    wheel_redis,
)
from tests.support.processes import descendants


def test_a_failed_start_shows_the_log_and_leaves_no_process_and_no_lock(
    tmp_path: Path,
    redis_of: MakeRedis,
    postgres_of: MakePostgres,
) -> None:
    stores, ledger = redis_of(), postgres_of()
    for server in (stores, ledger):
        server.start()
        server.stop()
    manifest = tmp_path / "redis" / "appendonlydir" / "appendonly.aof.manifest"
    kept = manifest.read_text()
    manifest.write_text("no manifest")
    settings = ledger.pgdata / "postgresql.auto.conf"
    settings.write_text("work_mem = plenty")
    running_before = set(descendants(os.getpid()))

    with pytest.raises(EmbeddedError, match=r"(?s)did not start.*AOF manifest"):
        stores.start()
    with pytest.raises(EmbeddedError, match=r"(?s)did not start.*work_mem"):
        ledger.start()

    assert stores.pid is None
    assert ledger.pid is None
    assert set(descendants(os.getpid())) <= running_before
    manifest.write_text(kept)
    settings.write_text("")
    redis_of().start()
    postgres_of().start()


def test_a_given_port_that_is_taken_is_an_error_that_names_it(
    redis_of: MakeRedis, postgres_of: MakePostgres
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        for server in (redis_of(port=port), postgres_of(port=port)):
            with pytest.raises(EmbeddedError, match=f"port {port} is taken"):
                server.start()


def test_a_chosen_port_that_is_taken_meanwhile_is_replaced_by_another(
    monkeypatch: pytest.MonkeyPatch,
    redis_of: MakeRedis,
    postgres_of: MakePostgres,
) -> None:
    choose = ports.free_loopback_port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for server in (redis_of(), postgres_of()):
            offers = iter([taken.getsockname()[1], choose()])
            monkeypatch.setattr(local_server, "free_loopback_port", lambda o=offers: next(o))

            server.start()

            assert str(taken.getsockname()[1]) not in server.url.split("@")[-1]


@pytest.mark.parametrize(
    ("server", "versions", "wins"),
    [
        ("redis-server", ("Redis server v=7.0.15", "15.2"), True),
        ("redis-server", ("Redis server v=6.2.14", "14.9"), False),
        ("redis-server", ("Valkey server v=8.1.0", "17.0"), True),
        ("valkey-server", ("Valkey server v=8.1.0", "18.0"), True),
        ("valkey-server", ("Valkey server v=7.2.9", "14.9"), False),
    ],
)
def test_what_is_on_the_path_wins_over_the_wheels_unless_it_is_too_old(
    server: str,
    versions: tuple[str, str],
    wins: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    redis_version, postgres_version = versions
    answers = {server: f"{redis_version} sha=0:0 malloc=libc bits=64"}
    answers |= dict.fromkeys(
        programs.POSTGRES_PROGRAMS, f"postgres (PostgreSQL) {postgres_version}"
    )
    for program, answer in answers.items():
        (tmp_path / program).write_text(f"#!/bin/sh\necho '{answer}'\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "_INSTALLED_POSTGRES", ())

    found = (programs.find_redis_binary(), programs.find_postgres_bin_dir())

    on_path = (tmp_path / server, tmp_path)
    assert found == (on_path if wins else (wheel_redis(), wheel_bin_dir()))


def test_a_machine_without_the_servers_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(programs, "_INSTALLED_POSTGRES", ())
    monkeypatch.setattr(programs, "wheel_program", lambda *_: None)

    with pytest.raises(EmbeddedError, match=r"no redis-server.*quota-service\[embedded\]"):
        programs.find_redis_binary()
    with pytest.raises(EmbeddedError, match=r"no Postgres.*quota-service\[embedded\]"):
        programs.find_postgres_bin_dir()


def test_a_cluster_of_another_major_version_is_refused_by_name(
    postgres_of: MakePostgres,
) -> None:
    server = postgres_of()
    server.start()
    server.stop()
    version = server.pgdata / "PG_VERSION"
    version.write_text("14\n")

    with pytest.raises(EmbeddedError, match=r"(?s)did not start.*version 14"):
        server.start()


def test_a_cluster_that_is_gone_is_an_error_and_not_replaced(
    tmp_path: Path, postgres_of: MakePostgres
) -> None:
    server = postgres_of()
    server.start()
    server.stop()
    shutil.rmtree(server.pgdata)

    with pytest.raises(EmbeddedError, match=r"pgdata is gone.*remove .* to start afresh"):
        server.start()

    assert not server.pgdata.exists()
    shutil.rmtree(tmp_path / "postgres")
    server.start()


def test_a_start_that_was_killed_while_the_cluster_was_made_is_begun_anew(
    tmp_path: Path, postgres_of: MakePostgres
) -> None:
    half = tmp_path / "postgres" / "pgdata.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    (tmp_path / "postgres" / "postgres.password").write_text("never used\n")
    server = postgres_of()

    server.start()

    assert query(server.url, "SELECT 1") == 1
    assert not half.exists()


def test_a_data_directory_of_an_earlier_version_is_refused(
    tmp_path: Path, postgres_of: MakePostgres
) -> None:
    data_dir = tmp_path / "postgres"
    data_dir.mkdir()
    (data_dir / "postgres.place").write_text("/var/lib/quota-service-embedded/clusters/0")

    with pytest.raises(EmbeddedError, match="made by an earlier version"):
        postgres_of().start()

    assert not (data_dir / "pgdata").exists()


def test_a_running_server_cannot_be_started_again(postgres_of: MakePostgres) -> None:
    server = postgres_of()
    server.start()

    with pytest.raises(EmbeddedError, match="already running"):
        server.start()

    assert query(server.url, "SELECT 1") == 1
