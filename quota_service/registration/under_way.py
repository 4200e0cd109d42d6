"""Keeps protocols running to their end, whoever stops waiting for them.

A candidate who closes the browser, or a request that has waited long enough, must not leave a
protocol between its two stores. So each runs in a task of its own, is waited for with a limit, and
is let finish; at shutdown the process waits for those that are left.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from quota_service.domain.errors import Overloaded, Unavailable

Result = TypeVar("Result")


class UnderWay:
    """The protocols at work in this process, bounded in number."""

    def __init__(self, *, limit: int, timeout_s: float) -> None:
        self._limit = limit
        self._timeout_s = timeout_s
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def count(self) -> int:
        """How many protocols are at work."""
        return len(self._tasks)

    async def run(self, protocol: Coroutine[Any, Any, Result]) -> Result:
        """Run a protocol to its end and return its result.

        Raises Unavailable when it takes longer than the limit, with `applied` None: it goes on.
        """
        if len(self._tasks) >= self._limit:
            protocol.close()
            raise Overloaded("too many requests are at work already")
        task = asyncio.get_running_loop().create_task(protocol)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        done, _ = await asyncio.wait((task,), timeout=self._timeout_s)
        if not done:
            raise Unavailable("the stores took too long to answer", applied=None)
        return task.result()

    async def drain(self, timeout_s: float) -> int:
        """Wait for the protocols at work; return how many were still at it after `timeout_s`."""
        if not self._tasks:
            return 0
        _, left = await asyncio.wait(set(self._tasks), timeout=timeout_s)
        return len(left)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be waiting any more: its end is in metrics and stores
