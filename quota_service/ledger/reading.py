"""What the ledger knows of reservations, bookings and payments, for the views of the API."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from quota_service.domain.errors import LedgerUnavailable
from quota_service.domain.payment import (
    PaymentOutcome,
    PaymentStatus,
    RecordedPayment,
    RefundReason,
)
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import instant, ms
from quota_service.settings import SettingsError

if TYPE_CHECKING:
    from asyncpg import Record

log = logging.getLogger(__name__)

_NOT_LET_IN = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InsufficientPrivilegeError)


@dataclass(frozen=True, slots=True)
class JournalledStep:
    """One journal entry: what was done to which serial, when (ms), its record after it, by whom."""

    subject: str
    verb: str
    at_ms: int
    body: str
    key_id: str
    request_id: str


@dataclass(frozen=True, slots=True)
class StepsOfSecond:
    """How many steps of an exam were taken in one second, which begins at `at_ms`."""

    at_ms: int
    held: int = 0
    confirmed: int = 0
    released: int = 0
    expired: int = 0


class LedgerReader:
    """Read-only questions to the ledger; each raises LedgerUnavailable when it cannot answer."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def payments(self, reservation: str) -> list[RecordedPayment]:
        """Return the payment events of a reservation, oldest first, at most 100."""
        rows = await self._ledger.fetch("select_payments_of_reservation", reservation)
        return [_payment(row) for row in rows]

    async def booking(self, reservation: str) -> Reservation | None:
        """Return a booking as the reservation it confirms, or None."""
        rows = await self._ledger.fetch("select_booking", reservation)
        return _booked(rows[0]) if rows else None

    async def record(self, reservation: str) -> str | None:
        """Return the record that the drained journal last saw of a reservation."""
        rows = await self._ledger.fetch("select_reservation_record", reservation)
        return rows[0]["record"] if rows else None

    async def records_of_candidate(self, exam: str, candidate: str) -> dict[str, str]:
        """Return a candidate's records by reservation, newest first, at most 200."""
        rows = await self._ledger.fetch("select_reservations_of_candidate", exam, candidate)
        return {row["id"]: row["record"] for row in rows}

    async def bookings_of_candidate(self, exam: str, candidate: str) -> list[Reservation]:
        """Return a candidate's bookings for an exam, oldest first."""
        rows = await self._ledger.fetch("select_bookings_of_candidate", exam, candidate)
        return [_booked(row) for row in rows]

    async def find_of_candidate(
        self, candidate: str, exam: str | None, after: str, limit: int
    ) -> list[str]:
        """Return ids of a candidate's reservations beyond `after`, by id; `exam` None: in all."""
        rows = await self._ledger.fetch(
            "find_reservations_of_candidate", candidate, exam, after, limit
        )
        return [row["id"] for row in rows]

    async def find_of_payment(
        self, reference: str, exam: str | None, after: str, limit: int
    ) -> list[str]:
        """Return ids that payments of a reference name, the provider's or that of an event."""
        rows = await self._ledger.fetch(
            "find_reservations_of_payment", reference, exam, after, limit
        )
        return [row["id"] for row in rows]

    async def bookings_at(
        self, exam: str, venue: str, subjects: Sequence[str], after: str, limit: int
    ) -> list[tuple[str, str]]:
        """Return reservation and candidate of bookings at a venue with one of the subjects."""
        rows = await self._ledger.fetch(
            "select_bookings_at_venue", exam, venue, list(subjects), after, limit
        )
        return [(row["reservation"], row["candidate"]) for row in rows]

    async def ordered_venues(self, reservations: Sequence[str]) -> dict[str, list[str]]:
        """Return the venues that were ordered, in order of choice, by reservation.

        One that ordered a single venue is not there, nor one of whose order the journal does not
        tell.
        """
        rows = await self._ledger.fetch("select_ordered_venues", list(reservations))
        return {row["id"]: row["venues"] for row in rows}

    async def steps_by_second(
        self, exam: str, from_ms: int, until_ms: int, entries_max: int
    ) -> list[StepsOfSecond]:
        """Return the seconds of a time with the drained steps of an exam, oldest first.

        Both times begin a second. So many of the last journal entries are read at most: where there
        are more, the seconds begin later.
        """
        rows = await self._ledger.fetch(
            "select_steps_by_second", exam, instant(from_ms), entries_max
        )
        kinds = ("held", "confirmed", "released", "expired")
        known = {
            ms(row["second"]): StepsOfSecond(ms(row["second"]), *(row[kind] for kind in kinds))
            for row in rows
        }
        if sum(row["steps"] for row in rows) == entries_max:
            from_ms = min(known) + 1000  # of the first second some may be missing
        return [known.get(at_ms, StepsOfSecond(at_ms)) for at_ms in range(from_ms, until_ms, 1000)]

    async def history(self, exam: str, serials: Sequence[str]) -> list[JournalledStep]:
        """Return the drained steps of reservations, oldest first, at most 2000."""
        rows = await self._ledger.fetch("select_history", exam, list(serials))
        return [
            JournalledStep(
                row["subject"],
                row["verb"],
                ms(row["at"]),
                row["body"],
                row["key_id"],
                row["request_id"],
            )
            for row in rows
        ]

    async def quarantined_entries(self) -> int:
        """Return how many journal entries wait in quarantine."""
        rows = await self._ledger.fetch("count_quarantined")
        return int(rows[0]["count"])

    async def journal_warning(self) -> dict[str, str]:
        """Return {"journal": what is wrong with the journals}; nothing when all is well."""
        rows = await self._ledger.fetch("count_journal_gaps")
        gaps = int(rows[0]["count"])
        warning = f"{gaps} gaps were found within a day: see the table journal_gaps"
        return {"journal": warning} if gaps else {}

    async def ping(self) -> None:
        """Return when Postgres answers."""
        async with self._ledger.connection() as connection:
            await connection.execute("SELECT 1")

    async def refuse_without_rights(self) -> None:
        """Raise SettingsError when Postgres does not let our role in, or at one of our tables.

        One that is away now is asked again later.
        """
        try:
            rows = await self._ledger.fetch("select_closed_tables")
        except LedgerUnavailable as error:
            if isinstance(error.__cause__, _NOT_LET_IN):
                raise SettingsError(f"QUOTA_POSTGRES_DSN: {error.__cause__}") from error
            log.warning("postgres does not answer", extra={"cause": str(error)})
            return
        if rows:
            tables = ", ".join(row["name"] for row in rows)
            raise SettingsError(
                f"QUOTA_POSTGRES_DSN: role {rows[0]['role']} may not read and write {tables}; give "
                "it their owner's rights, or use the role that migrates"
            )

    async def server_warnings(self) -> list[str]:
        """Return what is wrong with the server's settings, in words; empty when all is well."""
        wanted = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on or more"}
        rows = await self._ledger.fetch("select_server_settings", list(wanted))
        return [
            f"{row['name']} is {row['setting']!r}, the promises need {wanted[row['name']]!r}"
            for row in rows
            if row["setting"] not in {"on", "remote_write", "remote_apply"}
        ]


def _booked(row: "Record") -> Reservation:
    """Return a booking as a reservation; what only Redis knows of the hold is left at zero."""
    reserved_ms = ms(row["reserved_at"])
    return Reservation(
        id=row["reservation"],
        exam=row["exam"],
        candidate=row["candidate"],
        venue=row["venue"],
        subjects=tuple(row["subjects"]),
        sessions=tuple(row["sessions"]),
        state=State(row["state"]),
        amount=row["amount"],
        currency=row["currency"],
        created_ms=reserved_ms,
        first_deadline_ms=ms(row["first_deadline"]),
        deadline_ms=0,
        due_ms=0,
        checked_out=True,
        payment_seen=True,
        attempt="",
        attempt_began_ms=0,
        request_hash=row["request_hash"],
        first_venue=row["first_venue"],
    )


def _payment(row: "Record") -> RecordedPayment:
    reason = row["reason"]
    return RecordedPayment(
        event=row["event"],
        status=PaymentStatus(row["status"]),
        outcome=PaymentOutcome(row["outcome"]),
        reason=None if reason is None else RefundReason(reason),
        amount=row["amount"],
        currency=row["currency"],
        paid_at_ms=ms(row["paid_at"]),
        provider_reference=row["provider_reference"],
        refunded_ms=None if row["refunded_at"] is None else ms(row["refunded_at"]),
        disputed_ms=None if row["disputed_at"] is None else ms(row["disputed_at"]),
    )
