"""Reads the public port's connections, a bounded number in each turn of the event loop.

An event loop reads every socket that has something before it turns to anything else. When thousands
have something, one turn takes a second, and whoever needs several turns, as a payment that asks
Redis, then Postgres, then Redis again, waits for as many seconds. So clients' connections stand in
a poll object of their own: the event loop sees one descriptor beside those of the stores, and what
has come is read in the order in which it came, a few in each turn. Turns stay short whatever the
crowd, and while Redis works on the requests of one turn those of the next are read.

Connections whose last request was a payment, signed, are read first. Those whose last request had
no valid key or signature are read last and few in each turn, so that a flood of them makes turns
hardly longer. When more of the others wait than can be read in time (`UnreadLimit`), the latest are
turned away.

Only reading is done here. Writing and closing are the transport's, whose own reading is paused from
the beginning. The poll object is edge-triggered: it tells once that something has come, and a
connection is due until it was read empty.
"""

import asyncio
import os
import select
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from quota_service.api.usher import Usher
from quota_service.overload.unread import UnreadLimit

_TURN_MAX = 32
"""Connections read in one turn for service: a few milliseconds of work."""
_PAYING_MAX = 24
"""Of these, payments; the rest is for all others, whatever comes."""
_FAILING_MAX = 2
"""Of these, connections whose callers have shown no valid key or signature."""
_EXCESS_MAX = 16
"""Connections read in one turn beside those whose turn it is, where the usher cannot help."""
_SETTLE_MAX_S = 1.0
_SETTLE_LOOK_S = 0.01
_LOOK_AGAIN_S = 1.0
"""When to look again whether a connection is idle."""
_EVENTS_MAX = 4096
_READ_MAX_BYTES = 65_536
_CAME = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_WENT = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Turns:
    """All connections of one server that are to be read, and those that are due."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        unread: UnreadLimit,
        usher: Usher,
        *,
        head_timeout_s: float,
    ) -> None:
        """`head_timeout_s` is the time a new connection has to send the head of a request."""
        self.head_timeout_s = head_timeout_s
        self._loop = loop
        self._unread = unread
        self._poll = select.epoll()
        self._usher = usher
        self._connections: dict[int, ReadInTurn] = {}
        self._paying: deque[ReadInTurn] = deque()
        self._others: deque[ReadInTurn] = deque()
        self._failing: deque[ReadInTurn] = deque()
        self._next: asyncio.Handle | None = None
        self._is_turning = False
        self._answered: list[ReadInTurn] = []
        loop.add_reader(self._poll.fileno(), self._wake)

    def add(self, descriptor: int, connection: "ReadInTurn") -> None:
        """Read a connection from now on, beginning with what has come already."""
        self._connections[descriptor] = connection
        self._poll.register(descriptor, _CAME)

    def remove(self, descriptor: int) -> None:
        """Read a connection no longer."""
        del self._connections[descriptor]
        if not self._poll.closed:
            self._poll.unregister(descriptor)

    def put(self, connection: "ReadInTurn") -> None:
        """Have a connection wait for its turn."""
        if connection.is_paying:
            self._paying.append(connection)
        else:
            (self._failing if connection.is_failing else self._others).append(connection)
        if self._next is None and not self._is_turning:
            self._next = self._loop.call_soon(self._take_turn)

    def send_soon(self, connection: "ReadInTurn") -> None:
        """Have a connection send its answer when all that is ready now has been worked on."""
        if not self._answered:
            self._loop.call_soon(self._send_answers)
        self._answered.append(connection)

    async def settle(self) -> None:
        """Wait, for a moment at most, until all that has come is read."""
        ends_at = self._loop.time() + _SETTLE_MAX_S
        while self._paying or self._others or self._failing or self._usher.has_some:
            if self._loop.time() >= ends_at:
                return
            await asyncio.sleep(_SETTLE_LOOK_S)

    def close(self) -> None:
        """Read nothing any more."""
        self._loop.remove_reader(self._poll.fileno())
        if self._next is not None:
            self._next.cancel()
        self._poll.close()

    def _send_answers(self) -> None:
        answered, self._answered = self._answered, []
        for connection in answered:
            connection.send_answer()

    def _wake(self) -> None:
        if self._next is None:
            self._take_turn()

    def _take_turn(self) -> None:
        self._next = None
        self._is_turning = True
        try:
            waiting = self._read_some()
        finally:
            self._is_turning = False
        if waiting:
            self._next = self._loop.call_soon(self._take_turn)

    def _read_some(self) -> int:
        """Read those whose turn it is; return how many wait for the next."""
        unread = self._unread
        unread.begin_turn()
        for descriptor, events in self._poll.poll(0, _EVENTS_MAX):
            connection = self._connections.get(descriptor)
            if connection is not None:
                connection.notice(has_left=bool(events & _WENT))
        # Taken out before any is read: one that is due again is read in another turn, when what it
        # was answered has been sent.
        turn = _taken(self._paying, _PAYING_MAX)
        turn += _taken(self._others, _TURN_MAX - len(turn))
        turn += _taken(self._failing, min(_TURN_MAX - len(turn), _FAILING_MAX))
        excess = len(self._others) - unread.limit
        if excess > 0:
            self._turn_away(excess)
        for connection in turn:
            connection.read()
        waiting = len(self._paying) + len(self._others) + len(self._failing)
        unread.end_turn(len(turn), waiting)
        return waiting

    def _turn_away(self, excess: int) -> None:
        """Turn the latest away: by the usher, or here, where there is little time for it."""
        if not self._usher.is_there:
            self._turn_away_here(min(excess, self._unread.may_turn_away()))
            return
        lent: list[ReadInTurn] = []
        ours: list[ReadInTurn] = []
        for connection in self._latest(min(excess, self._usher.room)):
            if connection.may_be_lent():
                connection.expect_notice()
                lent.append(connection)
            else:
                ours.append(connection)
        kept = self._usher.lend(lent)
        if kept:
            self._others.extend(reversed(lent[-kept:]))
        self._others.extend(reversed(ours[_EXCESS_MAX:]))
        for connection in ours[:_EXCESS_MAX]:
            connection.read(is_excess=True)

    def _turn_away_here(self, count: int) -> None:
        began_at = time.perf_counter()
        for connection in self._latest(count):
            connection.read(is_excess=True)
        # All are sent in one go: a peer that is awake is not woken for each answer.
        self._send_answers()
        self._unread.turned_away(count, time.perf_counter() - began_at)

    def _latest(self, count: int) -> "list[ReadInTurn]":
        """Take out those that came last, the latest first."""
        return [self._others.pop() for _ in range(count)]


def _taken(waiting: "deque[ReadInTurn]", most: int) -> "list[ReadInTurn]":
    """Take those out that have waited longest."""
    return [waiting.popleft() for _ in range(min(most, len(waiting)))]


def _nothing() -> None:
    return


class ReadInTurn(RequestHandler):
    """A connection that is read when its turn has come."""

    __slots__ = (
        "_answer",
        "_has_left",
        "_has_more",
        "_is_deferred",
        "_is_due",
        "_is_half_closed",
        "_turns",
        "descriptor",
        "is_failing",
        "is_paying",
        "is_read",
        "lost",
    )

    def __init__(self, turns: Turns, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self.is_paying = False
        """Whether the last request was a payment, signed, and so the next may be."""
        self.is_failing = False
        """Whether the last request that needed a key or a signature had no valid one."""
        self.lost: Callable[[], None] = _nothing
        """Called when the connection has ended."""
        self._turns = turns
        self._answer = b""
        self.descriptor = -1
        """The socket's, once connected."""
        self.is_read = False
        self._is_due = False
        self._is_deferred = False
        self._has_left = False
        self._is_half_closed = False
        self._has_more = False

    @property
    def address(self) -> str:
        """The address of the client."""
        return self.peername[0] if self.peername else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take reading over from the transport."""
        super().connection_made(transport)
        if self._keepalive_handle is not None:
            self._keepalive_handle.cancel()
        # The timer of idle connections: whoever has sent no request yet is given less time.
        closes_at = self._loop.time() + self._turns.head_timeout_s
        self._next_keepalive_close_time = closes_at
        self._keepalive_handle = self._loop.call_at(closes_at, self._process_keepalive)
        self.descriptor = transport.get_extra_info("socket").fileno()
        # Behind aiohttp's own beginning: what it does not wait for yet cannot be told from the rest
        # of something. And behind the transport's: in Python 3.11.2, Debian 12's, it begins to read
        # after this call even when it is paused here. It has read nothing until then.
        self._loop.call_soon(self._take_reading_over, cast("asyncio.Transport", transport))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop reading before the descriptor becomes another connection's."""
        self._pause_transport_reading()
        super().connection_lost(exc)
        self.lost()

    def notice(self, *, has_left: bool) -> None:
        """Take note that something has come, or that the client sends no more."""
        self._has_left |= has_left
        if self._is_due:
            self._has_more = True  # only where it is lent: what waits here is read later anyway
            return
        self._is_due = True
        self._turns.put(self)

    def read(self, *, is_excess: bool = False) -> None:
        """Read what has come, as a transport would; `is_excess` says to turn it away."""
        self._is_due = False
        transport = self.transport
        if not self.is_read:
            return  # reading again begins with a notice
        if transport is None or transport.is_closing():
            self._pause_transport_reading()
            return
        if not self._is_deferred and self._is_settling():
            self._is_deferred = True
            self.notice(has_left=False)
            return
        self._is_deferred = False
        try:
            data = os.read(self.descriptor, _READ_MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:  # the client broke the connection off
            self._pause_transport_reading()
            transport.abort()
            return
        if not data:
            self._pause_transport_reading()
            self._sends_no_more(transport)
            return
        self._has_more = len(data) == _READ_MAX_BYTES
        self._guarded(self.excess_received if is_excess else self.data_received, data)
        self.come_back()

    def _process_keepalive(self) -> None:
        """Close an idle connection: not one whose request waits to be read, or is at work here."""
        if self._waiter is not None and (self._is_due or self._request_in_progress):
            self._keepalive_handle = self._loop.call_later(_LOOK_AGAIN_S, self._process_keepalive)
        else:
            super()._process_keepalive()

    def _sends_no_more(self, transport: asyncio.Transport) -> None:
        """Close a connection whose client has sent its last byte, behind the last answer.

        A client may still read then (RFC 9112, 9.6), and cannot be told from one that does not. One
        whose last request is not whole is not answered, and a stream has no last answer.
        """
        is_stream = transport.get_protocol() is not self
        if (self._messages or self._request_in_progress) and self._is_whole() and not is_stream:
            self._is_half_closed = True
        else:
            transport.close()

    def _is_whole(self) -> bool:
        """Return whether the request that was received last has come to its end."""
        if self._messages:
            return self._messages[-1][1].is_eof()
        return self._current_request is None or self._current_request.content.is_eof()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer, the last one when the client sends no more."""
        finished = await super().finish_response(request, resp, start_time)
        self._close_behind_last()
        return finished

    def _close_behind_last(self) -> None:
        """Have the connection end when its client sends no more and everything is answered."""
        if self._is_half_closed and not self._messages:
            self._close = True

    def _is_settling(self) -> bool:
        """Return whether aiohttp has answered a request and not come to wait for the next yet."""
        return self._waiter is None and not (self._messages or self._request_in_progress)

    def answer_soon(self, answer: bytes) -> None:
        """Send an answer together with those of the other requests at work now."""
        self._answer = answer
        self._turns.send_soon(self)

    def send_answer(self) -> None:
        """Send the answer, unless nobody is there to read it."""
        self._write_answer()
        self._guarded(self.answer_sent)

    def answer_sent(self) -> None:
        """Go on behind an answer."""

    def _write_answer(self) -> None:
        answer, self._answer = self._answer, b""
        if answer and self.transport is not None and not self.transport.is_closing():
            self.transport.write(answer)

    def may_be_lent(self) -> bool:
        """Return whether another process may read the next request and answer it."""
        return False

    def expect_notice(self) -> None:
        """Remember from now on whether something comes while another process reads."""
        self._has_more = False

    def turned_away(self, missing: int, unsent: bytes = b"") -> None:
        """Go on behind a request that another process has answered, as `Lent` says."""
        raise NotImplementedError

    def handed_back(self, data: bytes) -> None:
        """Take what another process has read, when it was not for it."""
        if not data:
            self.read()  # whatever it is that could not be read there
            return
        self._has_more = True  # there may be more than was read at once
        if self.is_read and self.transport is not None and not self.transport.is_closing():
            self._guarded(self.data_received, data)
        self.come_back()

    def break_off(self) -> None:
        """Close a connection of which nobody knows what was read."""
        if self.transport is not None:
            self.transport.abort()

    def come_back(self) -> None:
        """Be read here again, beginning with what was noticed meanwhile."""
        self._is_due = False
        if self.is_read and (self._has_more or self._has_left):
            self.notice(has_left=False)

    def excess_received(self, data: bytes) -> None:
        """Take what is more than can be served in time."""
        self.data_received(data)

    def _guarded(self, step: Callable[..., None], *args: bytes) -> None:
        try:
            step(*args)
        except Exception as error:  # noqa: BLE001  ends this connection, and no other
            self._pause_transport_reading()
            if self.transport is not None:
                self.transport.abort()
            what = {"message": "a connection failed", "exception": error, "protocol": self}
            self._loop.call_exception_handler(what)

    def _take_reading_over(self, transport: asyncio.Transport) -> None:
        transport.pause_reading()
        self._resume_transport_reading()

    def _pause_transport_reading(self) -> None:
        if self.is_read:
            self.is_read = False
            self._turns.remove(self.descriptor)

    def _resume_transport_reading(self) -> None:
        if not self.is_read and self.transport is not None and not self.transport.is_closing():
            self.is_read = True
            self._turns.add(self.descriptor, self)
