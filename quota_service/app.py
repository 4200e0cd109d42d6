"""Puts the service together: opens the stores, keeps what is in memory fresh, runs API and workers.

Everything that is opened is closed in the opposite order. At shutdown readiness goes first, then
new connections, then requests and use cases under way are let finish, then workers, then stores.
Over 400 lines because the order of opening and closing is one thing, which is read together.
"""

import asyncio
import gc
import logging
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import orjson
from aiohttp import web

from quota_service.api.auth import KeyRing
from quota_service.api.context import CONTEXT, ApiContext
from quota_service.api.documents import OPENAPI
from quota_service.api.health import get_livez, get_readyz
from quota_service.api.json_calls import JsonCalls
from quota_service.api.on_aiohttp import add_routes, around_requests, on_aiohttp
from quota_service.api.openapi import openapi_document
from quota_service.api.rendered import RenderedAvailability
from quota_service.api.routes import ROUTES
from quota_service.api.scrape import METRICS, SeatGauges, get_metrics
from quota_service.api.streams import Streams
from quota_service.api.webhooks import parse_secrets
from quota_service.domain.errors import QuotaError
from quota_service.http.acceptor import Acceptor, bind
from quota_service.http.concurrency import ConcurrencyLimiter
from quota_service.http.connections import Connections
from quota_service.http.etags import RenderedOnce
from quota_service.http.fair_queue import FairQueue
from quota_service.http.protocol import HEAD_MAX_BYTES
from quota_service.ledger.admission import AdmissionLedger
from quota_service.ledger.api_keys import ApiKeyLedger
from quota_service.ledger.archive import ArchiveLedger
from quota_service.ledger.auditing import AuditLedger
from quota_service.ledger.changes import ChangeLedger
from quota_service.ledger.confirmations import ConfirmationLedger
from quota_service.ledger.exams import ExamLedger
from quota_service.ledger.leases import WorkerLease
from quota_service.ledger.pool import open_ledger
from quota_service.ledger.reading import LedgerReader
from quota_service.ledger.recoveries import RecoveryLedger
from quota_service.ledger.refunds import RefundLedger
from quota_service.ledger.refunds_due import RefundsDue
from quota_service.ledger.retention import RetentionLedger
from quota_service.ledger.unreadable_payments import UnreadablePayments
from quota_service.ledger.waiting_rooms import WaitingRoomLedger
from quota_service.observability.health import Health
from quota_service.observability.load_window import LoadWindow
from quota_service.observability.metrics import Metrics
from quota_service.registration.availability import AvailabilityCache
from quota_service.registration.backlog import Backlog
from quota_service.registration.in_flight import InFlight
from quota_service.registration.queue_numbers import QueueNumbers
from quota_service.registration.registry import ExamRegistry
from quota_service.registration.report_load import report_load
from quota_service.registration.room_cache import WaitingRoomCache
from quota_service.registration.stores import Stores
from quota_service.seats.connection import (
    ScriptRunner,
    redis_pool,
    refuse_old_server,
    server_warnings,
)
from quota_service.seats.recovery import RecoveryStore
from quota_service.seats.room_survey import RoomSurveyor
from quota_service.seats.rooms import RoomStore
from quota_service.seats.scripts import load_scripts
from quota_service.seats.store import SeatStore
from quota_service.settings import Settings, address_of_setting
from quota_service.waiting_room.document import Polling
from quota_service.workers.admission import AdmissionWorker
from quota_service.workers.audit import AuditWorker
from quota_service.workers.capacity import CapacityWorker
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.journal_drain import JournalDrainWorker
from quota_service.workers.lease import LeaseWorker
from quota_service.workers.loop import WorkerLoop
from quota_service.workers.recovery import RecoveryWorker
from quota_service.workers.retention import RetentionWorker
from quota_service.workers.shard_recovery import ShardRecoveryWorker

log = logging.getLogger(__name__)

_HEALTH_INTERVAL_S = 1.0
_CANCEL_AGAIN_S = 0.1
_POLL_MIN_S = 1.0
"""The shortest time after which a client in a waiting room asks again."""
# aiohttp would inflate bodies in its parser, before anybody has asked who sends them.
_OPTIONS: Mapping[str, Any] = {"access_log": None, "auto_decompress": False}
"""How aiohttp serves, on every port."""
_HEADS: Mapping[str, Any] = {"max_line_size": HEAD_MAX_BYTES, "max_field_size": HEAD_MAX_BYTES}
"""No head that was taken before is too long for aiohttp."""
_GARBAGE_YOUNG = 20_000
"""Objects made, less those that went, before the garbage collector looks at the young ones."""


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of one process."""

    settings: Settings
    metrics: Metrics
    stores: Stores
    runner: ScriptRunner
    keys: KeyRing
    key_ledger: ApiKeyLedger
    health: Health
    in_flight: InFlight
    context: ApiContext


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running process listens: base URLs."""

    api: str
    admin: str


def _pass(_line: str) -> None:
    """Go on: in production nothing happens at the marked lines of a use case."""


@asynccontextmanager
async def open_service(
    settings: Settings, failpoint: Callable[[str], None] = _pass
) -> AsyncIterator[Service]:
    """Open the stores; one that is away now is no error, it is asked when it is needed.

    `failpoint` is told each marked line of a use case, so that a test can die there.
    """
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        runner = ScriptRunner(redis_pool(settings), load_scripts(), settings, metrics)
        stack.push_async_callback(runner.aclose)
        ledger = await stack.enter_async_context(open_ledger(settings, metrics))
        exams, reader = ExamLedger(ledger), LedgerReader(ledger)
        seats, registry = SeatStore(runner), ExamRegistry(exams)
        rooms, room_store = WaitingRoomLedger(ledger), RoomStore(runner)
        key_ledger, worker_lease = ApiKeyLedger(ledger), WorkerLease(ledger)
        unreadable = UnreadablePayments(ledger)
        keys = KeyRing(key_ledger)
        health = Health(
            {
                "redis": runner.check,
                "postgres": reader.ping,
                "memory": _loaded(registry, keys),
            },
            [
                reader.journal_warning,
                worker_lease.warning,
                unreadable.warning,
                _not_loaded(registry),
            ],
            runner.clock_ms,
            metrics,
        )
        stores = Stores(
            seats=seats,
            recovery=RecoveryStore(runner),
            room_store=room_store,
            ledger=ledger,
            exams=exams,
            archive=ArchiveLedger(ledger),
            confirmations=ConfirmationLedger(ledger, settings, metrics, failpoint),
            changes=ChangeLedger(ledger, settings, metrics),
            refunds=RefundLedger(ledger, settings, metrics),
            refunds_due=RefundsDue(ledger),
            unreadable_payments=unreadable,
            recoveries=RecoveryLedger(ledger),
            auditing=AuditLedger(ledger),
            retention=RetentionLedger(ledger),
            waiting_rooms=rooms,
            admission=AdmissionLedger(ledger),
            worker_lease=worker_lease,
            surveyor=RoomSurveyor(runner),
            reader=reader,
            registry=registry,
            backlog=Backlog(
                seats,
                registry,
                health.now_ms,
                metrics,
                pins_max=settings.pins_max,
                journal_max=settings.journal_backlog_max,
            ),
            rooms=WaitingRoomCache(
                rooms,
                room_store,
                registry,
                polling=Polling(_POLL_MIN_S, settings.waiting_room_poll_max_s),
                now_ms=health.redis_now_ms,
                learn_clock=health.learn_clock,
                failpoint=failpoint,
            ),
            numbers=QueueNumbers(
                rooms,
                room_store,
                block=settings.waiting_room_block,
                numbers_max=settings.waiting_room_numbers_max,
                failpoint=failpoint,
            ),
            metrics=metrics,
            payment_retry_grace_ms=round(settings.payment_retry_grace_s * 1000),
            failpoint=failpoint,
        )
        in_flight = InFlight(limit=settings.use_cases_max, timeout_s=settings.request_timeout_s)
        rendered = RenderedAvailability()
        availability = AvailabilityCache(
            stores.seats, stores.registry, settings.availability_refresh_ms, rendered.get_ready
        )
        context = ApiContext(
            settings=settings,
            stores=stores,
            availability=availability,
            keys=keys,
            in_flight=in_flight,
            health=health,
            payment_secrets=parse_secrets(settings.payment_secrets),
            rendered=rendered,
            rendered_rooms=RenderedOnce(),
            rendered_exams=RenderedOnce(),
            exports=asyncio.Semaphore(settings.exports_max),
            streams=Streams(availability, rendered, settings, metrics),
            queue=FairQueue(asyncio.get_running_loop(), settings.queue_max),
            limiter=ConcurrencyLimiter.of(settings, metrics),
        )
        yield Service(
            settings, metrics, stores, runner, keys, key_ledger, health, in_flight, context
        )


def api_app(service: Service) -> web.Application:
    """Return the public application."""
    app = web.Application(
        middlewares=[around_requests(service.metrics)],
        client_max_size=service.settings.body_max_bytes + 1,
    )
    app[CONTEXT] = service.context
    app[OPENAPI] = orjson.dumps(openapi_document())
    add_routes(app)
    return app


def admin_app(service: Service) -> web.Application:
    """Return the application of the admin port: metrics and health."""
    app = web.Application()
    app[CONTEXT] = service.context
    app[METRICS] = SeatGauges(service.stores, service.metrics, service.settings)
    app.router.add_get("/metrics", get_metrics)
    app.router.add_get("/livez", on_aiohttp(get_livez))
    app.router.add_get("/readyz", on_aiohttp(get_readyz))
    return app


async def run(
    settings: Settings,
    *,
    api: bool,
    workers: bool,
    ready: Callable[[Service, Addresses], Awaitable[None]] | None = None,
    reuse_port: bool = False,
) -> None:
    """Run the service until SIGTERM or SIGINT, then shut down in order.

    With `reuse_port` other processes may listen on the port of the API too.
    """
    with stopped_by_signals() as stop:
        async with open_service(settings) as service:
            freeze_gc()
            await run_service(
                service, stop, api=api, workers=workers, ready=ready, reuse_port=reuse_port
            )


@contextmanager
def stopped_by_signals() -> Iterator[asyncio.Event]:
    """Lend an event that SIGTERM and SIGINT set, however often they come."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
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
    ready: Callable[[Service, Addresses], Awaitable[None]] | None = None,
    reuse_port: bool = False,
) -> None:
    """Run an opened service until `stop` is set; `ready` is called once everything listens."""
    async with AsyncExitStack() as stack:
        await refuse_old_server(service.runner)
        if workers:
            with suppress(QuotaError):  # so that readiness is told once a worker is known to run
                await service.stores.worker_lease.renew()
        await stack.enter_async_context(_keeping_fresh(service, tells_load=api))
        if api and not service.context.payment_secrets:
            log.warning("no payment secrets: every callback will be refused")
        if workers:
            await stack.enter_async_context(_working(service))
        stack.push_async_callback(_drain, service)
        addresses = await _listen(stack, service, api=api, reuse_port=reuse_port)
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


def freeze_gc() -> None:
    """Leave what lives as long as the process out of garbage collection.

    Requests leave no cycles behind, so looking through everything after every few hundred objects
    finds nothing and costs a tenth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_YOUNG, 20, 50)


async def refresh_memory(service: Service) -> None:
    """Read exams and keys from Postgres once; metrics of exams that are archived now go."""
    await service.stores.registry.refresh()
    service.metrics.forget_exams(service.stores.registry.archived)
    await service.keys.refresh()


async def _drain(service: Service) -> None:
    """Let what is under way in the stores finish."""
    left = await service.in_flight.drain(service.settings.shutdown_drain_s)
    if left:
        log.error("use cases were still at work at shutdown", extra={"count": left})


@asynccontextmanager
async def _keeping_fresh(service: Service, *, tells_load: bool) -> AsyncIterator[None]:
    """Refresh what is held in memory, and the health, in the background.

    A process that serves the API tells the admission of the waiting rooms how it bears its load.
    """
    unchecked = {
        "redis": lambda: server_warnings(service.runner),
        "postgres": service.stores.reader.server_warnings,
    }

    async def health() -> None:
        await service.health.refresh()
        for store in unchecked.keys() - service.health.faults.keys():
            for warning in await unchecked[store]():
                log.warning("server settings", extra={"store": store, "cause": warning})
            del unchecked[store]

    rounds: list[tuple[Callable[[], Awaitable[None]], float]] = [
        (lambda: refresh_memory(service), service.settings.registry_refresh_s),
        (health, _HEALTH_INTERVAL_S),
        (service.stores.backlog.refresh, _HEALTH_INTERVAL_S),
        (service.context.limiter.show, _HEALTH_INTERVAL_S),
        (service.stores.rooms.refresh, service.settings.waiting_room_refresh_s),
    ]
    if tells_load:
        rounds.append((_telling_load(service), _HEALTH_INTERVAL_S))
    # The first round runs before anything listens, so that a healthy start is ready at once.
    for task, _ in rounds:
        with suppress(QuotaError):
            await task()
    tasks = [asyncio.create_task(_again_and_again(task, pause_s)) for task, pause_s in rounds]
    try:
        yield
    finally:
        await cancel_all(tasks)


def _telling_load(service: Service) -> Callable[[], Awaitable[None]]:
    """Return the round that reports the load of this process."""
    stores = service.stores
    window = LoadWindow(service.metrics, lambda: stores.confirmations.waiting)
    process = secrets.token_hex(8)

    async def tell() -> None:
        if time.monotonic() - stores.rooms.read_at_s > service.settings.admission_hold_after_s:
            return  # who cannot show candidates their turn is no sign that turns are seen
        await report_load(stores, process, window.read())

    return tell


async def _again_and_again(task: Callable[[], Awaitable[None]], pause_s: float) -> None:
    failed = ""
    while True:
        await asyncio.sleep(pause_s)
        try:
            await task()
            failed = ""
        except Exception as error:  # noqa: BLE001  whatever it is, the next round must come
            if not failed:
                log.warning("refresh failed", extra={"cause": f"{type(error).__name__}: {error}"})
            failed = str(error)


@asynccontextmanager
async def _working(service: Service) -> AsyncIterator[None]:
    """Run the workers in the background; each ends after the round under way."""
    stores, settings = service.stores, service.settings
    loops = [
        WorkerLoop(worker, service.metrics)
        for worker in (
            AuditWorker(stores),
            CapacityWorker(stores),
            ExpiryWorker(stores, settings),
            LeaseWorker(stores.worker_lease),
            RecoveryWorker(stores, settings),
            RetentionWorker(stores, settings),
            ShardRecoveryWorker(stores, settings),
        )
    ]
    loops += [
        WorkerLoop(worker, service.metrics, keeps_pace=True)
        for worker in (AdmissionWorker(stores, settings), JournalDrainWorker(stores, settings))
    ]
    tasks = [asyncio.create_task(loop.run()) for loop in loops]
    try:
        yield
    finally:
        for loop in loops:
            loop.stop()
        _, late = await asyncio.wait(tasks, timeout=settings.shutdown_drain_s)
        await cancel_all(late)
        with suppress(QuotaError):  # it ends by itself
            await stores.worker_lease.end()


async def cancel_all(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel tasks and wait for their ends, asking again those that have missed it.

    `asyncio.wait_for` of Python 3.11 loses a cancellation that comes in the very moment in which
    what it waits for is done, and a task that goes on for ever would hold up the shutdown as long.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
        await asyncio.gather(*ended, return_exceptions=True)


async def _listen(
    stack: AsyncExitStack, service: Service, *, api: bool, reuse_port: bool
) -> Addresses:
    settings = service.settings
    admin = await _listen_on_admin_port(stack, service)
    public = ""
    if api:
        with address_of_setting("", settings.host, settings.port):
            listeners = await bind(
                settings.host,
                settings.port,
                unread_max_s=settings.idle_timeout_s,
                reuse_port=reuse_port,
            )
            clients = await serve_api(stack, service)
            acceptor = Acceptor(listeners, has_room=clients.has_room, take=clients.begin)
        stack.callback(acceptor.close)
        public = acceptor.url
    return Addresses(public, admin)


async def serve_api(stack: AsyncExitStack, service: Service) -> Connections:
    """Return what serves the connections of the API, until the stack unwinds."""
    settings = service.settings
    runner = web.AppRunner(
        api_app(service), shutdown_timeout=settings.shutdown_drain_s, **_OPTIONS, **_HEADS
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    by_aiohttp = cast("web.Server", runner.server)
    calls = JsonCalls(service.context, ROUTES, service.metrics, by_aiohttp)
    clients = Connections(calls, settings, service.metrics)

    async def end() -> None:
        await service.context.streams.close()  # no shutdown waits for a stream
        await clients.drain(settings.shutdown_drain_s)

    stack.push_async_callback(end)
    return clients


async def _listen_on_admin_port(stack: AsyncExitStack, service: Service) -> str:
    """Serve the admin port until the stack unwinds; SettingsError when it cannot be had."""
    settings = service.settings
    app = admin_app(service)
    runner = web.AppRunner(app, shutdown_timeout=settings.shutdown_drain_s, **_OPTIONS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    with address_of_setting("admin_", settings.admin_host, settings.admin_port):
        site = web.TCPSite(runner, settings.admin_host, settings.admin_port, backlog=1024)
        await site.start()
    address = runner.addresses[0]
    return f"http://{address[0]}:{address[1]}"


def _not_loaded(registry: ExamRegistry) -> Callable[[], Awaitable[dict[str, str]]]:
    """Return the look for exams that could not be loaded."""

    async def look() -> dict[str, str]:
        return {f"exam:{exam}": cause for exam, cause in registry.not_loaded().items()}

    return look


def _loaded(registry: ExamRegistry, keys: KeyRing) -> Callable[[], Awaitable[None]]:
    """Return the check that exams and keys were read from Postgres."""

    async def check() -> None:
        registry.all()
        if not keys.is_loaded:
            raise QuotaError("the API keys have not been read yet")

    return check
