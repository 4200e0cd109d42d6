"""A payment event as the provider reports it, and how each one ends (promise P6)."""

from dataclasses import dataclass
from enum import StrEnum


class PaymentStatus(StrEnum):
    """What the provider says happened to the money."""

    CAPTURED = "captured"
    FAILED = "failed"
    REFUNDED = "refunded"
    """The provider has sent it back."""
    DISPUTED = "disputed"
    """Its payer, or the payer's bank, asks for it back."""


class PaymentOutcome(StrEnum):
    """The outcome of a payment event."""

    CONFIRMED = "confirmed"
    REFUND_DUE = "refund_due"
    IGNORED = "ignored"
    """No money has moved."""
    RECORDED = "recorded"
    """What became of the money later: shown beside its payment, and nothing more."""


class RefundReason(StrEnum):
    """Why a captured payment has to go back."""

    UNKNOWN_RESERVATION = "unknown-reservation"
    WRONG_AMOUNT = "wrong-amount"
    WRONG_CURRENCY = "wrong-currency"
    ALREADY_PAID = "already-paid"
    RELEASED = "released"
    SOLD_OUT = "sold-out"
    TOO_LATE = "too-late"
    SESSION_CONFLICT = "session-conflict"
    REFUNDED = "refunded"
    REFERENCE_REUSED = "reference-reused"
    """Another payment has its reference: a person has to ask the provider which of them is one."""


OUTCOMES_WITHOUT_CAPTURE = {
    PaymentStatus.FAILED: PaymentOutcome.IGNORED,
    PaymentStatus.REFUNDED: PaymentOutcome.RECORDED,
    PaymentStatus.DISPUTED: PaymentOutcome.RECORDED,
}
"""How events end that bring no money, by status."""


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """One callback of the payment provider, its signature already checked.

    `event` is the provider's id of the event, the same when it is sent again; `body_hash` is over
    the parsed members, so that the same event with another content is detected. Money in minor
    units, time in milliseconds since the epoch. `request` names the request that brought it.
    """

    event: str
    reservation: str
    status: PaymentStatus
    amount: int
    currency: str
    paid_at_ms: int
    provider_reference: str
    body_hash: str
    request: str = ""


@dataclass(frozen=True, slots=True)
class PaymentResult:
    """What the provider is answered, the same each time it asks."""

    outcome: PaymentOutcome
    reservation: str
    reason: RefundReason | None = None


@dataclass(frozen=True, slots=True)
class RecordedPayment:
    """A payment event as the ledger keeps it, and when it was sent back or disputed later."""

    event: str
    status: PaymentStatus
    outcome: PaymentOutcome
    reason: RefundReason | None
    amount: int
    currency: str
    paid_at_ms: int
    provider_reference: str
    refunded_ms: int | None = None
    disputed_ms: int | None = None
