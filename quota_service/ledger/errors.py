"""Turns what Postgres raises into the service's errors, constraint by constraint.

QuotaError
├── LedgerRefused            a named constraint said no; the transaction left nothing behind
│   ├── Oversold                 quotas_never_oversold, ceilings_never_oversold
│   ├── SessionTaken             booking_items_one_subject_a_session
│   ├── AlreadyBooked            bookings_pk
│   ├── EventRecorded            payment_events_pk, payment_events_one_a_reference,
│   │                            bookings_one_payment
│   └── RefundTaken              refunds_one_a_person
└── Unavailable
    └── LedgerUnavailable    away, too slow, read-only, deadlocked: ask again
        └── LedgerLocked         another transaction holds a row, and does not end
"""

import asyncpg

from quota_service.domain.errors import LedgerUnavailable, QuotaError


class LedgerRefused(QuotaError):
    """A constraint said no; the transaction left nothing behind."""

    def __init__(self, constraint: str) -> None:
        super().__init__(f"refused by {constraint}")
        self.constraint = constraint


class Oversold(LedgerRefused):
    """More seats than the quota has, or than there are under its ceiling."""


class SessionTaken(LedgerRefused):
    """The candidate has a booking in the session."""


class AlreadyBooked(LedgerRefused):
    """The reservation has its booking."""


class EventRecorded(LedgerRefused):
    """The payment event is recorded, or its payment is under another event."""


class RefundTaken(LedgerRefused):
    """The candidate has had the one refund for the exam."""


class LedgerLocked(LedgerUnavailable):
    """Another transaction holds a row, and did not end in time."""


_BY_CONSTRAINT: dict[str, type[LedgerRefused]] = {
    "quotas_never_oversold": Oversold,
    "ceilings_never_oversold": Oversold,
    "booking_items_one_subject_a_session": SessionTaken,
    "bookings_pk": AlreadyBooked,
    "payment_events_pk": EventRecorded,
    "payment_events_one_a_reference": EventRecorded,
    "bookings_one_payment": EventRecorded,
    "refunds_one_a_person": RefundTaken,
}

_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke in the middle of a command
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
    asyncpg.TargetServerAttributeNotMatched,
)


def translate(error: BaseException, *, applied: bool | None = False) -> BaseException:
    """Return the service's error for one of asyncpg's; anything else as it is.

    `applied` says what is known about the command's effect: None once a commit was sent.
    """
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        name = error.constraint_name or "a constraint"
        return _BY_CONSTRAINT.get(name, LedgerRefused)(name)
    if isinstance(error, asyncpg.UndefinedTableError | asyncpg.UndefinedFunctionError):
        return LedgerUnavailable("postgres lacks a migration: run `quota-service migrate`")
    if isinstance(error, asyncpg.LockNotAvailableError):
        return LedgerLocked(f"postgres: {error}")
    if isinstance(error, _AWAY):
        return LedgerUnavailable(f"postgres: {type(error).__name__} {error}", applied=applied)
    return error


def is_refusal(error: BaseException) -> bool:
    """Return whether the server itself said that it did not do what it was asked."""
    return isinstance(error, asyncpg.PostgresError) and not isinstance(
        error, asyncpg.PostgresConnectionError | asyncpg.OperatorInterventionError
    )


def ends_connection(error: BaseException) -> bool:
    """Return whether the server turned out to be one we must not write to any more."""
    return isinstance(error, asyncpg.ReadOnlySQLTransactionError)
