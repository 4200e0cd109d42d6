"""The one loop that all workers run in: a round, a pause, and a longer pause after a failure.

A round that did something is followed by the next at once. A failing round is counted and logged
when its cause changes, not each time, so a store that is away for an hour leaves one line.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from quota_service.observability.logs import KEY_ID
from quota_service.observability.metrics import Metrics

log = logging.getLogger(__name__)

Item = TypeVar("Item")

_PAUSE_AFTER_FAILURE_S = 0.5
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
