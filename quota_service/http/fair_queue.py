"""The queue of requests before any of them is begun, and of connections that wait to be read.

In each turn of the event loop a few connections are parsed and a few whole requests begun, however
many of either there are. So a turn stays short: while Redis and Postgres work on the requests of
one turn those of the next are parsed, and their answers are not kept waiting by a crowd. Payments
are begun first. When the queue is full, what may wait is refused as it is parsed: those that wait
have waited longest.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

_TURN_MAX = 32
"""Requests begun in one turn of the loop: a few milliseconds of work."""
_FIRST_MAX = 24
"""Of these, requests that go first; the rest is for all others, whatever comes."""
_READ_MAX = 96
"""Connections parsed in one turn; at a rush nearly all of what they ask is refused."""

Action = Callable[[], None]


class FairQueue:
    """Begins what was put into it, in the next turns of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        """`limit` is how many may wait, those that go first not counted."""
        self._loop = loop
        self._limit = limit
        self._first: deque[Action] = deque()
        self._others: deque[Action] = deque()
        self._unread: deque[Action] = deque()
        self._read = 0
        self._has_turn = False

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._first) + len(self._others)

    @property
    def is_full(self) -> bool:
        """Whether no more may wait, but for those that go first."""
        return len(self._others) >= self._limit

    def put(self, begin: Action, *, goes_first: bool = False) -> None:
        """Queue a request; it is started in order."""
        (self._first if goes_first else self._others).append(begin)
        self._ask_for_turn()

    def read(self, parse: Action) -> None:
        """Have a connection parsed: now, or in a next turn if this one has parsed enough."""
        if self._read < _READ_MAX:
            self._read += 1
            self._ask_for_turn()
            parse()
        else:
            self.read_later(parse)

    def read_later(self, parse: Action) -> None:
        """Have a connection parsed in a next turn."""
        self._unread.append(parse)
        self._ask_for_turn()

    def _ask_for_turn(self) -> None:
        if not self._has_turn:
            self._has_turn = True
            self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        first = min(len(self._first), _FIRST_MAX)
        others = min(len(self._others), _TURN_MAX - first)
        actions = [self._first.popleft() for _ in range(first)]
        actions += [self._others.popleft() for _ in range(others)]
        self._read = min(len(self._unread), _READ_MAX)
        actions += [self._unread.popleft() for _ in range(self._read)]
        self._has_turn = bool(actions)
        if self._has_turn:
            self._loop.call_soon(self._take_turn)
        for act in actions:
            try:
                act()
            except Exception:  # one that fails must not take the others of its turn with it
                log.exception("a request could not be parsed or begun")
