"""Runs use cases to their end, also when their callers stop waiting.

A candidate who closes the browser, or a request that has waited long enough, must not leave a
use case between its two stores. So each runs in a task of its own, is waited for with a limit, and
is let finish; at shutdown the process waits for those that are left.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from quota_service.domain.errors import Overloaded, Unavailable

Result = TypeVar("Result")
End = Callable[[Any, BaseException | None], None]
"""Called once with the end of a use case: its result, or its error."""


@dataclass(frozen=True, slots=True)
class UseCaseLimits:
    """Bounds of the use cases of a process."""

    at_once_max: int = 10_000
    """Use cases at work; more are answered 503."""


class _UseCase:
    """One running use case, with the callback and deadline of its caller (s, the loop's clock)."""

    __slots__ = ("_context", "_owner", "deadline_s", "end")

    def __init__(
        self,
        end: End,
        deadline_s: float,
        owner: "InFlight",
    ) -> None:
        self.end: End | None = end
        self.deadline_s = deadline_s
        self._owner = owner
        self._context = contextvars.copy_context()

    def give_up(self) -> None:
        """Tell who waits that it has taken too long; what is logged of it is of its request."""
        end, self.end = self.end, None
        if end is not None:
            error = Unavailable("the stores took too long to answer", applied=None)
            self._context.run(end, None, error)

    def task_ended(self, task: "asyncio.Task[Any]") -> None:
        """Take the end of the use case's task."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self._finish(None if error else task.result(), error)

    def _finish(self, result: Any, error: BaseException | None) -> None:
        # Its caller may have left: its end is in metrics and stores.
        self._owner.leave(self)
        end, self.end = self.end, None
        if end is not None:
            end(result, error)


class InFlight:
    """The use cases that run in this process, bounded in number.

    All wait equally long, so the oldest is always the next to be given up: one timer serves all.
    """

    def __init__(self, *, limit: int, timeout_s: float) -> None:
        self._limit = limit
        self._timeout_s = timeout_s
        self._at_work: set[_UseCase] = set()
        self._waited_for: deque[_UseCase] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._idle: asyncio.Event | None = None

    @property
    def count(self) -> int:
        """The number of running use cases."""
        return len(self._at_work)

    def start(
        self,
        use_case: Coroutine[Any, Any, Any],
        end: End,
        *,
        is_long: bool = False,
    ) -> None:
        """Run a use case to its end, and tell `end` of it.

        A use case that takes longer than the limit goes on; `end` is called with Unavailable, with
        `applied` None, unless it may be long. Raises Overloaded.
        """
        if len(self._at_work) >= self._limit:
            use_case.close()
            raise Overloaded("too many requests are in progress")
        loop = asyncio.get_running_loop()
        work = _UseCase(end, loop.time() + self._timeout_s, self)
        self._at_work.add(work)
        if not is_long:
            self._wait_for(work)
        loop.create_task(use_case).add_done_callback(work.task_ended)

    async def run(self, use_case: Coroutine[Any, Any, Result], *, is_long: bool = False) -> Result:
        """Run a use case to its end and return its result.

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

        self.start(use_case, end, is_long=is_long)
        return await waiter

    async def drain(self, timeout_s: float) -> int:
        """Wait for the running use cases; return how many still ran after `timeout_s`."""
        if self._at_work:
            self._idle = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._idle.wait()
        return len(self._at_work)

    def leave(self, work: _UseCase) -> None:
        """Let go of a use case that has ended."""
        self._at_work.discard(work)
        if self._idle is not None and not self._at_work:
            self._idle.set()

    def _wait_for(self, work: _UseCase) -> None:
        """Give up waiting for a use case once its time is over."""
        while self._waited_for and self._waited_for[0].end is None:
            self._waited_for.popleft()
        self._waited_for.append(work)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(work.deadline_s, self._give_up)

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
            work.give_up()
