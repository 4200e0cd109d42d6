"""The events that others are told of, as they are told: in the stream of ops and to webhooks.

An event has `type`, `timestamp` and `data`, whose members its type decides. The bodies are made in
`ledger/events.py`, of what the triggers of migration 0034 have written.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import WithJsonSchema

from quota_service.api.models import (
    Amount,
    Answer,
    ASubjectId,
    ExamId,
    NamedReservation,
    Positive,
    ReservationId,
    Time,
    VenueId,
)
from quota_service.api.ops import EventId
from quota_service.api.waiting_list import EntryId
from quota_service.domain.event import EventKind
from quota_service.domain.payment import RefundReason
from quota_service.schema import (
    CANDIDATE_EXAMPLE,
    EXAM_EXAMPLE,
    CandidateId,
    Currency,
    Identifier,
    Reason,
    example,
)

_Subjects = Annotated[Sequence[ASubjectId], example(["general", "qms"])]
_OR_NULL = WithJsonSchema({"type": ["string", "null"]})


class _OfReservation(Answer):
    exam: ExamId
    reservation: ReservationId
    candidate: CandidateId


class _OfSeats(_OfReservation):
    venue: VenueId
    subjects: _Subjects


class Held(_OfSeats):
    """A candidate holds seats: reserved, or offered from the waiting list."""

    amount: Amount
    """What they cost, in minor units."""
    currency: Currency
    deadline: Time
    """They are held until then; a checkout or ops may move it out."""


class Released(_OfSeats):
    """A hold was given back."""


class Expired(_OfSeats):
    """A hold was not paid for in time. A payment that comes later may still confirm it."""


class VenueChanged(_OfSeats):
    """A hold or a booking is at another venue."""

    state: Annotated[Literal["held", "confirmed"], example("confirmed")]
    """Which of the two it is."""


class Confirmed(_OfSeats):
    """The payment is recorded: the seats are booked."""

    amount: Amount
    """What was paid, in minor units."""
    currency: Currency


class Refunded(_OfSeats):
    """A booking was given back for its money, which is due back."""

    amount: Amount
    """What goes back, in minor units."""
    currency: Currency


class RefundDue(Answer):
    """Money has to go back: of a refund, or of a payment that books nothing."""

    exam: Annotated[str | None, _OR_NULL, example(EXAM_EXAMPLE)]
    """Id of the exam; null when the payment named none we know."""
    reservation: NamedReservation
    """The reservation as the payment named it."""
    candidate: Annotated[str | None, _OR_NULL, example(CANDIDATE_EXAMPLE)]
    """Null when there is no such reservation."""
    refund: Annotated[str, example("42")]
    """Id of the refund due."""
    event: EventId
    """The provider's id of the payment event."""
    reason: Annotated[RefundReason, example(RefundReason.SOLD_OUT)]
    amount: Amount
    """In minor units."""
    currency: Currency


class Unreadable(Answer):
    """A payment event with a right signature could not be understood: it may be money."""

    exam: Annotated[str | None, _OR_NULL, example(None)]
    """Null: which exam it is of is not known."""
    payment: Annotated[str, example("7")]
    """Id in the list of unreadable payments."""
    event: EventId
    """The provider's id of the event."""
    problem: Annotated[str, example("amount must be a whole number of minor units")]
    """What is wrong with it."""


class Offered(_OfReservation):
    """A candidate on the waiting list is offered seats: they are held, to be paid for in time."""

    entry: EntryId
    subjects: _Subjects
    deadline: Time
    """They are held until then."""


class OfferExpired(_OfReservation):
    """An offer was not paid for in time: the candidate is off the waiting list."""

    entry: EntryId
    subjects: _Subjects


class _OfScope(Answer):
    exam: ExamId
    venue: Annotated[Identifier | None, example("jinan")]
    """Null for all venues."""
    subject: Annotated[Identifier | None, example("general")]
    """Null for all subjects."""


class Paused(_OfScope):
    """Ops have paused reserving: in the exam, at a venue, in a subject, or in a subject there."""

    reason: Annotated[Reason, example("the payment provider is down; back at about 12:40")]
    """Why, for the public."""
    stops_changes: Annotated[bool, example(False)]
    """Whether changes of venue to it are stopped too."""


class Resumed(_OfScope):
    """A pause has ended."""


class SeatsReleased(Answer):
    """Seats of a seat release can be had: reserved, or dealt to the waiting list."""

    exam: ExamId
    release: Annotated[Identifier, example("evening")]
    """Id of the seat release."""
    seats: Annotated[Mapping[str, Mapping[str, Positive]], example({"jinan": {"general": 50}})]
    """Seats that were added, by venue and subject."""


class Test(Answer):
    """Ops ask whether a webhook endpoint takes events: only that one is told, and of nothing."""

    exam: Annotated[str | None, _OR_NULL, example(None)]
    """Null: it is of none."""
    endpoint: Annotated[str, example("wh_5d1c07a4e2f9")]
    """Id of the webhook endpoint."""


DATA: Mapping[EventKind, Any] = {
    EventKind.HELD: Held,
    EventKind.RELEASED: Released,
    EventKind.EXPIRED: Expired,
    EventKind.CONFIRMED: Confirmed,
    EventKind.REFUNDED: Refunded,
    EventKind.VENUE_CHANGED: VenueChanged,
    EventKind.REFUND_DUE: RefundDue,
    EventKind.UNREADABLE: Unreadable,
    EventKind.OFFERED: Offered,
    EventKind.OFFER_EXPIRED: OfferExpired,
    EventKind.PAUSED: Paused,
    EventKind.RESUMED: Resumed,
    EventKind.SEATS_RELEASED: SeatsReleased,
    EventKind.TEST: Test,
}
"""The model of the data of each kind; its first line says what has happened."""


def schema_name(kind: EventKind) -> str:
    """Return the name of the schema of an event: `ReservationHeldEvent`."""
    words = kind.replace(".", "_").split("_")
    return "".join(word.capitalize() for word in words) + "Event"
