"""Lends connections to a process that turns their requests away.

At three times what one process can serve, turning the rest away would take it half of its time. So
the latest of those that would wait for too long are lent to a process of its own: it gets a copy of
the connection's descriptor, reads one request, answers it `overloaded`, and says so. Lending one
costs this process a small part of serving it.

The usher keeps nothing. If it dies or says nothing any more, what it may have read and not answered
is lost, so the connections it was lent are broken off: their clients repeat a request of which
nothing was begun. Another is started after a while; until then the API turns away by itself, which
it also does when `QUOTA_USHER` is off. If we die, the usher ends with its channel.
"""

import asyncio
import errno
import logging
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from quota_service.api.refusals import RefusalParts
from quota_service.api.usher_process import LENT, LENT_AT_ONCE, READY, UNSENT, VERDICT, End
from quota_service.overload.classes import CAN_WAIT, Work

log = logging.getLogger(__name__)

_MODULE = "quota_service.api.usher_process"
_LENT_MAX = 4 * LENT_AT_ONCE
"""Connections lent at once; the system counts descriptors under way against a limit."""
_TURNED_AWAY = int(End.TURNED_AWAY)
_MESSAGE_MAX_BYTES = 131_072
_MESSAGES_A_TURN = 16
_START_TIMEOUT_S = 15.0
_RESTART_AFTER_S = 2.0
_ANSWER_TIMEOUT_S = 5.0
"""How long it may say nothing while it has something: then it is taken for dead."""
_END_TIMEOUT_S = 5.0
_FULL = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS})


class Lent(Protocol):
    """A connection as the usher knows it."""

    descriptor: int

    def turned_away(self, missing: int, unsent: bytes = b"") -> None:
        """Go on behind a request that was turned away.

        `missing` bytes of its body are still to come, and `unsent` is still to be written.
        """

    def handed_back(self, data: bytes) -> None:
        """Take a request that is not the usher's, with what was read of it."""

    def break_off(self) -> None:
        """Close: nobody knows what was read."""


class Usher:
    """The usher, and what it was lent; one for each process that serves."""

    def __init__(self, loop: asyncio.AbstractEventLoop, count: Callable[[Work, int], None]) -> None:
        """`count` is told how many requests of a class were turned away."""
        self._loop = loop
        self._count = count
        self._parts: RefusalParts | None = None
        self._process: Process | None = None
        self._channel: socket.socket | None = None
        self._lent: deque[Lent] = deque()
        self._followed: deque[tuple[End, Work, Lent]] = deque()
        self._restart: asyncio.Task[None] | None = None
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None

    @property
    def is_there(self) -> bool:
        """Whether it works."""
        return self._channel is not None

    @property
    def has_some(self) -> bool:
        """Whether it was lent connections that it has said nothing of yet."""
        return bool(self._lent or self._followed)

    @property
    def room(self) -> int:
        """How many connections it can be lent now."""
        if self._channel is None:
            return 0
        return max(_LENT_MAX - len(self._lent) - len(self._followed), 0)

    async def start(self, parts: RefusalParts) -> None:
        """Start the process; `parts` is what it answers with.

        When that fails it is tried again and again, and the API serves without it.
        """
        self._parts = parts
        try:
            await self._start(parts)
        except (OSError, TimeoutError):
            log.exception("the usher cannot be started")
            self._restart = self._loop.create_task(self._start_again())

    async def _start(self, parts: RefusalParts) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            ours.setblocking(False)
            # In a session of its own, so that Ctrl-C in a terminal does not reach it: it ends
            # with its channel, when there is nobody left to turn away.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _MODULE, str(theirs.fileno())),
                stdin=PIPE,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        if process.stdin is None:
            raise AssertionError("the process was given a pipe")
        with suppress(ConnectionError):  # it died at once: the channel tells
            process.stdin.write(parts.to_json())
            await process.stdin.drain()
        process.stdin.close()
        self._process = process
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                said = await self._loop.sock_recv(ours, len(READY))
            if said != READY:
                raise OSError("it ended as soon as it was started")  # noqa: TRY301
        except BaseException:
            ours.close()
            await _ended(process)
            raise
        self._channel = ours
        self._loop.add_reader(ours, self._read)

    def lend(self, connections: Sequence[Lent]) -> int:
        """Lend connections; return how many, the last of them, could not be."""
        for at in range(0, len(connections), LENT_AT_ONCE):
            some = connections[at : at + LENT_AT_ONCE]
            if self._channel is None or not self._send(self._channel, some):
                return len(connections) - at
            if not (self._lent or self._followed):
                self._heard_at = self._loop.time()
            self._lent += some
            if self._watch is None:
                self._watch = self._loop.call_later(_ANSWER_TIMEOUT_S, self._look)
        return 0

    async def close(self) -> None:
        """Have it end, and wait until it has."""
        if self._restart is not None:
            self._restart.cancel()
            with suppress(asyncio.CancelledError):
                await self._restart
        self._part()
        if self._process is not None:
            await _ended(self._process)

    def _send(self, channel: socket.socket, some: Sequence[Lent]) -> bool:
        descriptors = [connection.descriptor for connection in some]
        try:
            socket.send_fds(channel, [LENT.pack(len(some))], descriptors)
        except OSError as error:
            if error.errno not in _FULL:
                self._lost()
            return False
        return True

    def _read(self) -> None:
        for _ in range(_MESSAGES_A_TURN):
            if self._channel is None:
                return
            try:
                message = self._channel.recv(_MESSAGE_MAX_BYTES)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._lost()
                return
            try:
                self._hear(message)
            except Exception:
                # Whose verdict is whose must never be guessed.
                log.exception("the usher was not understood")
                self._give_up()
                return

    def _hear(self, message: bytes) -> None:
        """Take what was said: verdicts, or what follows one of them."""
        self._heard_at = self._loop.time()
        if self._followed:
            end, work, connection = self._followed.popleft()
            if end is End.UNSENT:
                self._count(work, 1)
                missing = UNSENT.unpack_from(message)[0]
                connection.turned_away(missing, message[UNSENT.size :])
            else:
                connection.handed_back(message)
            return
        counts = [0] * len(Work)
        next_lent = self._lent.popleft
        for end, work, number in VERDICT.iter_unpack(message):
            connection = next_lent()
            if end == _TURNED_AWAY:
                counts[work] += 1
                connection.turned_away(number)
            elif end == End.NOT_READ:
                connection.handed_back(b"")
            else:
                self._followed.append((End(end), Work(work), connection))
        for work in CAN_WAIT:
            self._count(work, counts[work])

    def _look(self) -> None:
        """Give an usher up that says nothing any more of what it was lent."""
        self._watch = None
        if self._channel is None or not (self._lent or self._followed):
            return
        left_s = self._heard_at + _ANSWER_TIMEOUT_S - self._loop.time()
        if left_s > 0:
            self._watch = self._loop.call_later(left_s, self._look)
            return
        self._give_up()

    def _give_up(self) -> None:
        """End an usher that does not do what it should."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
        self._lost()

    def _lost(self) -> None:
        """Go on without it, and start another after a while."""
        lent = self._part()
        log.error("the usher was lost", extra={"broken_off": len(lent)})
        for connection in lent:
            connection.break_off()
        self._restart = self._loop.create_task(self._start_again())

    def _part(self) -> list[Lent]:
        """Close the channel; return the connections that nothing was said of."""
        channel, self._channel = self._channel, None
        if channel is not None:
            self._loop.remove_reader(channel)
            channel.close()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        lent = [*(connection for _, _, connection in self._followed), *self._lent]
        self._followed.clear()
        self._lent.clear()
        return lent

    async def _start_again(self) -> None:
        while self._channel is None:
            if self._process is not None:
                await _ended(self._process)
            await asyncio.sleep(_RESTART_AFTER_S)
            if self._parts is None:
                raise AssertionError("what was lost had been started")
            try:
                await self._start(self._parts)
            except (OSError, TimeoutError):
                log.exception("the usher cannot be started")


async def _ended(process: Process) -> None:
    """Wait for a process whose channel is closed; end it when it does not end by itself."""
    try:
        async with asyncio.timeout(_END_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
