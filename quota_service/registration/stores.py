"""The stores as the use cases take them: each use case takes the part that it needs.

`ExamStores` is what every use case works with; the other parts add to it what theirs need. A
process opens `Stores`, which has them all; no use case takes that.
"""

from collections.abc import Callable
from dataclasses import dataclass

from quota_service.ledger.admission import AdmissionLedger
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
from quota_service.ledger.pool import Ledger
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
from quota_service.observability.metrics import Metrics
from quota_service.registration.backlog import Backlog
from quota_service.registration.code_guesses import CodeGuesses
from quota_service.registration.list_positions import ListPositions
from quota_service.registration.queue_numbers import QueueNumbers
from quota_service.registration.registry import ExamRegistry
from quota_service.registration.room_cache import WaitingRoomCache
from quota_service.seats.ceilings import CeilingStore
from quota_service.seats.clock import RedisClock
from quota_service.seats.dealing import DealingStore
from quota_service.seats.extensions import ExtensionStore
from quota_service.seats.lists import ListStore
from quota_service.seats.recovery import RecoveryStore
from quota_service.seats.returned import ReturnedStore
from quota_service.seats.room_statistics import RoomStatisticsStore
from quota_service.seats.rooms import RoomStore
from quota_service.seats.servers import Runners
from quota_service.seats.set_asides import SetAsideStore
from quota_service.seats.store import SeatStore


@dataclass(frozen=True, slots=True)
class ExamStores:
    """Exams in memory, their seats in Redis, their definitions and records in Postgres.

    `failpoint` is called with each line of a use case where the process may die. It does nothing
    in production; the fault tests put a kill there.
    """

    clock: RedisClock
    seats: SeatStore
    ceilings: CeilingStore
    returned: ReturnedStore
    set_aside_store: SetAsideStore
    set_asides: SetAsideLedger
    registry: ExamRegistry
    ledger: Ledger
    exams: ExamLedger
    recoveries: RecoveryLedger
    reader: LedgerReader
    ops_actions: OpsActions
    seat_releases: SeatReleaseLedger
    metrics: Metrics
    failpoint: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PaymentStores(ExamStores):
    """What confirming, changing the venue, refunding, recovering these and viewing them need.

    `retry_grace_ms` is how long a hold whose payment could not be recorded is kept for the payment
    to be sent again.
    """

    confirmations: ConfirmationLedger
    changes: ChangeLedger
    refunds: RefundLedger
    refunds_due: RefundsDue
    refusals: RefusalLedger
    unreadable: UnreadablePayments
    retry_grace_ms: int


@dataclass(frozen=True, slots=True)
class ReservationStores(ExamStores):
    """What reserving needs: what costs nothing is confirmed at once, so payments are among it."""

    payments: PaymentStores
    rooms: WaitingRoomCache
    backlog: Backlog
    guesses: CodeGuesses


@dataclass(frozen=True, slots=True)
class WaitingRoomStores(ExamStores):
    """What joining, claiming, finishing, admitting and the control of a waiting room need."""

    rooms: WaitingRoomCache
    waiting_rooms: WaitingRoomLedger
    draws: DrawLedger
    room_store: RoomStore
    numbers: QueueNumbers
    admission: AdmissionLedger
    room_statistics: RoomStatisticsStore


@dataclass(frozen=True, slots=True)
class WaitingListStores(ExamStores):
    """What joining and leaving a waiting list, looking at it and its control need."""

    lists: ListStore
    list_ledger: WaitingListLedger
    positions: ListPositions
    deals: DealingLedger


@dataclass(frozen=True, slots=True)
class DealingStores(ExamStores):
    """What the dealing of returned seats needs: what costs nothing is confirmed in it."""

    payments: PaymentStores
    lists: ListStore
    list_ledger: WaitingListLedger
    dealing: DealingStore
    deals: DealingLedger


@dataclass(frozen=True, slots=True)
class MaintenanceStores(ExamStores):
    """What imports, the journal, events, recovery of shards, audit, extensions and archive need."""

    payments: PaymentStores
    rooms: WaitingRoomCache
    room_store: RoomStore
    waiting_rooms: WaitingRoomLedger
    lists: ListStore
    list_ledger: WaitingListLedger
    dealing: DealingStore
    deals: DealingLedger
    draws: DrawLedger
    recovery: RecoveryStore
    auditing: AuditLedger
    events: EventLedger
    archive: ArchiveLedger
    retention: RetentionLedger
    webhooks: WebhookLedger
    extensions: HoldExtensions
    extending: ExtensionStore
    revoked_tokens: RevokedTokenLedger


@dataclass(frozen=True, slots=True)
class WebhookStores(ExamStores):
    """What the endpoints of webhooks and the deliveries to them need."""

    endpoints: WebhookEndpoints
    webhooks: WebhookLedger


@dataclass(frozen=True, slots=True)
class Stores(ExamStores):
    """Both stores as a process has opened them, with the part of each kind of use case."""

    runners: Runners
    worker_lease: WorkerLease
    reservations: ReservationStores
    payments: PaymentStores
    waiting_room: WaitingRoomStores
    waiting_list: WaitingListStores
    dealing: DealingStores
    maintenance: MaintenanceStores
    webhooks: WebhookStores
