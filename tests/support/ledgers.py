"""The ledger of one exam on a real Postgres, with short words for what tests do to it."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from quota_service.domain.exam import Exam, Quota
from quota_service.domain.payment import PaymentEvent, PaymentOutcome, PaymentStatus, RefundReason
from quota_service.domain.reservation import Reservation, State, derive_serial
from quota_service.ledger.confirmations import (
    AttemptSuperseded,
    ConfirmationLedger,
    PaymentDecision,
    RecordedPayment,
)
from quota_service.ledger.exams import ExamLedger
from quota_service.ledger.pool import Ledger, open_ledger
from quota_service.ledger.reading import LedgerReader
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings
from tests.support.exams import make_exam
from tests.support.patience import LIMIT_S

PAID_AT_MS = 1_700_000_000_123


@dataclass(frozen=True, slots=True)
class LedgerUnderTest:
    """A ledger that knows one exam."""

    settings: Settings
    metrics: Metrics
    ledger: Ledger
    confirmations: ConfirmationLedger
    exams: ExamLedger
    reader: LedgerReader
    exam: Exam
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def reservation(
        self,
        candidate: str = "candidate-1",
        subjects: tuple[str, ...] = ("general",),
        venue: str = "jinan",
        *,
        attempt: str = "attempt-1",
        **changes: Any,
    ) -> Reservation:
        """Return a reservation under an attempt as Redis would report it, with an id of its own."""
        key = f"key-{next(self._numbers)}"
        fields: dict[str, Any] = {
            "id": f"{self.exam.id}.0.{derive_serial(None, self.exam.id, candidate, key)}",
            "exam": self.exam.id,
            "sessions": tuple(self.exam.session_of.get(subject, "day1-am") for subject in subjects),
            "state": State.CONFIRMING,
            "amount": self.exam.fee.amount * len(subjects),
            "currency": self.exam.fee.currency,
            "created_ms": PAID_AT_MS - 60_000,
            "first_deadline_ms": PAID_AT_MS,
            "deadline_ms": PAID_AT_MS,
            "due_ms": PAID_AT_MS,
            "checked_out": True,
            "payment_seen": True,
            "attempt_began_ms": PAID_AT_MS,
            "request_hash": "hash",
        }
        return Reservation(
            **{**fields, **changes},
            candidate=candidate,
            venue=venue,
            subjects=subjects,
            attempt=attempt,
        )

    def event(self, reservation: Reservation | str, **changes: Any) -> PaymentEvent:
        """Return a captured payment of a reservation, with an id of its own."""
        known = reservation if isinstance(reservation, Reservation) else None
        event = f"event-{next(self._numbers)}"
        fields: dict[str, Any] = {
            "event": event,
            "reservation": known.id if known else reservation,
            "status": PaymentStatus.CAPTURED,
            "amount": known.amount if known else 8000,
            "currency": "CNY",
            "paid_at_ms": PAID_AT_MS,
            "provider_reference": f"provider-{changes.get('event', event)}",
            "body_hash": "body",
        }
        return PaymentEvent(**{**fields, **changes})

    def booking(self, reservation: Reservation, **changes: Any) -> PaymentDecision:
        """Return the verdict that books a reservation for a payment of its own."""
        event = self.event(reservation, **changes)
        return PaymentDecision(
            event, PaymentOutcome.CONFIRMED, booking=reservation, begun_s=time.monotonic()
        )

    async def book(self, *words: Any, **options: Any) -> RecordedPayment | AttemptSuperseded:
        """Book what `reservation` would make of the arguments."""
        return await self.confirmations.settle(self.booking(self.reservation(*words, **options)))

    async def rows(self, statement: str, *args: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        async with self.ledger.connection() as connection:
            return [tuple(row) for row in await connection.fetch(statement, *args)]

    async def confirmed(self) -> dict[str, int]:
        """Return the booked seats of quotas that have any, as `venue/subject`."""
        async with self.ledger.connection() as connection:
            counts = await self.exams.confirmed(connection, self.exam.id)
        return {str(quota): seats for quota, seats in counts.items() if seats}

    async def check_books(self) -> None:
        """Fail unless counters, items, bookings and payment events tell the same story."""
        items = await self.rows(
            "SELECT venue || '/' || subject, count(*) FROM booking_items WHERE active GROUP BY 1"
        )
        bookings = await self.rows("SELECT reservation, event FROM bookings ORDER BY 1")
        paid = await self.rows(
            "SELECT reservation, event FROM payment_events"
            " WHERE outcome = 'confirmed' AND repeats IS NULL ORDER BY 1"
        )
        oversold = await self.rows("SELECT 1 FROM quotas WHERE confirmed > capacity")
        assert dict(items) == await self.confirmed()
        assert bookings == paid
        assert oversold == []

    async def tell_statistics(self) -> None:
        """Have the connection tell the server what it has counted."""
        async with self.ledger.connection() as connection:
            await connection.execute("SELECT pg_stat_force_next_flush()")
            await connection.execute("SELECT pg_stat_clear_snapshot()")

    async def waiting_for_a_lock(self) -> int:
        """Wait until a call of this database waits for a lock; return its server process."""
        waiting = """SELECT pid FROM pg_stat_activity
                     WHERE wait_event_type = 'Lock' AND datname = current_database()"""
        async with asyncio.timeout(LIMIT_S):
            while not (found := await self.rows(waiting)):  # noqa: ASYNC110  of another process
                await asyncio.sleep(0.01)
        return int(found[0][0])

    def groups(self) -> tuple[int, int]:
        """Return how many transactions have recorded events, and how many events in all."""
        sample = self.metrics.registry.get_sample_value
        counted = sample("quota_group_commit_size_count"), sample("quota_group_commit_size_sum")
        return int(counted[0] or 0), int(counted[1] or 0)


def refund(reason: RefundReason) -> RecordedPayment:
    """Return the end of a payment that has to go back."""
    return RecordedPayment(PaymentOutcome.REFUND_DUE, reason)


BOOKED = RecordedPayment(PaymentOutcome.CONFIRMED, None)


async def store_exam(ledger: Ledger, exam: Exam) -> None:
    """Store an exam with its quotas, as an import does."""
    exams = ExamLedger(ledger)
    async with ledger.transaction() as connection:
        await exams.insert(connection, exam)
        await exams.set_capacity(connection, exam.id, exam.seats)
        await exams.set_ceilings(connection, exam)


def _pass(_line: str) -> None:
    """Go on at a marked line."""


@asynccontextmanager
async def open_books(
    settings: Settings, exam: Exam | None = None, failpoint: Callable[[str], None] = _pass
) -> AsyncIterator[LedgerUnderTest]:
    """Open the ledger of a migrated database and store an exam in it unless it is there."""
    exam, metrics = exam or make_exam(), Metrics()
    async with open_ledger(settings, metrics) as ledger:
        exams = ExamLedger(ledger)
        if exam.id not in await exams.all({}):
            await store_exam(ledger, exam)
        yield LedgerUnderTest(
            settings,
            metrics,
            ledger,
            ConfirmationLedger(ledger, settings, metrics, failpoint),
            exams,
            LedgerReader(ledger),
            exam,
        )


def quota(text: str) -> Quota:
    """Return the quota written `venue/subject`."""
    return Quota(*text.split("/"))
