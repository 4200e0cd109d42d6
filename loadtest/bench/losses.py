"""What happens to a Redis: it is killed, a replica or an older copy takes its place, it is emptied.

The service knows one address. Its server changes, and a loss is over when a primary answers
PING there. That moment is where the time of a recovery begins: how long a server takes to load its
data, or for a replica to be promoted, is not part of the service.
"""

import abc
import asyncio
import datetime as dt
import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from loadtest.bench.errors import BenchError
from loadtest.bench.redis_client import redis_client
from loadtest.bench.replica import follow
from loadtest.bench.table import Reach, at_most
from loadtest.bench.waiting import until
from quota_service.embedded import EmbeddedRedis
from quota_service.embedded.ports import LOOPBACK, free_loopback_port
from quota_service.seats.keys import Shard

_START_LIMIT_S = 180.0
_REWRITE_LIMIT_S = 180.0
_PROBE_PAUSE_S = 0.005
_LOG_DIR = "appendonlydir"
_BASE = ".base."
"""Part of the name of a file that Redis never writes to again."""


@dataclass(frozen=True, slots=True)
class Back:
    """A primary answers at the address again: when, by either clock, and at which version."""

    at_s: float
    at: dt.datetime
    version: int


@dataclass(frozen=True, slots=True)
class Loss:
    """What was lost: the shard's steps before it that Redis did not have after it."""

    steps_lost: int
    back: Back


class Primary:
    """The server at the one address the service knows, whichever it is; it keeps its data."""

    def __init__(self, folder: Path, exam: str) -> None:
        self._folder = folder
        self._port = free_loopback_port()
        self._version_key = Shard(exam, 0).key("version")
        self._numbers = 0
        self.data_dir = self._new_place()
        self.server = EmbeddedRedis(self.data_dir, port=self._port)
        self.replica: EmbeddedRedis | None = None

    @property
    def url(self) -> str:
        """Where the service finds it."""
        return f"redis://{LOOPBACK}:{self._port}/0"

    async def start(self) -> Back:
        """Start a server on the data there is; returns when it answers."""
        self.server = EmbeddedRedis(self.data_dir, port=self._port)
        starting = asyncio.create_task(asyncio.to_thread(self.server.start, _START_LIMIT_S))
        try:
            return await self.answering(unless=starting)
        finally:
            await starting

    def stop(self) -> None:
        """Stop every server."""
        self.server.stop()
        if self.replica is not None:
            self.replica.stop()

    async def version(self) -> int:
        """Return the version of the shard; everything up to it is on disk."""
        async with redis_client(self.url) as client:
            return int(await client.get(self._version_key) or 0)

    async def kill(self) -> int:
        """Kill the server; return the version of the shard just before."""
        version = await self.version()
        if self.server.pid is not None:
            os.kill(self.server.pid, signal.SIGKILL)
        await asyncio.to_thread(self.server.stop)
        return version

    async def rewrite(self) -> None:
        """Let Redis write its file anew and compactly, and return when it has."""
        async with redis_client(self.url) as client:
            await self._until_written(client)
            await client.bgrewriteaof()
            await self._until_written(client)

    async def copy_log(self) -> Path:
        """Copy the append-only files while they are written to, as its manual says; return where.

        Files that stay as they are are linked. The copy may end in the middle of a write.
        """
        copy = self._folder / f"copy-{self._numbers}"
        async with redis_client(self.url) as client:
            name = "auto-aof-rewrite-percentage"
            before = (await client.config_get(name))[name] or ""
            await client.config_set(name, 0)
            await self._until_written(client)
            await asyncio.to_thread(
                shutil.copytree, self.data_dir / _LOG_DIR, copy, copy_function=_copy_or_link
            )
            await client.config_set(name, before)
        return copy

    def put_in_place(self, copy: Path) -> None:
        """Put a copy of append-only files in the place of the dead server's."""
        shutil.rmtree(self.data_dir / _LOG_DIR)
        copy.rename(self.data_dir / _LOG_DIR)

    async def add_replica(self) -> None:
        """Start a replica, and return when it has everything."""
        self._replica_dir = self._new_place()
        self.replica = EmbeddedRedis(self._replica_dir)
        await asyncio.to_thread(self.replica.start, _START_LIMIT_S)
        await follow(self.replica, self.url)

    async def promote_replica(self) -> Back:
        """Let the replica be the primary at the address of the dead server."""
        if self.replica is None:
            raise BenchError("there is no replica")
        async with redis_client(self.replica.url) as client:
            await client.execute_command("REPLICAOF", "NO", "ONE")
            await client.config_set("port", self._port)
        back = await self.answering()
        self.server, self.replica = self.replica, None
        fallen, self.data_dir = self.data_dir, self._replica_dir
        await asyncio.to_thread(shutil.rmtree, fallen)
        return back

    async def answering(self, unless: "asyncio.Task[None] | None" = None) -> Back:
        """Return when a primary answers PING at the address; `unless` that task ends in an error.

        The version is read along with it, before anybody could have written another.
        """
        async with asyncio.timeout(_START_LIMIT_S):
            while True:
                found = await self._ping()
                if found is not None:
                    return found
                if unless is not None and unless.done():
                    await unless
                await asyncio.sleep(_PROBE_PAUSE_S)

    async def _ping(self) -> Back | None:
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, self._port)
        except OSError:
            return None
        try:
            writer.write(f"PING\r\nGET {self._version_key}\r\n".encode())
            if not (await reader.readline()).startswith(b"+PONG"):
                return None
            at_s, at = time.monotonic(), dt.datetime.now(dt.UTC)
            has_version = not (await reader.readline()).startswith(b"$-1")
            return Back(at_s, at, int(await reader.readline()) if has_version else 0)
        except OSError:
            return None
        finally:
            writer.close()

    async def _until_written(self, client: object) -> None:
        async def is_written() -> bool:
            told = await client.info("persistence")  # type: ignore[attr-defined]
            return not told["aof_rewrite_in_progress"] and not told["aof_rewrite_scheduled"]

        await until(is_written, "Redis to have written its file", within_s=_REWRITE_LIMIT_S)

    def _new_place(self) -> Path:
        self._numbers += 1
        return self._folder / f"redis-{self._numbers}"


def _copy_or_link(source: str, target: str) -> None:
    if _BASE in Path(source).name:
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


class Case(abc.ABC):
    """One way to lose something, and how soon the service is wanted back."""

    title: ClassVar[str]
    wanted: ClassVar[Reach | None] = None
    keeps_all: ClassVar[bool] = False
    """Whether not one acknowledged hold may be missing afterwards."""

    has_replica: ClassVar[bool] = False
    """Whether a replica follows the primary before it happens."""

    @abc.abstractmethod
    async def lose(self, primary: Primary, age_s: float) -> Loss:
        """Lose it under load; `age_s` is how old a copy is to be, in seconds."""


class Killed(Case):
    """The server is killed and comes back with its own append-only file."""

    title = "kill -9, own disk"
    wanted = at_most(2)
    keeps_all = True

    async def lose(self, primary: Primary, age_s: float) -> Loss:  # noqa: ARG002
        """Kill it, start it."""
        before = await primary.kill()
        return _lost(before, await primary.start())


class Promoted(Case):
    """The server is killed and a replica takes its place."""

    title = "replica promoted"
    wanted = at_most(3)
    has_replica = True

    async def lose(self, primary: Primary, age_s: float) -> Loss:  # noqa: ARG002
        """Kill the one, promote the other."""
        before = await primary.kill()
        return _lost(before, await primary.promote_replica())


class Restored(Case):
    """The server is killed and comes back with a copy of its file from a while ago."""

    title = "older copy of its file"
    wanted = at_most(10)

    async def lose(self, primary: Primary, age_s: float) -> Loss:
        """Copy, wait, kill it, start it with the copy."""
        copy = await primary.copy_log()
        await asyncio.sleep(age_s)
        before = await primary.kill()
        primary.put_in_place(copy)
        return _lost(before, await primary.start())


class Emptied(Case):
    """Everything is removed from the server: the shard is written from Postgres as a whole."""

    title = "FLUSHALL"

    async def lose(self, primary: Primary, age_s: float) -> Loss:  # noqa: ARG002
        """Remove everything."""
        before = await primary.version()
        async with redis_client(primary.url) as client:
            # Everything is gone at once; the memory is freed afterwards, by a thread.
            await client.flushall(asynchronous=True)
        back = await primary.answering()
        return Loss(before, back)


def _lost(before: int, back: Back) -> Loss:
    return Loss(max(0, before - back.version), back)


CASES: dict[str, Case] = {
    "kill": Killed(),
    "replica": Promoted(),
    "copy": Restored(),
    "flush": Emptied(),
}
"""By the name `--only` knows them by, in the order they run."""
