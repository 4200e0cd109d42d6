"""The queue of whole requests before any of them is begun.

An event loop reads every socket that has something before it turns to anything else. So what has
come is parsed at once, which takes little, and begun a few in each turn of the loop: while Redis
works on the requests of one turn, those of the next are read. Payments are begun first. When the
queue is full, what may wait is refused as it comes: those that wait have waited longest.
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

Begin = Callable[[], None]


class FairQueue:
    """Begins what was put into it, in the next turns of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        """`limit` is how many may wait, those that go first not counted."""
        self._loop = loop
        self._limit = limit
        self._first: deque[Begin] = deque()
        self._others: deque[Begin] = deque()
        self._has_turn = False

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._first) + len(self._others)

    @property
    def is_full(self) -> bool:
        """Whether no more may wait, but for those that go first."""
        return len(self._others) >= self._limit

    def put(self, begin: Begin, *, goes_first: bool = False) -> None:
        """Have a request begun when its turn has come."""
        (self._first if goes_first else self._others).append(begin)
        if not self._has_turn:
            self._has_turn = True
            self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        first = min(len(self._first), _FIRST_MAX)
        others = min(len(self._others), _TURN_MAX - first)
        begun = [self._first.popleft() for _ in range(first)]
        begun += [self._others.popleft() for _ in range(others)]
        self._has_turn = bool(self._first or self._others)
        if self._has_turn:
            self._loop.call_soon(self._take_turn)
        for begin in begun:
            try:
                begin()
            except Exception:  # one that fails must not take the others of its turn with it
                log.exception("a request could not be begun")
