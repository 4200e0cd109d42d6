"""The one loop that all workers run in: a round, a pause, and a longer pause after a failure.

A round that did something is followed by the next at once. A failing round is counted and logged
when its cause changes, not each time, so a store that is away for an hour leaves one line.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from quota_service.observability.logs import KEY_ID
from quota_service.observability.metrics import Metrics

log = logging.getLogger(__name__)

Item = TypeVar("Item")

_PAUSE_AFTER_FAILURE_S = 0.5
_PATIENCE_S = 0.2
"""How long a round waits for a server while others are done."""
_BUSY_ROUNDS_MAX = 1000
"""Rounds without a pause; then other tasks get a turn of the event loop."""


async def each_of(
    items: Iterable[Item],
    work: Callable[[Item], Awaitable[Mapping[str, int]]],
    *,
    at_once: int = 1,
) -> Counter[str]:
    """Do `work` for every item, in order, so many `at_once`, and add its counts up.

    An item that fails does not keep the others waiting; its error is raised after them.
    """
    counts: Counter[str] = Counter()
    failures: list[Exception] = []
    coming = iter(items)

    async def take_turns() -> None:
        for item in coming:
            try:
                counts.update(await work(item))
            except Exception as error:  # noqa: BLE001  also a torn record harms its own shard alone
                failures.append(error)

    await asyncio.gather(*(take_turns() for _ in range(at_once)))
    if failures:
        raise failures[-1]
    return counts


class ServersApart(Generic[Item]):
    """Does the work of rounds server by server, so that one that hangs holds up no other.

    What takes a server longer than a round waits for goes on beside the next rounds, which leave
    out the items of that server. A server without a name is the only one: its end is waited for.
    """

    def __init__(
        self,
        server_of: Callable[[Item], str],
        work: Callable[[Sequence[Item]], Awaitable[Mapping[str, int]]],
    ) -> None:
        self._server_of = server_of
        self._work = work
        self._under_way: dict[str, asyncio.Future[Mapping[str, int]]] = {}

    async def run_once(self, items: Iterable[Item]) -> Counter[str]:
        """Do the work for the items and add up the counts of what has ended.

        The error of a server is raised after the others are done.
        """
        by_server: dict[str, list[Item]] = {}
        for item in items:
            by_server.setdefault(self._server_of(item), []).append(item)
        if by_server.keys() == {""} and not self._under_way:
            return Counter(await self._work(by_server[""]))
        begun: dict[str, asyncio.Future[Mapping[str, int]]] = {
            server: asyncio.ensure_future(self._work(of_server))
            for server, of_server in by_server.items()
            if server not in self._under_way
        }
        for work in begun.values():
            work.add_done_callback(_look_at_its_end)
        self._under_way.update(begun)
        try:
            if self._under_way:
                waited_for = begun or self._under_way
                await asyncio.wait(waited_for.values(), timeout=_PATIENCE_S)
        except asyncio.CancelledError:
            for work in self._under_way.values():
                work.cancel()
            raise
        return self._ended()

    def _ended(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        failures: list[BaseException] = []
        for server, work in list(self._under_way.items()):
            if work.done():
                del self._under_way[server]
                failure = work.exception()
                if failure is None:
                    counts.update(work.result())
                else:
                    failures.append(failure)
        if failures:
            raise failures[-1]
        return counts


def _look_at_its_end(work: "asyncio.Future[Mapping[str, int]]") -> None:
    """Keep asyncio from complaining of an error that no further round raises."""
    if not work.cancelled():
        work.exception()


class Worker(Protocol):
    """One kind of background work."""

    name: str
    interval_s: float

    async def run_once(self) -> Mapping[str, int]:
        """Do one bounded round and return what it did; all zeros when there was nothing."""
        ...


class WorkerLoop:
    """Runs one worker again and again until it is stopped.

    One that `keeps_pace` pauses after every round, also when it did something.
    """

    def __init__(self, worker: Worker, metrics: Metrics, *, keeps_pace: bool = False) -> None:
        self._worker = worker
        self._keeps_pace = keeps_pace
        self._failures = metrics.worker_failures.labels(worker=worker.name)
        self._stopping = asyncio.Event()
        self._last_failure = ""

    def stop(self) -> None:
        """End after the round under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Run until stopped; a failing round never ends the loop."""
        KEY_ID.set(f"worker:{self._worker.name}")
        busy_rounds = 0
        while not self._stopping.is_set():
            did_something = await self._round()
            busy_rounds = busy_rounds + 1 if did_something else 0
            if did_something is None:
                await self._pause(_PAUSE_AFTER_FAILURE_S)
            elif self._keeps_pace or not did_something or busy_rounds > _BUSY_ROUNDS_MAX:
                busy_rounds = 0
                await self._pause(self._worker.interval_s)

    async def _round(self) -> bool | None:
        """Run one round; True when it did something, None when it failed."""
        try:
            counts = await self._worker.run_once()
        except Exception as error:  # noqa: BLE001  whatever it is, the next round must come
            self._failures.inc()
            failure = f"{type(error).__name__}: {error}"
            if failure != self._last_failure:
                log.warning(
                    "worker round failed", extra={"worker": self._worker.name, "cause": failure}
                )
            self._last_failure = failure
            return None
        if self._last_failure:
            log.info("worker recovered", extra={"worker": self._worker.name})
            self._last_failure = ""
        if any(counts.values()):
            log.debug("worker round", extra={"worker": self._worker.name, **counts})
        return any(counts.values())

    async def _pause(self, seconds: float) -> None:
        """Wait, a little longer or shorter each time, or until stopped."""
        try:
            async with asyncio.timeout(seconds * random.uniform(0.8, 1.0)):  # noqa: S311
                await self._stopping.wait()
        except TimeoutError:
            return
