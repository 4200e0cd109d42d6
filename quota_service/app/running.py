"""Runs a process: opens it, serves and works until a signal, and shuts down in order.

At shutdown readiness goes first, then new connections, then requests and use cases under way are
let finish, then workers, then stores, all within the time that `shutdown.py` says.
"""

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress

from quota_service.app.opening import Service, open_service
from quota_service.app.serving import Addresses, listen
from quota_service.app.shutdown import DrainTime, end_in_time
from quota_service.app.upkeep import cancel_all, kept_fresh
from quota_service.domain.errors import QuotaError
from quota_service.observability.logs import written_in_background
from quota_service.registration.stores import Stores
from quota_service.seats.fitness import refuse_unfit_servers
from quota_service.settings import Settings
from quota_service.workers.admission import AdmissionWorker
from quota_service.workers.audit import AuditWorker
from quota_service.workers.capacity import CapacityWorker
from quota_service.workers.dealing import DealingWorker
from quota_service.workers.draw import DrawWorker
from quota_service.workers.event_order import EventOrderWorker
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.extensions import ExtensionWorker
from quota_service.workers.journal_drain import JournalDrainWorker
from quota_service.workers.lease import LeaseWorker
from quota_service.workers.loop import WorkerLoop
from quota_service.workers.recovery import RecoveryWorker
from quota_service.workers.retention import RetentionWorker
from quota_service.workers.seat_releases import SeatReleaseWorker
from quota_service.workers.set_asides import SetAsideWorker
from quota_service.workers.shard_recovery import ShardRecoveryWorker
from quota_service.workers.webhooks import WebhookWorker, open_webhook_worker

log = logging.getLogger(__name__)

_GARBAGE_YOUNG = 20_000
"""Objects made, less those that went, before the garbage collector looks at the young ones."""

_LEASE_END_S = 1.0
"""Time to end the lease of a worker at shutdown; it ends by itself where Postgres is away."""

Ready = Callable[[Service, Addresses], Awaitable[None]]
"""Called once everything listens."""


async def run(
    settings: Settings,
    *,
    api: bool,
    workers: bool,
    ready: Ready | None = None,
    reuse_port: bool = False,
    takes_lossy_redis: bool = False,
) -> None:
    """Run the service until SIGTERM or SIGINT, then shut down in order.

    With `reuse_port` other processes may listen on the port of the API too. Raises
    SettingsError when a store will not do; `takes_lossy_redis`: also one that keeps nothing will.
    """
    with written_in_background(), stopped_by_signals(lambda: end_in_time(settings)) as stop:
        async with open_service(settings) as service:
            freeze_gc()
            await run_service(
                service,
                stop,
                api=api,
                workers=workers,
                ready=ready,
                reuse_port=reuse_port,
                takes_lossy_redis=takes_lossy_redis,
            )


@contextmanager
def stopped_by_signals(stopping: Callable[[], None] | None = None) -> Iterator[asyncio.Event]:
    """Lend an event that SIGTERM and SIGINT set; `stopping` is called with the first of them."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def begin() -> None:
        if stopping is not None and not stop.is_set():
            stopping()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, begin)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def run_service(
    service: Service,
    stop: asyncio.Event,
    *,
    api: bool,
    workers: bool,
    ready: Ready | None = None,
    reuse_port: bool = False,
    takes_lossy_redis: bool = False,
) -> None:
    """Run an opened service until `stop` is set."""
    time_left = DrainTime(service.settings)
    async with AsyncExitStack() as stack:
        await refuse_unfit_stores(service.stores, takes_lossy_redis=takes_lossy_redis)
        if workers:
            with suppress(QuotaError):  # so that readiness shows this worker from the start
                await service.stores.worker_lease.renew()
        await stack.enter_async_context(kept_fresh(service, reports_load=api))
        if api and not service.context.payment_secrets:
            log.warning("no payment secrets: every payment callback is refused")
        if workers:
            opened = open_webhook_worker(
                service.stores.webhooks, service.settings, time_left.left_s
            )
            webhooks = await stack.enter_async_context(opened)
            await stack.enter_async_context(_working(service, webhooks, time_left))
        stack.push_async_callback(_drain, service, time_left)
        addresses = await listen(stack, service, time_left, api=api, reuse_port=reuse_port)
        log.info(
            "listening",
            extra={"api": addresses.api, "admin": addresses.admin, "workers": workers},
        )
        if ready is not None:
            await ready(service, addresses)
        await stop.wait()
        log.info("shutting down", extra={"in_flight": service.in_flight.count})
        service.health.is_draining = True
        await asyncio.sleep(service.settings.shutdown_notice_s)
    log.info("stopped")


async def refuse_unfit_stores(stores: Stores, *, takes_lossy_redis: bool = False) -> None:
    """Raise SettingsError when a store will not do until somebody changes a setting."""
    await refuse_unfit_servers(stores.runners, takes_lossy=takes_lossy_redis)
    await stores.reader.refuse_without_rights()


def freeze_gc() -> None:
    """Leave what lives as long as the process out of garbage collection.

    Requests leave no cycles behind, so looking through everything after every few hundred objects
    finds nothing and costs a tenth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_YOUNG, 20, 50)


async def _drain(service: Service, time_left: DrainTime) -> None:
    """Let what is under way in the stores finish."""
    left = await service.in_flight.drain(time_left.left_s())
    if left:
        log.error("use cases were still running at shutdown", extra={"count": left})


@asynccontextmanager
async def _working(
    service: Service, webhooks: WebhookWorker, time_left: DrainTime
) -> AsyncIterator[None]:
    """Run the workers in the background; each ends after the round under way."""
    stores, settings = service.stores, service.settings
    loops = [
        WorkerLoop(worker, service.metrics)
        for worker in (
            AuditWorker(stores.maintenance),
            CapacityWorker(stores),
            DealingWorker(stores.dealing, settings),
            DrawWorker(stores.waiting_room, settings),
            ExpiryWorker(stores, settings),
            ExtensionWorker(stores.maintenance),
            LeaseWorker(stores.worker_lease),
            RecoveryWorker(stores.payments, settings),
            RetentionWorker(stores.maintenance, settings),
            SeatReleaseWorker(stores),
            SetAsideWorker(stores),
            ShardRecoveryWorker(stores.maintenance, settings),
        )
    ]
    loops += [
        WorkerLoop(worker, service.metrics, keeps_pace=True)
        for worker in (
            AdmissionWorker(stores.waiting_room, settings),
            EventOrderWorker(stores.maintenance),
            JournalDrainWorker(stores.maintenance, settings),
            webhooks,
        )
    ]
    tasks = [asyncio.create_task(loop.run()) for loop in loops]
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        _, late = await asyncio.wait(tasks, timeout=time_left.left_s())
        await cancel_all(late)
        ending = asyncio.create_task(stores.worker_lease.end())
        await asyncio.wait({ending}, timeout=_LEASE_END_S)
        await cancel_all({ending})
