"""The one connection to Redis on which every command of this process is pipelined.

What a process knows of Redis must not depend on which of its connections asks: after a failover one
may lead to the new server and another still to the old one. So there is one, and everything about
it is dropped when it shows that the server has changed: a failure, an answer that did not come in
time, a reply that only a replica gives. Connecting, TLS, authentication and parsing are redis-py's.
Replies come in the order of the commands, which is all the bookkeeping there is. A connection that
fails takes every command on it along, each of which may have run.
"""

import asyncio
import hashlib
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

log = logging.getLogger(__name__)

Command = tuple[str | int, ...]
Commands = Callable[[str], Sequence[Command]]
"""Makes the commands to send, given the run of the server they go to."""

OLDEST_VERSIONS = {"redis": (7, 0), "valkey": (8, 0)}
"""Redis 7.0 brought flags for scripts. Valkey says that it is Redis 7.2.4, beside its own version.
"""

_ID_BYTES = 6
_SECTIONS = ("server", "replication", "persistence")


class UnsupportedServerError(RedisError):
    """A server that is too old for the scripts."""


class _Batch:
    """Commands that were written together, and the replies received so far."""

    __slots__ = ("count", "replies", "waiter")

    def __init__(self, count: int, waiter: "asyncio.Future[list[Any]]") -> None:
        self.count = count
        self.replies: list[Any] = []
        self.waiter = waiter


class _Link:
    """One life of the connection: to one run of one server."""

    __slots__ = ("batches", "connection", "reader", "run")

    def __init__(self, connection: AbstractConnection, run: str) -> None:
        self.connection = connection
        self.run = run
        self.batches: deque[_Batch] = deque()
        self.reader: asyncio.Task[None] | None = None


class PipelinedConnection:
    """A connection that is opened when it is needed, and again when it was lost."""

    def __init__(
        self,
        pool: ConnectionPool,
        *,
        timeout_s: float,
        address: Callable[[], Awaitable[tuple[str, int]]] | None = None,
    ) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._address = address
        self._failure: Exception | None = None
        self._began_s = self._next_attempt_s = 0.0
        self._connecting: asyncio.Task[_Link] | None = None
        self._link: _Link | None = None
        self._is_closed = False
        self.run = ""
        """The run of the server that was connected last."""
        self.version = ""
        """Its program and version."""
        self._readers: set[asyncio.Task[None]] = set()

    async def send(self, commands: Commands) -> list[Any]:
        """Write commands in one go and return their replies in order; an error reply is a value.

        Raises redis-py's ConnectionError and TimeoutError; the commands may then have run.
        """
        link = self._link
        if link is None or not link.connection.is_connected:
            link = await self._connected()
        # Nothing is awaited between here and the write: the commands are for this very server.
        loop = asyncio.get_running_loop()
        made = commands(link.run)
        batch = _Batch(len(made), loop.create_future())
        pack = hiredis.pack_command
        packed = b"".join([pack(command) for command in made])  # type: ignore[arg-type]
        link.batches.append(batch)
        timer = loop.call_later(self._timeout_s, self._give_up, link)
        try:
            await link.connection.send_packed_command(packed, check_health=False)
            return await batch.waiter
        except (RedisError, OSError) as error:
            self._drop(link, error)
            raise
        finally:
            timer.cancel()
            if not batch.waiter.done():
                batch.waiter.cancel()  # its callers have left
            elif not batch.waiter.cancelled():
                batch.waiter.exception()  # it was raised, or the write's was

    async def check(self, *, is_named: bool = False) -> None:
        """Return when the server is the one that was connected to; leave it when it is not.

        Raises redis-py's errors when it does not answer or cannot serve any more, and with
        `is_named` when it is not known whether it is the primary still.
        """
        await self._leave_former_primary(is_named=is_named)
        asked: list[str] = []

        def about_itself(run: str) -> Sequence[Command]:
            asked.append(run)
            return [("INFO", section) for section in _SECTIONS]

        try:
            is_same = _about(await self.send(about_itself)).run == asked[0]
        except ReadOnlyError:
            self.drop("redis has become a replica")
            raise
        if not is_same:
            self.drop("redis has another history")  # the next command connects under its new name

    async def _leave_former_primary(self, *, is_named: bool) -> None:
        """Leave a server that is not to be found where we are connected any more.

        Where nobody says which it is, it stays, unless `is_named`: a server that answers is better
        than none.
        """
        link = self._link
        if self._address is None or link is None:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                now = await self._address()
        except (RedisError, OSError, TimeoutError) as error:
            if is_named:
                raise
            log.warning("the address of the primary is not known", extra={"cause": str(error)})
            return
        here = link.connection
        is_there = isinstance(here, Connection) and (here.host, here.port) == now
        if self._link is link and not is_there:
            self.drop(f"{now[0]}:{now[1]} is the primary now")

    def drop(self, reason: str) -> None:
        """Leave the server; every command under way fails, and the next one connects anew."""
        if self._link is not None:
            self._drop(self._link, RedisConnectionError(reason))

    async def aclose(self) -> None:
        """Close the connection for good; commands under way fail, and those that come later."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        self.drop("the connection was closed")
        if self._readers:
            await asyncio.wait(self._readers)

    async def _connected(self) -> _Link:
        """Return the connection; all who wait for it share one attempt, and its failure.

        After an attempt that failed only the first one waits for the next, and after one without an
        answer nobody for as long again: others would spend the time of the process on a server that
        is away.
        """
        while True:
            if self._is_closed:
                raise RedisConnectionError("the connection was closed")
            link = self._link
            if link is not None and link.connection.is_connected:
                return link
            is_hopeless = self._connecting is not None or time.monotonic() < self._next_attempt_s
            if self._failure is not None and is_hopeless:
                raise self._failure.with_traceback(None)  # else it grows by each who raises it
            if self._connecting is None:
                self.drop("the connection was lost")
                self._began_s = time.monotonic()
                connecting = asyncio.get_running_loop().create_task(self._connect())
                self._connecting = connecting
                connecting.add_done_callback(self._attempt_ended)
            connecting = self._connecting
            await asyncio.wait({connecting})  # a caller who leaves does not end it for the others
            if connecting.cancelled():
                raise RedisConnectionError("the connection was closed")
            connecting.result()

    def _attempt_ended(self, attempt: "asyncio.Task[_Link]") -> None:
        self._connecting = None
        if not attempt.cancelled():
            failure = attempt.exception()  # raised in its callers, who may have left
            self._failure = failure if isinstance(failure, Exception) else None
            now_s = time.monotonic()
            if isinstance(failure, TimeoutError | RedisTimeoutError):
                self._next_attempt_s = now_s + now_s - self._began_s

    async def _connect(self) -> _Link:
        connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.connect()
                about = await _greet(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._link = link = _Link(connection, about.run)
        self.run, self.version = about
        link.reader = asyncio.get_running_loop().create_task(self._read(link))
        self._readers.add(link.reader)
        link.reader.add_done_callback(self._readers.discard)
        return link

    async def _read(self, link: _Link) -> None:
        """Hand replies to the batches that wait for them, oldest first."""
        try:
            while True:
                reply = await _reply(link.connection)
                if not link.batches:
                    raise RedisConnectionError(f"redis sent an unexpected reply: {reply}")
                batch = link.batches[0]
                batch.replies.append(reply)
                if len(batch.replies) == batch.count:
                    link.batches.popleft()
                    if not batch.waiter.done():
                        batch.waiter.set_result(batch.replies)
                if isinstance(reply, ReadOnlyError | MasterDownError):
                    # What is under way fails too; under load there would be no better moment.
                    raise RedisConnectionError("redis has become a replica")
        except (RedisError, OSError) as error:
            self._drop(link, error)
        finally:
            await link.connection.disconnect(nowait=True)

    def _give_up(self, link: _Link) -> None:
        """Leave a connection that did not answer a batch in time, nor anything behind it."""
        self._drop(link, RedisTimeoutError(f"no answer within {self._timeout_s:g} s"))

    def _drop(self, link: _Link, error: Exception) -> None:
        """Leave a connection and fail every command on it; its reader closes it."""
        if self._link is link:
            self._link = None
        if link.reader is not None and link.reader is not asyncio.current_task():
            link.reader.cancel()
        batches, link.batches = link.batches, deque()
        for batch in batches:
            if not batch.waiter.done():
                batch.waiter.set_exception(error)


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(timeout=math.inf, disconnect_on_error=False)
    except ResponseError as error:
        return error


class _About(NamedTuple):
    """A server: its run, its program and version."""

    run: str
    version: str


async def _greet(connection: AbstractConnection) -> _About:
    """Return what the server at the other end is; raises when it cannot serve us."""
    texts = []
    for section in _SECTIONS:
        await connection.send_command("INFO", section, check_health=False)
        texts.append(await connection.read_response(timeout=math.inf))
    return _about(texts)


def _about(texts: Sequence[Any]) -> _About:
    """Return what a server is, from what it says of itself.

    Its run is `<start>.<history>`: the start is made of `run_id`, another after each start, the
    history of `master_replid2`, the id of the history a server had as a replica before it was
    promoted, 0 where there is none. Raises redis-py's errors when it cannot serve us.
    """
    for text in texts:
        if isinstance(text, Exception):
            raise text
    lines = [line for text in texts for line in str(text).splitlines() if ":" in line]
    info = dict(line.split(":", 1) for line in lines)
    server = "valkey" if "valkey_version" in info else "redis"
    version, oldest = info[f"{server}_version"], OLDEST_VERSIONS[server]
    if tuple(map(int, version.split(".")[:2])) < oldest:
        wanted = ".".join(map(str, oldest))
        raise UnsupportedServerError(f"{server} is version {version}; it takes {wanted} or newer")
    if info["role"] != "master":
        raise ReadOnlyError(f"it is a replica of {info.get('master_host')}")
    if info["loading"] != "0":
        raise RedisConnectionError("it is loading its data")
    history = info["master_replid2"]
    run = f"{_short(info['run_id'])}.{_short(history) if history.strip('0') else 0}"
    return _About(run, f"{server} {version}")


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=_ID_BYTES).hexdigest()
