"""What every use case works with: both stores, the exams in memory and the counters."""

from collections.abc import Callable
from dataclasses import dataclass

from quota_service.domain.errors import ExamArchived, NotReady, UnknownReservation
from quota_service.domain.reservation import ReservationId
from quota_service.ledger.admission import AdmissionLedger
from quota_service.ledger.archive import ArchiveLedger
from quota_service.ledger.auditing import AuditLedger
from quota_service.ledger.changes import ChangeLedger
from quota_service.ledger.confirmations import ConfirmationLedger
from quota_service.ledger.exams import ExamLedger
from quota_service.ledger.leases import WorkerLease
from quota_service.ledger.pool import Ledger
from quota_service.ledger.reading import LedgerReader
from quota_service.ledger.recoveries import RecoveryLedger
from quota_service.ledger.refunds import RefundLedger
from quota_service.ledger.refunds_due import RefundsDue
from quota_service.ledger.retention import RetentionLedger
from quota_service.ledger.unreadable_payments import UnreadablePayments
from quota_service.ledger.waiting_rooms import WaitingRoomLedger
from quota_service.observability.metrics import Metrics
from quota_service.registration.backlog import Backlog
from quota_service.registration.queue_numbers import QueueNumbers
from quota_service.registration.registry import ExamRegistry, Progress
from quota_service.registration.room_cache import WaitingRoomCache
from quota_service.seats.keys import Shard
from quota_service.seats.recovery import RecoveryStore
from quota_service.seats.room_survey import RoomSurveyor
from quota_service.seats.rooms import RoomStore
from quota_service.seats.store import SeatStore


@dataclass(frozen=True, slots=True)
class Stores:
    """The parts a use case may touch.

    `payment_retry_grace_ms` is how long a hold whose payment could not be recorded is kept for the
    payment to be told again. `failpoint` is told each line of a use case between which the process
    may die. It does nothing in production; the fault tests put a kill there.
    """

    seats: SeatStore
    recovery: RecoveryStore
    room_store: RoomStore
    ledger: Ledger
    exams: ExamLedger
    archive: ArchiveLedger
    confirmations: ConfirmationLedger
    changes: ChangeLedger
    refunds: RefundLedger
    refunds_due: RefundsDue
    unreadable_payments: UnreadablePayments
    recoveries: RecoveryLedger
    auditing: AuditLedger
    retention: RetentionLedger
    waiting_rooms: WaitingRoomLedger
    admission: AdmissionLedger
    worker_lease: WorkerLease
    surveyor: RoomSurveyor
    reader: LedgerReader
    registry: ExamRegistry
    backlog: Backlog
    rooms: WaitingRoomCache
    numbers: QueueNumbers
    metrics: Metrics
    payment_retry_grace_ms: int
    failpoint: Callable[[str], None]

    def progress(self) -> Progress:
        """Return which exams go on and which are over; all go on while the time is not known."""
        try:
            now_ms = self.rooms.now_ms()
        except NotReady:
            now_ms = 0
        return self.registry.progress(now_ms)

    def locate(self, reservation: str) -> tuple[Shard, str]:
        """Return shard and serial of a reservation id; UnknownReservation if it is none of ours.

        ExamArchived is raised where its exam is kept in Postgres alone.
        """
        parts = ReservationId.parse(reservation)
        if parts is not None and self.registry.is_archived(parts.exam):
            raise ExamArchived(parts.exam)
        shard = None if parts is None else self.registry.shard_of_reservation(parts)
        if parts is None or shard is None:
            raise UnknownReservation
        return shard, parts.serial
