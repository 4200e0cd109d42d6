"""Keeps protocols running to their end, whoever stops waiting for them.

A candidate who closes the browser, or a request that has waited long enough, must not leave a
protocol between its two stores. So each runs in a task of its own, is waited for with a limit, and
is let finish; at shutdown the process waits for those that are left.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from quota_service.domain.errors import Overloaded, Unavailable

Result = TypeVar("Result")
End = Callable[[Any, BaseException | None], None]
"""Told once how a protocol ended: its result, or its error."""


class _Work:
    """One protocol at work, and who waits for its end until when (seconds, the loop's clock)."""

    __slots__ = ("deadline_s", "end")

    def __init__(self, end: End, deadline_s: float) -> None:
        self.end: End | None = end
        self.deadline_s = deadline_s


class UnderWay:
    """The protocols at work in this process, bounded in number.

    All wait equally long, so the oldest is always the next to be given up: one timer serves all.
    """

    def __init__(self, *, limit: int, timeout_s: float) -> None:
        self._limit = limit
        self._timeout_s = timeout_s
        self._tasks: set[asyncio.Task[Any]] = set()
        self._waited_for: deque[_Work] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """How many protocols are at work."""
        return len(self._tasks)

    def start(self, protocol: Coroutine[Any, Any, Any], end: End) -> None:
        """Run a protocol to its end, and tell `end` of it.

        A protocol that takes longer than the limit goes on; `end` is told Unavailable, with
        `applied` None. Raises Overloaded.
        """
        if len(self._tasks) >= self._limit:
            protocol.close()
            raise Overloaded("too many requests are at work already")
        loop = asyncio.get_running_loop()
        work = _Work(end, loop.time() + self._timeout_s)
        while self._waited_for and self._waited_for[0].end is None:
            self._waited_for.popleft()
        self._waited_for.append(work)
        if self._timer is None:
            self._timer = loop.call_at(work.deadline_s, self._give_up)

        def ended(task: "asyncio.Task[Any]") -> None:
            self._tasks.discard(task)
            # Nobody may be waiting any more: its end is in metrics and stores.
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            end, work.end = work.end, None
            if end is not None:
                end(None if error else task.result(), error)

        task = loop.create_task(protocol)
        self._tasks.add(task)
        task.add_done_callback(ended)

    async def run(self, protocol: Coroutine[Any, Any, Result]) -> Result:
        """Run a protocol to its end and return its result.

        Raises Unavailable when it takes longer than the limit, with `applied` None: it goes on.
        """
        waiter: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def end(result: Result, error: BaseException | None) -> None:
            if waiter.done():
                return
            if error is None:
                waiter.set_result(result)
            else:
                waiter.set_exception(error)

        self.start(protocol, end)
        return await waiter

    async def drain(self, timeout_s: float) -> int:
        """Wait for the protocols at work; return how many were still at it after `timeout_s`."""
        if not self._tasks:
            return 0
        _, left = await asyncio.wait(set(self._tasks), timeout=timeout_s)
        return len(left)

    def _give_up(self) -> None:
        """Tell those that have waited long enough, and look again when the next one has."""
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._waited_for:
            work = self._waited_for[0]
            if work.end is not None and work.deadline_s > loop.time():
                self._timer = loop.call_at(work.deadline_s, self._give_up)
                return
            self._waited_for.popleft()
            end, work.end = work.end, None
            if end is not None:
                end(None, Unavailable("the stores took too long to answer", applied=None))
