"""What the API answers: the model of each answer, which is its schema in the OpenAPI document.

The models are typed dicts, so that the types hold what `render` makes to them and nothing is
checked at run time. Members may be added to answers later: a client ignores members it does not
know. What the waiting room and ops are answered is in the modules beside this one.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal, NotRequired

from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypeAliasType, TypedDict

from quota_service.api.problems import PROBLEMS
from quota_service.definitions.fields import MAX_LANGUAGES, Language
from quota_service.definitions.model import ExamMembers, optional
from quota_service.domain.exam import MAX_CAPACITY
from quota_service.domain.payment import PaymentOutcome, PaymentStatus, RefundReason
from quota_service.domain.reservation import RESERVATION_ID, State
from quota_service.schema import UTC_TIME, CandidateId, Currency, Identifier, Matching

STATE_ID: Final = re.compile(r"[0-9]{1,15}-[0-9]{1,15}(-[0-9]{1,15})?")
"""The id of an event of a stream: names a state of the seats."""

Time = Annotated[str, WithJsonSchema(UTC_TIME)]
Rank = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "note": "64 hex digits, which compare as strings as they do as numbers.",
        }
    ),
]
"""A rank in the draw, a threshold for ranks, or what is as long."""
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]
ReservationId = Annotated[
    str,
    Matching(RESERVATION_ID, "the id of a reservation"),
    Field(description="Id of the reservation: exam, shard and serial, separated by dots."),
]
ExamId = Annotated[Identifier, Field(description="Id of the exam.")]
VenueId = Annotated[Identifier, Field(description="Id of the venue.")]
SubjectId = Annotated[Identifier, Field(description="Id of the subject.")]
AVenueId = Annotated[Identifier, Field(description="Id of a venue.")]
ASubjectId = Annotated[Identifier, Field(description="Id of a subject.")]
SeatCount = Annotated[int, Field(ge=0, le=MAX_CAPACITY)]
StateId = Annotated[
    str,
    Matching(STATE_ID, "the id of an event"),
    Field(
        description="What to send as `Last-Event-ID`: that of the last event that had one.",
    ),
]
Next = Annotated[str | None, Field(description="`after` of the next page; null on the last.")]

Text = TypeAliasType(
    "Text",
    Annotated[
        str | Annotated[dict[Language, str], Field(min_length=1, max_length=MAX_LANGUAGES)],
        Field(description="A text by language (the tag of BCP 47), or a plain text."),
    ],
)


@with_config(ConfigDict(use_attribute_docstrings=True))
class Answer(TypedDict):
    """A JSON object that is answered."""


class Exam(ExamMembers):
    """One exam. The seats it has are told by its availability."""

    model_config = ConfigDict(json_schema_extra=optional("waiting_room"))

    server_time: Time
    """The time by the clock that opens and closes registration."""


class ExamList(Answer):
    """Exams, all of them or a page."""

    exams: Sequence[Exam]
    """By id."""
    next: Next


class QuotaLeft(Answer):
    """The seats of one subject at one venue."""

    venue: VenueId
    subject: SubjectId
    remaining: SeatCount
    """Seats that can be reserved now."""
    capacity: SeatCount
    """Seats released so far."""


class AvailabilityStale(Answer):
    """The seats cannot be read for now; this was known last."""

    exam: ExamId
    version: Count
    """Counts the steps of the seat counters; equal versions, equal seats."""
    revision: Count
    """Names the definition of the exam that this goes by."""
    as_of: Time
    """When the seats were counted."""


class AvailabilityChange(AvailabilityStale):
    """What is different from before.

    `quotas` has those that changed, and `venues_with_all` is left out when it is the same.
    """

    quotas: Sequence[QuotaLeft]
    """Every quota of the subjects asked for."""
    venues_with_all: NotRequired[
        Sequence[Annotated[Identifier, Field(description="Id of a venue.")]]
    ]
    """Venues with a seat left in every subject asked for, in the exam's order."""


class Availability(AvailabilityStale):
    """What is left of an exam's seats at one moment."""

    quotas: Sequence[QuotaLeft]
    """Every quota of the subjects asked for."""
    venues_with_all: Sequence[AVenueId]
    """Venues with a seat left in every subject asked for, in the exam's order."""


def _one_of(*values: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": [str(value) for value in values]})


def _json_of(component: str) -> WithJsonSchema:
    reference = {"component": component}
    return WithJsonSchema(
        {"type": "string", "contentMediaType": "application/json", "contentSchema": reference}
    )


class Snapshot(Answer):
    """Everything."""

    event: Literal["snapshot"]
    id: StateId
    data: Annotated[str, _json_of("Availability")]


class Change(Answer):
    """What changed."""

    event: Literal["change"]
    id: StateId
    data: Annotated[str, _json_of("AvailabilityChange")]


class Stale(Answer):
    """Nothing newer is known."""

    event: Literal["stale"]
    id: NotRequired[StateId]
    data: Annotated[str, _json_of("AvailabilityStale")]


class Payment(Answer):
    """A payment as the provider reported it, and how it ended."""

    status: PaymentStatus
    """What happened to the money."""
    outcome: PaymentOutcome
    """How the payment ended here."""
    reason: RefundReason | None
    """Why a captured payment goes back; null unless it is `refund_due`."""
    amount: Count
    """In minor units."""
    currency: Currency
    paid_at: Time
    """When the provider says it was paid."""
    provider_reference: str
    """The provider's own reference of the payment."""
    refunded_at: Time | None
    """When the provider says it sent the money back; null if never."""
    disputed_at: Time | None
    """When the provider says it was disputed; null if never."""


class Reservation(Answer):
    """One candidate's subjects at one venue of one exam."""

    id: ReservationId
    exam: ExamId
    candidate: CandidateId
    venue: VenueId
    subjects: Sequence[ASubjectId]
    """Ids of the subjects."""
    state: State
    """`held`: seats taken, not paid. `confirming`: a payment is being recorded. `confirmed`: paid
    and durable. `changing_venue`: booked, and on its way to another venue. `refunded`: paid back.
    `released`: given back by the candidate. `expired`: not paid in time."""
    amount: Count
    """The fee times the subjects, in minor units."""
    currency: Currency
    deadline: Time | None
    """Pay before this moment; null once paid."""
    created_at: Time
    """When the seats were taken."""
    payment: Payment | None
    """The payment that confirmed it, else the last that is due back."""


class Step(Answer):
    """One step."""

    at: Time
    """When."""
    step: str
    """What was done."""
    state: State
    """The state after it."""
    venue: Identifier
    """The venue after it."""
    key_id: str | None
    """Id of the API key that asked for it; `provider`, `worker:…` or `cli:…` where none did; null
    when it is not known."""
    request_id: str | None
    """The X-Request-ID of the request that asked for it."""


class ReservationWithHistory(Reservation):
    """A reservation and what happened to it."""

    history: Sequence[Step]
    """Every step, oldest first; the last second's may be missing."""


class Refund(Answer):
    """A booking paid back in full."""

    reservation: ReservationId
    amount: Count
    """In minor units."""
    currency: Currency
    refunded_at: Time
    """When the booking was ended."""
    settled_at: Time | None
    """When ops sent the money back; null until then."""


class CandidateView(Answer):
    """Everything a candidate has in an exam; a candidate nobody knows has nothing."""

    exam: ExamId
    candidate: CandidateId
    registered: bool
    """Whether a reservation is confirmed."""
    refund_used: bool
    """Whether the one refund of a candidate and exam is used."""
    refund: Refund | None
    """The refund the candidate had for the exam."""
    reservations: Sequence[ReservationWithHistory]
    """Oldest first."""


class PaymentResult(Answer):
    """How a payment event ended, the same each time it is sent."""

    outcome: PaymentOutcome
    """`confirmed`: the reservation is paid. `refund_due`: the money has to go back. `ignored`: the
    event moved no money. `recorded`: what became of the money later, kept and shown."""
    reservation: str
    """The reservation as it was named."""
    reason: NotRequired[RefundReason]
    """Why the money has to go back; with `refund_due`."""


class Health(Answer):
    """All is well."""

    status: Literal["ok"]
    warnings: NotRequired[Sequence[str]]
    """What ops have to look at though it serves: `worker` when none runs, `journal`, `exam:<id>`
    for one that cannot be loaded; why is in the log. Left out when there is none."""


class ProblemMeaning(Answer):
    """A problem type."""

    type: Annotated[str, WithJsonSchema({"type": "string", "format": "uri-reference"})]
    title: str
    """The same in every problem of the type."""
    status: Annotated[
        int, WithJsonSchema({"enum": sorted({problem.status for problem in PROBLEMS.values()})})
    ]
    """The HTTP status it comes with."""
    meaning: str
    """What it means and what to do."""


class WrongPart(Answer):
    """One part that is wrong."""

    field: str
    """Where: a member such as `subjects[1]`, a parameter, a header."""
    detail: str
    """What is wrong with it, for people."""


class SeatsLeft(Answer):
    """What is left of one quota."""

    venue: VenueId
    subject: SubjectId
    remaining: SeatCount
    """Seats left."""
    offered: bool
    """Whether the venue offers the subject at all."""


class ProblemMembers(Answer, total=False):
    """The members that a problem can have beside the standard ones."""

    errors: Sequence[WrongPart]
    """Every part of the request that is wrong."""
    left: Sequence[SeatsLeft]
    """What is left of each quota asked for, in the order it was asked for."""
    session: Identifier
    """Id of the session."""
    subjects: Sequence[ASubjectId]
    """The subjects that share the session."""
    reservation: Annotated[str, Matching(RESERVATION_ID, "the id of a reservation")]
    """The reservation that stands in the way."""
    unpaid_holds: Positive
    """Holds of the candidate that ended unpaid."""
    pause_ends_at: Time
    """From when on the candidate can make the next hold."""
    key_share_max_percent: Annotated[int, Field(ge=1, le=100)]
    """The share of a quota one API key may have unpaid."""
    venue_changes_max: Count
    """How often a reservation can change its venue."""
    opens_at: Time
    """When registration opens."""
    closed_at: Time
    """When registration closed."""
    started_at: Time
    """When the session began."""
    ends_at: Time
    """When the exam is over."""
    unfinished: Sequence[
        Annotated[str, _one_of("holds", "payments", "refunds_due", "refunds", "journal")]
    ]
    """What is not at its end."""
    state: Annotated[str, _one_of(*(state for state in State if state.is_ended))]
    """How the reservation ended."""
    threshold: Rank
    """Ranks up to this have had their turn."""
    serving: Count
    """Numbers up to this have had their turn."""
    poll_after: Seconds
    """Seconds after which to ask again."""
    version: str
    """The version of the notice to accept."""
    max_bytes: Positive
    """The largest body that is taken, in bytes."""
    policy: str
    """The limit: `key`, `address` or `render`."""
    limit_per_s: Positive
    """Requests a second that are taken; of `render`, milliseconds."""
    part: str
    """The part of the service that is at fault."""


class Problem(Answer):
    """A problem by RFC 9457.

    Clients tell problems apart by `type`, never by `title` or `detail`.
    """

    type: Annotated[str, WithJsonSchema({"type": "string", "format": "uri-reference"})]
    """Which problem it is; at this address is what it means."""
    title: str
    """The same for every problem of the type."""
    status: Annotated[int, Field(ge=400, le=599)]
    """The HTTP status."""
    detail: str
    """What happened this time, for people."""
