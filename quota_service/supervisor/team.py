"""The workers of a supervisor: each that ends is replaced, and what it counted is kept.

A worker that dies again and again soon after its start will not get better by another start, and
the machine should hear of it: after a limit the whole service ends with an error, for whoever runs
it to see. Until then each try waits longer than the one before.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from quota_service.api.connections import connections_max
from quota_service.domain.errors import QuotaError
from quota_service.observability.merged_metrics import PastCounts
from quota_service.observability.metrics import SupervisorMetrics
from quota_service.settings import Settings
from quota_service.supervisor.channel import NOTICE, STOP
from quota_service.supervisor.worker_process import WorkerProcess, start_worker

log = logging.getLogger(__name__)

_BACKOFF_FIRST_S = 0.1
_WATCH_INTERVAL_S = 1.0
_CLOSING_S = 5.0
"""Time for a worker to close its stores, after its requests and its protocols have had theirs."""


class Team:
    """Keeps `size` workers alive until it is stopped.

    `failed` is done, with a QuotaError, when a worker cannot be kept alive. `take_back` is called
    with the connections that a worker died too soon to take.
    """

    def __init__(self, size: int, settings: Settings, metrics: SupervisorMetrics) -> None:
        self.workers: dict[int, WorkerProcess] = {}
        self.past = PastCounts()
        self.size = size
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.take_back: Callable[[Iterable[socket.socket]], None] = _close_all
        self._settings = settings
        self._connections_max = connections_max(settings)
        self._metrics = metrics
        self._stopping = asyncio.Event()
        self._complete = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._watching: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start every worker."""
        self._keepers = [asyncio.create_task(self._keep(n)) for n in range(1, self.size + 1)]
        self._watching = [asyncio.create_task(self._watch())]

    @property
    def ready(self) -> list[WorkerProcess]:
        """The workers that can serve."""
        return [w for w in self.workers.values() if w.takes_connections and not w.faults]

    @property
    def taking(self) -> list[WorkerProcess]:
        """The workers that take connections, if only to answer that they cannot serve."""
        return [w for w in self.workers.values() if w.takes_connections]

    @property
    def takers(self) -> list[WorkerProcess]:
        """The workers that a connection is handed to: the ready ones, or any while none is."""
        return self.ready or self.taking

    @property
    def has_room(self) -> bool:
        """Whether one more may be accepted: a worker has room for it, and so has this process."""
        in_flight = sum(worker.in_flight for worker in self.workers.values())
        return in_flight < self._connections_max and any(
            worker.connections < self._connections_max for worker in self.takers
        )

    async def all_listen(self) -> None:
        """Return when every worker takes connections."""
        await self._complete.wait()

    def count(self) -> None:
        """Bring the gauges up to date."""
        self._metrics.ready.set(len(self.ready))
        self._metrics.connections.clear()
        for number, worker in sorted(self.workers.items()):
            self._metrics.connections.labels(worker=str(number)).set(worker.connections)

    def give_notice(self) -> None:
        """Have the workers say that the service is about to shut down."""
        for worker in self.workers.values():
            worker.tell(NOTICE)

    async def stop(self) -> None:
        """Let every worker finish what it has under way and end; kill those that take too long."""
        self._stopping.set()
        for task in self._watching:
            task.cancel()
        for worker in self.workers.values():
            worker.tell(STOP)
        limit_s = 2 * self._settings.shutdown_drain_s + _CLOSING_S
        _, late = await asyncio.wait(self._keepers, timeout=limit_s)
        if late:
            log.error("workers were still at work at shutdown", extra={"count": len(late)})
        for worker in self.workers.values():
            worker.kill()
        results = await asyncio.gather(*self._keepers, *self._watching, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _heard(self) -> None:
        if len(self.taking) == self.size:
            self._complete.set()

    async def _keep(self, number: int) -> None:
        """Keep one worker alive under this number."""
        try:
            await self._live_again_and_again(number)
        except (QuotaError, OSError) as error:
            if not self.failed.done():
                self.failed.set_exception(error)

    async def _live_again_and_again(self, number: int) -> None:
        quick_deaths = 0
        while not self._stopping.is_set():
            try:
                lived_s = await self._life(number)
            except OSError:  # no process or no descriptor is to be had now
                log.exception("worker not started", extra={"number": number})
                lived_s = 0.0
            quick_deaths = quick_deaths + 1 if lived_s < self._settings.worker_settled_s else 0
            if quick_deaths > self._settings.worker_restarts_max and not self._stopping.is_set():
                raise QuotaError(
                    f"worker {number} ended {quick_deaths} times in a row soon after its start"
                )
            await self._pause(quick_deaths)

    async def _life(self, number: int) -> float:
        """Start a worker and see it through to its end; return how long it lived."""
        worker = await start_worker(number, self._settings, self._heard)
        self.workers[number] = worker
        if self._stopping.is_set():
            worker.tell(STOP)
        status = await worker.ended()
        del self.workers[number]
        self.past.add(worker.values)
        worker.values.close()
        self.take_back(worker.take_back())
        lived_s = time.monotonic() - worker.started_s
        if self._stopping.is_set():
            if status:
                log.error("worker did not end in order", extra={"ended": number, "status": status})
            return lived_s
        self._metrics.replaced.labels(reason=_reason(status)).inc()
        log.warning(
            "worker ended and is replaced",
            extra={"ended": number, "pid": worker.pid, "status": status, "lived_s": lived_s},
        )
        return lived_s

    async def _pause(self, quick_deaths: int) -> None:
        """Wait before the next try: not at all at first, then longer each time."""
        if quick_deaths > 1:
            backoff_s = min(
                _BACKOFF_FIRST_S * 2.0 ** (quick_deaths - 1),
                self._settings.worker_backoff_max_s,
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff_s)

    async def _watch(self) -> None:
        """Kill a worker that has said nothing for too long: it hangs, or never came up."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL_S)
            long_ago_s = time.monotonic() - self._settings.worker_silence_max_s
            for worker in self.workers.values():
                if worker.heard_s < long_ago_s and not worker.is_told_to_stop:
                    log.error("worker says nothing and is killed", extra={"silent": worker.number})
                    worker.kill()


def _reason(status: int) -> str:
    """Return why a worker ended, of a closed set."""
    if status < 0:
        return "killed"
    return "failed" if status else "asked"


def _close_all(connections: Iterable[socket.socket]) -> None:
    for connection in connections:
        connection.close()
