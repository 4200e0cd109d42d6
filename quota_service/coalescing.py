"""Gathers calls that wait at the same moment and hands them on as one batch.

Both stores earn their speed this way: script calls of one event-loop turn go to Redis in one
write, and the confirmations under way share one Postgres transaction. Nothing is delayed to fill a
batch: it leaves at the end of the turn, or as soon as one of the batches under way is back.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class QueueFullError(Exception):
    """The queue is at its limit; nothing was taken on."""


class NotAwaitedError(Exception):
    """The caller has left; the item was not sent."""


def _is_awaited(_item: object) -> bool:
    return True


class Coalescer(Generic[Item, Result]):
    """One queue of items, sent in bounded batches with a bounded number under way.

    `send` gets a batch and returns one result for each item, in order. An exception in the place of
    a result goes to that item's caller alone; one raised by `send` goes to every caller of the
    batch. An item whose caller was cancelled before its batch left is not sent, nor is one that
    `is_awaited` says no of then: its caller gets NotAwaitedError.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[Sequence[Result | BaseException]]],
        *,
        batch_max: int,
        in_flight_max: int,
        queue_max: int,
        is_awaited: Callable[[Item], bool] = _is_awaited,
    ) -> None:
        self._send = send
        self._is_awaited = is_awaited
        self._batch_max = batch_max
        self._in_flight_max = in_flight_max
        self._queue_max = queue_max
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._flush_is_due = False

    @property
    def waiting(self) -> int:
        """How many items wait for a batch."""
        return len(self._waiting)

    async def submit(self, item: Item) -> Result:
        """Send `item` with the next batch and return its result; QueueFullError at the limit."""
        if len(self._waiting) >= self._queue_max:
            raise QueueFullError
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, result))
        if not self._flush_is_due and len(self._in_flight) < self._in_flight_max:
            self._flush_is_due = True
            loop.call_soon(self._flush)
        return await result

    def _flush(self) -> None:
        self._flush_is_due = False
        while self._waiting and len(self._in_flight) < self._in_flight_max:
            batch: list[tuple[Item, asyncio.Future[Result]]] = []
            while self._waiting and len(batch) < self._batch_max:
                entry = self._waiting.popleft()
                if entry[1].done():
                    continue
                if self._is_awaited(entry[0]):
                    batch.append(entry)
                else:
                    entry[1].set_exception(NotAwaitedError())
            if batch:
                task = asyncio.get_running_loop().create_task(self._run(batch))
                self._in_flight.add(task)
                task.add_done_callback(self._batch_is_back)

    def _batch_is_back(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._flush()

    async def _run(self, batch: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        results: Sequence[Result | BaseException]
        try:
            results = await self._send([item for item, _ in batch])
            if len(results) != len(batch):
                raise AssertionError(f"{len(results)} results for {len(batch)} items")  # noqa: TRY301
        except BaseException as error:  # noqa: BLE001  every caller must hear of it
            results = [error] * len(batch)
        for (_, waiter), result in zip(batch, results, strict=True):
            if waiter.done():
                continue
            if isinstance(result, BaseException):
                waiter.set_exception(result)
            else:
                waiter.set_result(result)
