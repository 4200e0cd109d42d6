"""What ops are answered, as `answers` has the rest."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, WithJsonSchema

from quota_service.api.answers import (
    Answer,
    Count,
    ExamId,
    Next,
    Positive,
    Seconds,
    Time,
)
from quota_service.api.room_answers import RoomMembers
from quota_service.domain.payment import RefundReason
from quota_service.registration.audit import Promise
from quota_service.schema import Currency, Identifier


class RefundDue(Answer):
    """A captured payment that has to go back."""

    id: str
    """Id of the refund due."""
    event: str
    """The provider's id of the payment event."""
    exam: Annotated[
        str | None,
        WithJsonSchema({"type": ["string", "null"]}),
    ]
    """Id of the exam; null when the payment named none we know."""
    reservation: str
    """The reservation as it was named."""
    reason: RefundReason
    """Why it goes back. `reference-reused`: another payment has its reference; ask the provider
    whether the two are one before anything is sent."""
    amount: Count
    """In minor units."""
    currency: Currency
    provider_reference: str
    """The provider's own reference of the payment."""
    due_at: Time
    """Since when."""
    settled_at: Time | None
    """When ops sent it back; null until then."""
    refunded_at: Time | None
    """When the provider says it sent the money back; null if never."""
    disputed_at: Time | None
    """When the provider says it was disputed; null if never."""


class RefundsDue(Answer):
    """A page of the money that has to go back."""

    exam: Identifier | None
    """Id of the exam that was asked for; null when none was."""
    refunds_due: Sequence[RefundDue]
    """In the order they came."""
    next: Next


class UnreadablePayment(Answer):
    """A payment event with a right signature that could not be understood."""

    id: str
    """Id of the entry."""
    event: str
    """The provider's id of the event."""
    problem: str
    """What is wrong with it."""
    body: str
    """The body as text; bytes that are no UTF-8 are replaced."""
    body_base64: Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]
    """The body byte by byte."""
    deliveries: Positive
    """How often it came."""
    received_at: Time
    """When it came first."""
    last_received_at: Time
    """When it came last."""
    settled_at: Time | None
    """When a person had dealt with it; null until then."""


class UnreadablePayments(Answer):
    """A page of the payment events that could not be understood."""

    unreadable_payments: Sequence[UnreadablePayment]
    """In the order they came."""
    next: Next


class Difference(Answer):
    """One difference."""

    promise: Promise
    """The promise."""
    place: str
    """Quota, event or reservation."""
    expected: str
    """What there should be."""
    found: str
    """What there is."""


class Audit(Answer):
    """Whether the service keeps its promises for an exam."""

    exam: ExamId
    clean: bool
    """Whether there is no difference."""
    checked: Sequence[Annotated[Promise, Field(description="A promise.")]]
    """The promises that were checked."""
    quotas: Count
    """How many quotas were compared."""
    differences: Sequence[Difference]
    """What is not as promised."""


class Archived(Answer):
    """An exam that is archived."""

    exam: ExamId
    archived_at: Time
    """Since when it is archived."""


class ImportedChange(Answer):
    """One difference."""

    where: str
    """Key path in the definition."""
    before: str
    """The value as it was."""
    after: str
    """The value as it is now."""


class ImportedWarning(Answer):
    """One warning."""

    where: str
    """Key path in the definition."""
    detail: str
    """What is odd, for people."""


class ImportResult(Answer):
    """What an import did; neither created nor changed is a repeat."""

    exam: ExamId
    created: bool
    """Whether the exam is new."""
    changes: Sequence[ImportedChange]
    """What differs from before, for people."""
    warnings: Sequence[ImportedWarning]
    """What may be meant and should be looked at: windows and sittings that do not go together,
    sessions at the same time."""


Milliseconds = Annotated[float, Field(ge=0)]


class Measures(Answer):
    """What the process saw in the last seconds."""

    requests: Count
    """Reservations and payment callbacks answered."""
    failures: Count
    """Those of them that were answered 5xx."""
    reserve_p99_ms: Milliseconds | None
    """p99 of the time to answer a reservation, in ms; null when nothing was measured."""
    redis_p99_ms: Milliseconds | None
    """p99 of the time for Redis to answer, in ms; null when nothing was measured."""
    pool_wait_p99_ms: Milliseconds | None
    """p99 of the wait for a connection to Postgres, in ms; null when nothing was measured."""
    backlog: Count
    """Payments that wait for a transaction."""


class LoadReport(Answer):
    """What one process last reported of its load."""

    process: str
    """Names the process until it ends."""
    age_s: Seconds
    """Seconds since it reported."""
    measures: Measures | None
    """Null when another version sent what this one does not understand."""


class SteeredRoom(RoomMembers):
    """A waiting room as ops see it: the public document, and what moves admission."""

    rate: Seconds
    """Candidates let in a second now, not smoothed."""
    fixed_rate: Seconds | None
    """The rate that was set; null: it adapts."""
    places: Count | None
    """Candidates with a place; null while Redis cannot be asked."""
    leader_epoch: Count
    """How often the leader of admission has changed."""
    signals: Sequence[LoadReport]
    """What the processes report; with none, nobody is admitted."""
