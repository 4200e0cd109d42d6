"""Opens what a process works with; everything that is opened is closed in the opposite order.

A store that is away is no error: it is asked when it is needed. A command that needs Postgres alone
opens that (`open_ledger`), one that works on both stores `open_stores`, and a process that serves
`open_service`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from quota_service.api.auth import KeyRing
from quota_service.api.context import ApiContext
from quota_service.api.events import EventFeed, EventFeedLimits
from quota_service.api.exports import ExportLimits
from quota_service.api.refusals import RefusalLog
from quota_service.api.rendered import RenderedAvailability
from quota_service.api.revoked_tokens import RevokedTokens
from quota_service.api.streams import Streams
from quota_service.api.tokens import TokenSecrets
from quota_service.domain.errors import QuotaError
from quota_service.http.concurrency import ConcurrencyLimiter
from quota_service.http.cors import Cors
from quota_service.http.etags import RenderedOnce
from quota_service.http.fair_queue import FairQueue
from quota_service.http.webhooks import parse_secrets
from quota_service.ledger.admission import AdmissionLedger
from quota_service.ledger.api_keys import ApiKeyLedger
from quota_service.ledger.archive import ArchiveLedger
from quota_service.ledger.auditing import AuditLedger
from quota_service.ledger.changes import ChangeLedger
from quota_service.ledger.confirmations import ConfirmationLedger
from quota_service.ledger.dealing import DealingLedger
from quota_service.ledger.draws import DrawLedger
from quota_service.ledger.events import EventLedger
from quota_service.ledger.exams import ExamLedger
from quota_service.ledger.hold_extensions import HoldExtensions
from quota_service.ledger.leases import WorkerLease
from quota_service.ledger.ops_actions import OpsActions
from quota_service.ledger.pool import open_ledger
from quota_service.ledger.reading import LedgerReader
from quota_service.ledger.recoveries import RecoveryLedger
from quota_service.ledger.refunds import RefundLedger
from quota_service.ledger.refunds_due import RefundsDue
from quota_service.ledger.refusals import RefusalLedger
from quota_service.ledger.retention import RetentionLedger
from quota_service.ledger.revoked_tokens import RevokedTokenLedger
from quota_service.ledger.seat_releases import SeatReleaseLedger
from quota_service.ledger.set_asides import SetAsideLedger
from quota_service.ledger.unreadable_payments import UnreadablePayments
from quota_service.ledger.waiting_list import WaitingListLedger
from quota_service.ledger.waiting_rooms import WaitingRoomLedger
from quota_service.ledger.webhook_endpoints import WebhookEndpoints
from quota_service.ledger.webhooks import WebhookLedger
from quota_service.observability.health import Health
from quota_service.observability.metrics import Metrics
from quota_service.registration.availability import AvailabilityCache
from quota_service.registration.backlog import Backlog
from quota_service.registration.code_guesses import CodeGuesses
from quota_service.registration.exam_load import ExamLoads
from quota_service.registration.in_flight import InFlight, UseCaseLimits
from quota_service.registration.list_positions import ListPositions, PositionLimits
from quota_service.registration.queue_numbers import NumberBlock, QueueNumbers
from quota_service.registration.refusal_history import RefusalHistory, RefusalLimits
from quota_service.registration.registry import ExamRegistry
from quota_service.registration.room_cache import WaitingRoomCache
from quota_service.registration.stores import (
    DealingStores,
    MaintenanceStores,
    PaymentStores,
    ReservationStores,
    Stores,
    WaitingListStores,
    WaitingRoomStores,
    WebhookStores,
)
from quota_service.seats.ceilings import CeilingStore
from quota_service.seats.clock import RedisClock
from quota_service.seats.dealing import DealingStore
from quota_service.seats.extensions import ExtensionStore
from quota_service.seats.lists import ListStore
from quota_service.seats.recovery import RecoveryStore
from quota_service.seats.returned import ReturnedStore
from quota_service.seats.room_statistics import RoomStatisticsStore
from quota_service.seats.rooms import RoomStore
from quota_service.seats.scripts import load_scripts
from quota_service.seats.servers import Runners, open_runners
from quota_service.seats.set_asides import SetAsideStore
from quota_service.seats.store import SeatStore
from quota_service.settings import Settings
from quota_service.waiting_room.document import Polling

_POLL_MIN_S = 1.0
"""The shortest time after which a client in a waiting room asks again."""


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of one process."""

    settings: Settings
    metrics: Metrics
    stores: Stores
    keys: KeyRing
    key_ledger: ApiKeyLedger
    health: Health
    in_flight: InFlight
    context: ApiContext


def _pass(_line: str) -> None:
    """Go on: in production nothing happens at the marked lines of a use case."""


@asynccontextmanager
async def open_stores(
    settings: Settings, metrics: Metrics, failpoint: Callable[[str], None] = _pass
) -> AsyncIterator[Stores]:
    """Open both stores, and what the use cases need of them.

    `failpoint` is called with each marked line of a use case, so that a test can die there.
    """
    async with AsyncExitStack() as stack:
        runners = open_runners(settings, load_scripts(), metrics)
        stack.push_async_callback(runners.aclose)
        await runners.find()
        ledger = await stack.enter_async_context(open_ledger(settings, metrics))
        clock, seats, exams = RedisClock(runners), SeatStore(runners), ExamLedger(ledger)
        registry = ExamRegistry(exams, clock)
        recoveries, reader = RecoveryLedger(ledger), LedgerReader(ledger)
        common = (
            clock,
            seats,
            CeilingStore(runners),
            ReturnedStore(runners),
            SetAsideStore(runners),
            SetAsideLedger(ledger),
            registry,
            ledger,
            exams,
            recoveries,
            reader,
            OpsActions(ledger),
            SeatReleaseLedger(ledger),
            metrics,
            failpoint,
        )
        room_store, room_ledger = RoomStore(runners), WaitingRoomLedger(ledger)
        lists, list_ledger = ListStore(runners), WaitingListLedger(ledger, settings, metrics)
        dealing, deals = DealingStore(runners), DealingLedger(ledger)
        draws, webhooks = DrawLedger(ledger, settings), WebhookLedger(ledger)
        polling = Polling(_POLL_MIN_S, settings.waiting_room_poll_max_s)
        rooms = WaitingRoomCache(
            room_ledger,
            room_store,
            registry,
            clock=clock,
            polling=polling,
            patience_s=settings.redis_patience_s,
            failpoint=failpoint,
        )
        payments = PaymentStores(
            *common,
            confirmations=ConfirmationLedger(ledger, settings, metrics, failpoint),
            changes=ChangeLedger(ledger, settings, metrics),
            refunds=RefundLedger(ledger, settings, metrics),
            refunds_due=RefundsDue(ledger),
            refusals=RefusalLedger(ledger),
            unreadable=UnreadablePayments(ledger),
            retry_grace_ms=round(settings.payment_retry_grace_s * 1000),
        )
        yield Stores(
            *common,
            runners=runners,
            worker_lease=WorkerLease(ledger),
            reservations=ReservationStores(
                *common,
                payments=payments,
                rooms=rooms,
                backlog=Backlog(
                    seats,
                    registry,
                    metrics,
                    payments_pending_max=settings.payments_pending_max,
                    journal_max=settings.journal_backlog_max,
                ),
                guesses=CodeGuesses(),
            ),
            payments=payments,
            waiting_room=WaitingRoomStores(
                *common,
                rooms=rooms,
                waiting_rooms=room_ledger,
                draws=draws,
                room_store=room_store,
                numbers=QueueNumbers(
                    room_ledger,
                    room_store,
                    block=settings.limits_of(NumberBlock).size,
                    numbers_max=settings.waiting_room_numbers_max,
                    failpoint=failpoint,
                ),
                admission=AdmissionLedger(ledger),
                room_statistics=RoomStatisticsStore(runners),
            ),
            waiting_list=WaitingListStores(
                *common,
                lists=lists,
                list_ledger=list_ledger,
                positions=ListPositions(list_ledger, settings.limits_of(PositionLimits)),
                deals=deals,
            ),
            dealing=DealingStores(
                *common,
                payments=payments,
                lists=lists,
                list_ledger=list_ledger,
                dealing=dealing,
                deals=deals,
            ),
            maintenance=MaintenanceStores(
                *common,
                payments=payments,
                rooms=rooms,
                room_store=room_store,
                waiting_rooms=room_ledger,
                lists=lists,
                list_ledger=list_ledger,
                dealing=dealing,
                deals=deals,
                draws=draws,
                recovery=RecoveryStore(runners),
                auditing=AuditLedger(ledger),
                events=EventLedger(ledger),
                archive=ArchiveLedger(ledger),
                retention=RetentionLedger(ledger),
                webhooks=webhooks,
                extensions=HoldExtensions(ledger),
                extending=ExtensionStore(runners),
                revoked_tokens=RevokedTokenLedger(ledger),
            ),
            webhooks=WebhookStores(*common, endpoints=WebhookEndpoints(ledger), webhooks=webhooks),
        )


@asynccontextmanager
async def open_service(
    settings: Settings, failpoint: Callable[[str], None] = _pass
) -> AsyncIterator[Service]:
    """Open the stores, and what the API and the admin port need beside them."""
    metrics = Metrics()
    async with open_stores(settings, metrics, failpoint) as stores:
        key_ledger = ApiKeyLedger(stores.ledger)
        tokens = TokenSecrets(settings.candidate_token_secrets)
        keys = KeyRing(
            key_ledger, tokens, RevokedTokens(stores.maintenance.revoked_tokens), stores.clock
        )
        health = _health(stores, keys)
        in_flight = InFlight(
            limit=settings.limits_of(UseCaseLimits).at_once_max,
            timeout_s=settings.request_timeout_s,
        )
        rendered = RenderedAvailability()
        availability = AvailabilityCache(
            stores.seats,
            stores.ceilings,
            stores.registry,
            settings.availability_refresh_ms,
            rendered.get_ready,
        )
        context = ApiContext(
            settings=settings,
            stores=stores,
            availability=availability,
            keys=keys,
            tokens=tokens,
            in_flight=in_flight,
            health=health,
            cors=Cors(settings.cors_origins),
            payment_secrets=parse_secrets(settings.payment_secrets),
            rendered=rendered,
            rendered_rooms=RenderedOnce(),
            rendered_exams=RenderedOnce(),
            exports=asyncio.Semaphore(settings.limits_of(ExportLimits).at_once_max),
            streams=Streams(availability, rendered, settings, metrics),
            events=EventFeed(stores.maintenance.events, settings.limits_of(EventFeedLimits)),
            queue=FairQueue(asyncio.get_running_loop(), settings.queue_max),
            limiter=ConcurrencyLimiter.of(settings, metrics),
            refusals=RefusalLog(
                RefusalHistory(stores.payments.refusals, metrics, settings.limits_of(RefusalLimits))
            ),
            loads=ExamLoads(stores.waiting_room, stores.payments.refusals),
        )
        yield Service(settings, metrics, stores, keys, key_ledger, health, in_flight, context)


def _health(stores: Stores, keys: KeyRing) -> Health:
    return Health(
        {
            "redis": stores.runners.check,
            "postgres": stores.reader.ping,
            "memory": _loaded(stores.registry, keys),
        },
        [
            stores.reader.journal_warning,
            stores.worker_lease.warning,
            stores.payments.unreadable.warning,
            _not_loaded(stores.registry),
            _some_away(stores.runners),
        ],
        stores.clock.read,
        stores.metrics,
    )


def _not_loaded(registry: ExamRegistry) -> Callable[[], Awaitable[dict[str, str]]]:
    """Return the look for exams that could not be loaded."""

    async def look() -> dict[str, str]:
        return {f"exam:{exam}": cause for exam, cause in registry.not_loaded().items()}

    return look


def _some_away(runners: Runners) -> Callable[[], Awaitable[Mapping[str, str]]]:
    """Return the look for primaries of a Cluster that are away while others serve."""

    async def look() -> Mapping[str, str]:
        return runners.faults()

    return look


def _loaded(registry: ExamRegistry, keys: KeyRing) -> Callable[[], Awaitable[None]]:
    """Return the check that exams and keys were read from Postgres."""

    async def check() -> None:
        registry.all()
        if not keys.is_loaded:
            raise QuotaError("the API keys have not been read yet")

    return check
