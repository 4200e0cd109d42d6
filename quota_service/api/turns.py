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

The poll object is edge-triggered: it tells once that something has come, and a connection is due
until it was read empty.
"""

import asyncio
import select
import time
from collections import deque
from typing import TYPE_CHECKING

from quota_service.api.usher import Usher
from quota_service.overload.unread import UnreadLimit

if TYPE_CHECKING:
    from quota_service.api.read_in_turn import ReadInTurn

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
_EVENTS_MAX = 4096
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
