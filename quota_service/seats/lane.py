"""The one connection that script calls travel on, spoken to without redis-py's packing.

At the opening redis-py's pipeline and packing took a tenth of what a reservation cost, so here
commands are packed and replies parsed by hiredis directly. Connecting, TLS, authentication and
the choice of database stay redis-py's: its connection is opened as ever, and then its transport is
given to this protocol. Replies come in the order of the commands, which is all the bookkeeping
there is. A connection that fails takes every call on it along, each of which may have run.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection, ConnectionPool

Command = tuple[str | int, ...]

_NOT_YET = object()
"""What the parser answers while a reply is not whole."""


class _Batch:
    """Commands that were written together, and their replies as far as they have come."""

    __slots__ = ("count", "replies", "waiter")

    def __init__(self, count: int, waiter: "asyncio.Future[list[Any]]") -> None:
        self.count = count
        self.replies: list[Any] = []
        self.waiter = waiter


class ScriptLane(asyncio.Protocol):
    """A connection of its own, opened when it is needed and again when it was lost."""

    def __init__(self, pool: "ConnectionPool", *, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s
        self._connecting = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._transport: asyncio.Transport | None = None
        self._before: asyncio.BaseProtocol | None = None
        self._reader: Any = None
        self._under_way: deque[_Batch] = deque()

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Write commands in one go and return their replies in order; an error reply is a value.

        Raises redis-py's ConnectionError and TimeoutError; the commands may then have run.
        """
        transport = self._transport
        if transport is None:
            transport = await self._connect()
        loop = asyncio.get_running_loop()
        batch = _Batch(len(commands), loop.create_future())
        pack = hiredis.pack_command
        packed = b"".join([pack(command) for command in commands])  # type: ignore[arg-type]
        self._under_way.append(batch)
        transport.write(packed)
        timer = loop.call_later(self._timeout_s, self._give_up)
        try:
            return await batch.waiter
        finally:
            timer.cancel()

    async def aclose(self) -> None:
        """Close the connection; calls under way fail."""
        self._drop(RedisConnectionError("the connection was closed"))
        await self._forget()

    async def _connect(self) -> asyncio.Transport:
        async with self._connecting:
            if self._transport is not None:
                return self._transport
            await self._forget()
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            await connection.connect()
            transport: asyncio.Transport = connection._writer.transport  # noqa: SLF001  see above
            self._connection, self._transport = connection, transport
            self._before = transport.get_protocol()
            self._reader = hiredis.Reader(
                protocolError=RedisConnectionError,
                replyError=connection._parser.parse_error,  # noqa: SLF001  so that errors are the same
                notEnoughData=_NOT_YET,
                encoding=connection.encoder.encoding,
                errors=connection.encoder.encoding_errors,
            )
            transport.set_protocol(self)
            return transport

    async def _forget(self) -> None:
        """Let redis-py close what is left of the connection before."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def data_received(self, data: bytes) -> None:
        """Hand replies to the batches that wait for them, oldest first."""
        reader, under_way = self._reader, self._under_way
        has_moved = False
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not _NOT_YET:
                if isinstance(reply, hiredis.PushNotification):
                    continue  # said unasked: no command waits for it
                if isinstance(reply, RedisConnectionError) or not under_way:
                    self._drop(RedisConnectionError(f"redis said what was not asked for: {reply}"))
                    return
                batch = under_way[0]
                batch.replies.append(reply)
                if len(batch.replies) == batch.count:
                    under_way.popleft()
                    if not batch.waiter.done():
                        batch.waiter.set_result(batch.replies)
                has_moved = has_moved or isinstance(reply, ReadOnlyError)
        except RedisConnectionError as error:  # bytes that are no protocol
            self._drop(error)
        if has_moved:
            # A master that was made a replica: the next call looks for the new one. What is under
            # way fails with it; under constant load there would never be a better moment.
            self._drop(RedisConnectionError("redis has become a replica"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what was under way; redis-py's own protocol is told too."""
        before, self._before = self._before, None
        if isinstance(before, asyncio.Protocol):
            before.connection_lost(exc)
        self._drop(RedisConnectionError(f"redis closed the connection: {exc or 'end of stream'}"))

    def _give_up(self) -> None:
        """Leave a connection that did not answer a batch in time, nor anything behind it."""
        self._drop(RedisTimeoutError(f"no answer within {self._timeout_s:g} s"))

    def _drop(self, error: Exception) -> None:
        """Leave the connection and fail every call on it."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        under_way, self._under_way = self._under_way, deque()
        for batch in under_way:
            if not batch.waiter.done():
                batch.waiter.set_exception(error)
