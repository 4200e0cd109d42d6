"""What calls answer and take, as typed dicts; `/docs` of a service says what members mean.

Services may add members: read those that you know.

Made by `python -m tests.support.client_code`, and as long as its tables.
"""

from typing import Any, Literal, NotRequired, TypedDict


class AnnouncedRelease(TypedDict):
    """More seats at a time, as far as is announced."""

    id: str
    at: str
    venues: NotRequired[list[str]]
    seats: NotRequired[dict[str, dict[str, int]]]


class Archived(TypedDict):
    """An exam that is archived."""

    exam: str
    archived_at: str


Promise = Literal["P1", "P3", "P6", "P7", "P9", "P10"]


class Difference(TypedDict):
    """One difference."""

    promise: Promise
    place: str
    expected: str
    found: str


class Audit(TypedDict):
    """Whether the service keeps its promises for an exam."""

    exam: str
    clean: bool
    checked: list[Promise]
    quotas: int
    differences: list[Difference]


class QuotaLeft(TypedDict):
    """The seats of one subject at one venue."""

    venue: str
    subject: str
    remaining: int
    capacity: int
    returned: NotRequired[int]


class Scope(TypedDict):
    """What of an exam is meant: all of it where neither is named, a quota where both are."""

    venue: str | None
    subject: str | None


class Pause(TypedDict):
    """What ops have paused, and why."""

    scope: Scope
    stops: Literal["reserving", "changes"]
    reason: str
    since: str
    retry_after_s: int


class Availability(TypedDict):
    """What is left of an exam's seats at one moment."""

    exam: str
    version: int
    revision: int
    as_of: str
    next_release: NotRequired[AnnouncedRelease]
    quotas: list[QuotaLeft]
    venues_with_all: list[str]
    pauses: NotRequired[list[Pause]]


class AvailabilityChange(TypedDict):
    """What is different from before.

    `quotas` has those that changed, and `venues_with_all` is left out when it is the same.
    """

    exam: str
    version: int
    revision: int
    as_of: str
    quotas: list[QuotaLeft]
    venues_with_all: NotRequired[list[str]]


class AvailabilityStale(TypedDict):
    """The seats cannot be read for now; this was known last."""

    exam: str
    version: int
    revision: int
    as_of: str


Hours = TypedDict("Hours", {"from": str, "to": str})
"""Hours of each day."""

EntryState = Literal[
    "waiting", "offered", "served", "missed", "declined", "left", "over", "conflict"
]


class ListOffer(TypedDict):
    """Seats that are held for a candidate: a reservation as any other."""

    reservation: str
    venue: str
    deadline: str


class CandidateEntry(TypedDict):
    """A place in the waiting list as it is now, and the offer that it has."""

    id: str
    exam: str
    candidate: str
    number: int
    subjects: list[str]
    venues: list[str]
    until: str | None
    quiet_hours: Hours | None
    state: EntryState
    joined_at: str
    offer: ListOffer | None
    ended_at: str | None


class CandidateToken(TypedDict):
    """A token of a candidate for an exam."""

    token: str
    exam: str
    candidate: str
    id: str
    expires_at: str


class Refund(TypedDict):
    """A booking paid back in full."""

    reservation: str
    amount: int
    currency: str
    refunded_at: str
    settled_at: str | None


State = Literal[
    "held", "confirming", "confirmed", "changing_venue", "refunded", "released", "expired"
]

PaymentStatus = Literal["captured", "failed", "refunded", "disputed"]

PaymentOutcome = Literal["confirmed", "refund_due", "ignored", "recorded"]

RefundReason = Literal[
    "unknown-reservation",
    "wrong-amount",
    "wrong-currency",
    "already-paid",
    "released",
    "sold-out",
    "too-late",
    "session-conflict",
    "refunded",
    "reference-reused",
]


class Payment(TypedDict):
    """A payment as the provider reported it, and how it ended."""

    status: PaymentStatus
    outcome: PaymentOutcome
    reason: RefundReason | None
    amount: int
    currency: str
    paid_at: str
    provider_reference: str
    refunded_at: str | None
    disputed_at: str | None


class Step(TypedDict):
    """One step."""

    at: str
    step: str
    state: State
    venue: str
    key_id: str | None
    request_id: str | None


class ReservationWithHistory(TypedDict):
    """A reservation and what happened to it."""

    id: str
    exam: str
    candidate: str
    venue: str
    subjects: list[str]
    state: State
    amount: int
    currency: str
    deadline: str | None
    created_at: str
    payment: Payment | None
    history: list[Step]


class Refusals(TypedDict):
    """Refusals of one kind within a minute."""

    slug: str
    reservation: str | None
    count: int
    last_at: str
    key_id: str
    request_id: str


class CandidateView(TypedDict):
    """All reservations of a candidate in an exam; none for an unknown candidate."""

    exam: str
    candidate: str
    registered: bool
    refund_used: bool
    refund: Refund | None
    reservations: list[ReservationWithHistory]
    waiting_list: list[CandidateEntry]
    refusals: list[Refusals]


class Code(TypedDict):
    """A code, without the code itself."""

    id: str
    uses: int
    uses_max: int
    note: str
    made_at: str
    revoked_at: str | None


class Codes(TypedDict):
    """A page of the codes of a set-aside."""

    exam: str
    set_aside: str
    codes: list[Code]
    next: str | None


DeliveryState = Literal["pending", "delivered", "given-up"]

DisabledReason = Literal["ops", "failing", "gone"]


class DrandTable(TypedDict):
    """A round of a drand chain, which workers fetch."""

    entries_close_at: str
    kind: Literal["drand"]
    chain: str
    round: int
    at: str


SourceKind = Literal["drand", "event"]


class DrawSource(TypedDict):
    """The public source of randomness of a draw, and what it has come to."""

    kind: SourceKind
    chain: str | None
    round: int | None
    description: str | None
    entries_close_at: str
    at: str
    evidence: str | None
    randomness: str | None
    known_at: str | None


class EntryProof(TypedDict):
    """The proof that a candidate is in the draw.

    From the entry, each hash of the path is put before or behind what is there, and SHA-256 of a
    byte 1 and both is taken: RFC 9162, section 2.1.3.2. It ends at the root.
    """

    exam: str
    candidate: str
    entry: str
    index: int
    count: int
    root: str
    path: list[str]
    rank: str | None


class Estimate(TypedDict):
    """What a candidate can judge its chances by."""

    offered_within_a_day: int


class ReservationHeldEventData(TypedDict):
    """A candidate holds seats: reserved, or offered from the waiting list."""

    exam: str
    reservation: str
    candidate: str
    venue: str
    subjects: list[str]
    amount: int
    currency: str
    deadline: str


class ReservationHeldEvent(TypedDict):
    """A candidate holds seats: reserved, or offered from the waiting list."""

    id: str
    type: Literal["reservation.held"]
    timestamp: str
    data: ReservationHeldEventData


class ReservationReleasedEventData(TypedDict):
    """A hold was given back."""

    exam: str
    reservation: str
    candidate: str
    venue: str
    subjects: list[str]


class ReservationReleasedEvent(TypedDict):
    """A hold was given back."""

    id: str
    type: Literal["reservation.released"]
    timestamp: str
    data: ReservationReleasedEventData


class ReservationExpiredEventData(TypedDict):
    """A hold was not paid for in time. A payment that comes later may still confirm it."""

    exam: str
    reservation: str
    candidate: str
    venue: str
    subjects: list[str]


class ReservationExpiredEvent(TypedDict):
    """A hold was not paid for in time. A payment that comes later may still confirm it."""

    id: str
    type: Literal["reservation.expired"]
    timestamp: str
    data: ReservationExpiredEventData


class ReservationConfirmedEventData(TypedDict):
    """The payment is recorded: the seats are booked."""

    exam: str
    reservation: str
    candidate: str
    venue: str
    subjects: list[str]
    amount: int
    currency: str


class ReservationConfirmedEvent(TypedDict):
    """The payment is recorded: the seats are booked."""

    id: str
    type: Literal["reservation.confirmed"]
    timestamp: str
    data: ReservationConfirmedEventData


class ReservationRefundedEventData(TypedDict):
    """A booking was given back for its money, which is due back."""

    exam: str
    reservation: str
    candidate: str
    venue: str
    subjects: list[str]
    amount: int
    currency: str


class ReservationRefundedEvent(TypedDict):
    """A booking was given back for its money, which is due back."""

    id: str
    type: Literal["reservation.refunded"]
    timestamp: str
    data: ReservationRefundedEventData


class ReservationVenueChangedEventData(TypedDict):
    """A hold or a booking is at another venue."""

    exam: str
    reservation: str
    candidate: str
    venue: str
    subjects: list[str]
    state: Literal["held", "confirmed"]


class ReservationVenueChangedEvent(TypedDict):
    """A hold or a booking is at another venue."""

    id: str
    type: Literal["reservation.venue_changed"]
    timestamp: str
    data: ReservationVenueChangedEventData


class PaymentRefundDueEventData(TypedDict):
    """Money has to go back: of a refund, or of a payment that books nothing."""

    exam: str | None
    reservation: str
    candidate: str | None
    refund: str
    event: str
    reason: RefundReason
    amount: int
    currency: str


class PaymentRefundDueEvent(TypedDict):
    """Money has to go back: of a refund, or of a payment that books nothing."""

    id: str
    type: Literal["payment.refund_due"]
    timestamp: str
    data: PaymentRefundDueEventData


class PaymentUnreadableEventData(TypedDict):
    """A payment event with a right signature could not be understood: it may be money."""

    exam: str | None
    payment: str
    event: str
    problem: str


class PaymentUnreadableEvent(TypedDict):
    """A payment event with a right signature could not be understood: it may be money."""

    id: str
    type: Literal["payment.unreadable"]
    timestamp: str
    data: PaymentUnreadableEventData


class WaitingListOfferedEventData(TypedDict):
    """A candidate on the waiting list is offered seats: they are held, to be paid for in time."""

    exam: str
    reservation: str
    candidate: str
    entry: str
    subjects: list[str]
    deadline: str


class WaitingListOfferedEvent(TypedDict):
    """A candidate on the waiting list is offered seats: they are held, to be paid for in time."""

    id: str
    type: Literal["waiting_list.offered"]
    timestamp: str
    data: WaitingListOfferedEventData


class WaitingListOfferExpiredEventData(TypedDict):
    """An offer was not paid for in time: the candidate is off the waiting list."""

    exam: str
    reservation: str
    candidate: str
    entry: str
    subjects: list[str]


class WaitingListOfferExpiredEvent(TypedDict):
    """An offer was not paid for in time: the candidate is off the waiting list."""

    id: str
    type: Literal["waiting_list.offer_expired"]
    timestamp: str
    data: WaitingListOfferExpiredEventData


class ExamPausedEventData(TypedDict):
    """Ops have paused reserving: in the exam, at a venue, in a subject, or in a subject there."""

    exam: str
    venue: str | None
    subject: str | None
    reason: str
    stops_changes: bool


class ExamPausedEvent(TypedDict):
    """Ops have paused reserving: in the exam, at a venue, in a subject, or in a subject there."""

    id: str
    type: Literal["exam.paused"]
    timestamp: str
    data: ExamPausedEventData


class ExamResumedEventData(TypedDict):
    """A pause has ended."""

    exam: str
    venue: str | None
    subject: str | None


class ExamResumedEvent(TypedDict):
    """A pause has ended."""

    id: str
    type: Literal["exam.resumed"]
    timestamp: str
    data: ExamResumedEventData


class ExamSeatsReleasedEventData(TypedDict):
    """Seats of a seat release can be had: reserved, or dealt to the waiting list."""

    exam: str
    release: str
    seats: dict[str, dict[str, int]]


class ExamSeatsReleasedEvent(TypedDict):
    """Seats of a seat release can be had: reserved, or dealt to the waiting list."""

    id: str
    type: Literal["exam.seats_released"]
    timestamp: str
    data: ExamSeatsReleasedEventData


class WebhookTestEventData(TypedDict):
    """Ops ask whether a webhook endpoint takes events: only that one is told, and of nothing."""

    exam: str | None
    endpoint: str


class WebhookTestEvent(TypedDict):
    """Ops ask whether a webhook endpoint takes events: only that one is told, and of nothing."""

    id: str
    type: Literal["webhook.test"]
    timestamp: str
    data: WebhookTestEventData


Event = (
    ReservationHeldEvent
    | ReservationReleasedEvent
    | ReservationExpiredEvent
    | ReservationConfirmedEvent
    | ReservationRefundedEvent
    | ReservationVenueChangedEvent
    | PaymentRefundDueEvent
    | PaymentUnreadableEvent
    | WaitingListOfferedEvent
    | WaitingListOfferExpiredEvent
    | ExamPausedEvent
    | ExamResumedEvent
    | ExamSeatsReleasedEvent
    | WebhookTestEvent
)


class EventTable(TypedDict):
    """A named event such as a lottery draw, whose outcome ops put in word for word."""

    entries_close_at: str
    kind: Literal["event"]
    description: str
    at: str


Text = str | dict[str, str]


class WindowTable(TypedDict):
    """A span of time."""

    opens_at: str
    closes_at: str


class FeeTable(TypedDict):
    """What one subject costs one candidate."""

    amount: int
    currency: str


class HoldTable(TypedDict):
    """How long an unpaid hold lives."""

    ttl_s: int
    checkout_grace_s: int
    expiry_slack_s: int


class FairUseTable(TypedDict):
    """What keeps one candidate from having seats that others would pay for."""

    unpaid_holds_max: int
    unpaid_pause_s: int
    unpaid_pause_max_s: int
    venue_changes_max: int
    key_share_max_percent: int


class WaitingRoomTable(TypedDict):
    """How the waiting room lets candidates in; absent where there is none."""

    rate_per_s: float
    rate_max_per_s: float
    rate_min_per_s: float
    places_max: int
    pass_ttl_s: int
    idle_s: int
    claim_grace_s: int
    source: NotRequired[DrandTable | EventTable | None]


class ReturnedTable(TypedDict):
    """What happens with seats that come back; absent where they are on open sale at once."""

    rule: Literal["at-once", "list-first", "at-times"]
    times: list[str]


QuietHoursTable = TypedDict("QuietHoursTable", {"from": str, "to": str})
"""When nobody is woken: the time to pay for an offered seat does not run."""


class WaitingListTable(TypedDict):
    """The waiting list; absent where there is none."""

    offer_ttl_s: int
    order: Literal["number", "draw"]
    length_max: int
    quiet_hours: QuietHoursTable | None


class NoticeTable(TypedDict):
    """The notice a candidate accepts when reserving."""

    version: str
    text: Text


class SessionTable(TypedDict):
    """One sitting."""

    id: str
    title: Text
    starts_at: str
    ends_at: str


class SubjectTable(TypedDict):
    """One subject."""

    id: str
    title: Text
    session: str


class VenueTable(TypedDict):
    """One venue."""

    id: str
    title: Text


class Exam(TypedDict):
    """One exam. Its seats are in its availability."""

    id: str
    title: Text
    time_zone: str
    registration: WindowTable
    refund: WindowTable
    fee: FeeTable
    hold: HoldTable
    fair_use: FairUseTable
    waiting_room: NotRequired[WaitingRoomTable]
    returned: NotRequired[ReturnedTable]
    waiting_list: NotRequired[WaitingListTable]
    notice: NoticeTable
    sessions: list[SessionTable]
    subjects: list[SubjectTable]
    venues: list[VenueTable]
    rooms: NotRequired[dict[str, dict[str, int]]]
    releases: NotRequired[list[AnnouncedRelease]]
    pauses: NotRequired[list[Pause]]
    closed: NotRequired[list[Scope]]
    server_time: str


class ExamList(TypedDict):
    """Exams, all of them or a page."""

    exams: list[Exam]
    next: str | None


Phase = Literal["before", "draw", "queue", "closed"]


class Measures(TypedDict):
    """Measurements of the process over the last seconds."""

    requests: int
    failures: int
    reserve_p99_ms: float | None
    redis_p99_ms: float | None
    pool_wait_p99_ms: float | None
    backlog: int


class LoadReport(TypedDict):
    """The last load report of one process."""

    process: str
    age_s: float
    measures: Measures | None


class RoomLoadAnswer(TypedDict):
    """What comes to a waiting room, and what it lets in."""

    phase: Phase
    paused: bool
    rate: float
    fixed_rate: float | None
    joined: int
    waiting: int
    admitted: int
    places: int
    signals: list[LoadReport]


class SeatSums(TypedDict):
    """The seats of what was asked for, by what has become of them; their sum is the capacity."""

    capacity: int
    remaining: int
    returned: int
    aside: int
    held: int
    confirming: int
    confirmed: int


class StepsOfSecond(TypedDict):
    """What was done in one second."""

    at: str
    held: int
    confirmed: int
    released: int
    expired: int


class RefusalsOfMinute(TypedDict):
    """How often candidates were refused in one minute."""

    minute: str
    slug: str
    count: int


class ExamLoad(TypedDict):
    """The load of an exam."""

    exam: str
    as_of: str
    waiting_room: RoomLoadAnswer | None
    live_holds: int
    attempts: int
    journal_entries: int
    scope: Scope
    seats: SeatSums
    seats_as_of: str
    seconds: list[StepsOfSecond]
    refusals: list[RefusalsOfMinute]


class ExtensionMade(TypedDict):
    """An extension of holds."""

    id: str
    ms: int
    extended: int
    done: bool


class ExtendedHolds(TypedDict):
    """What was extended."""

    exam: str
    extension: ExtensionMade


class ExtensionUnderWay(TypedDict):
    """An extension of holds that is not done."""

    id: str
    scope: Scope
    reservation: str | None
    ms: int
    decided_at: str


class Finished(TypedDict):
    """A candidate without a place."""

    exam: str
    candidate: str
    state: Literal["finished"]


class Reservation(TypedDict):
    """One candidate's subjects at one venue of one exam."""

    id: str
    exam: str
    candidate: str
    venue: str
    subjects: list[str]
    state: State
    amount: int
    currency: str
    deadline: str | None
    created_at: str
    payment: Payment | None


class FoundReservations(TypedDict):
    """A page of the reservations that were found."""

    reservations: list[Reservation]
    next: str | None


class FrozenEntries(TypedDict):
    """The candidates in the draw; none is added any more."""

    count: int
    root: str
    frozen_at: str


class Health(TypedDict):
    """All is well."""

    status: Literal["ok"]
    warnings: NotRequired[list[str]]


class ImportedChange(TypedDict):
    """One difference."""

    where: str
    before: str
    after: str


class ImportedWarning(TypedDict):
    """One warning."""

    where: str
    detail: str


class ImportResult(TypedDict):
    """What an import did; neither created nor changed is a repeat."""

    exam: str
    created: bool
    changes: list[ImportedChange]
    warnings: list[ImportedWarning]


class InForce(TypedDict):
    """What is in force."""

    pauses: list[Pause]
    extensions: list[ExtensionUnderWay]


class KeptQuota(TypedDict):
    """The seats of one quota that are kept."""

    venue: str
    subject: str
    seats: int
    left: int


class ListDraw(TypedDict):
    """The draw among those who joined between the same two dealings."""

    window: int
    seed_commitment: str
    seed: str | None
    rank: str | None


ListOrder = Literal["number", "draw"]


class PositionBand(TypedDict):
    """Positions from one to another."""

    first: int
    last: int | None


class ListedEntry(TypedDict):
    """A place in the waiting list as it is now, with what can be said of its position."""

    id: str
    exam: str
    candidate: str
    number: int
    subjects: list[str]
    venues: list[str]
    until: str | None
    quiet_hours: Hours | None
    state: EntryState
    joined_at: str
    offer: ListOffer | None
    ended_at: str | None
    position: PositionBand | None
    estimate: Estimate | None
    draw: ListDraw | None


class MadeCode(TypedDict):
    """A code that is stored now."""

    id: str
    code: str | None


class MadeCodes(TypedDict):
    """Codes that are stored now."""

    exam: str
    set_aside: str
    uses_max: int
    codes: list[MadeCode]


class MovedReservation(TypedDict):
    """A booking or a hold that went to another venue."""

    reservation: str
    candidate: str
    state: str
    venue: str
    rule: str


class StayedReservation(TypedDict):
    """A booking or a hold that is where it was."""

    reservation: str
    candidate: str
    state: str
    problem: str


class MovedOut(TypedDict):
    """What was moved by one call."""

    exam: str
    venue: str
    moved: list[MovedReservation]
    stayed: list[StayedReservation]
    next: str | None


class OfferedEntry(TypedDict):
    """A place in the waiting list with its last offer, as Postgres has it."""

    id: str
    exam: str
    candidate: str
    number: int
    subjects: list[str]
    venues: list[str]
    until: str | None
    quiet_hours: Hours | None
    state: EntryState
    joined_at: str
    reservation: str | None
    offers: int
    ended_at: str | None


class OperationDone(TypedDict):
    """What ops did, and of an extension of holds how far it is."""

    id: str
    exam: str | None
    at: str
    action: str
    subject: str
    reason: str
    key_id: str
    request_id: str
    detail: dict[str, Any]
    outcome: str | None
    extension: ExtensionMade | None


class Operations(TypedDict):
    """What ops did in an exam, and what is in force."""

    exam: str
    in_force: InForce
    operations: list[OperationDone]
    next: str | None


class OpsAction(TypedDict):
    """What ops did to a reservation or a venue, or for a candidate."""

    id: str
    exam: str | None
    at: str
    action: str
    subject: str
    reason: str
    key_id: str
    request_id: str
    detail: dict[str, Any]
    outcome: str | None


class OpsActions(TypedDict):
    """A page of what ops did."""

    ops_actions: list[OpsAction]
    next: str | None


Pass = TypedDict(
    "Pass", {"pass": str, "candidate": str, "exam": str, "expires_at": str, "idle_s": int}
)
"""The pass with which a candidate reserves."""


class PausedExam(TypedDict):
    """What of an exam is paused."""

    exam: str
    pauses: list[Pause]


class PaymentCallback(TypedDict):
    """What happened to a payment."""

    reservation: str
    status: PaymentStatus
    amount: int
    currency: str
    paid_at: NotRequired[str | None]
    provider_reference: str


class PaymentResult(TypedDict):
    """How a payment event ended, the same each time it is sent."""

    outcome: PaymentOutcome
    reservation: str
    reason: NotRequired[RefundReason]


class ProblemMeaning(TypedDict):
    """A problem type."""

    type: str
    title: str
    status: Literal[400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 422, 429, 500, 503]
    meaning: str


class QuotaLength(TypedDict):
    """How many entries wait for a quota."""

    venue: str
    subject: str
    waiting: int


class RefundDue(TypedDict):
    """A captured payment that has to go back."""

    id: str
    event: str
    exam: str | None
    reservation: str
    reason: RefundReason
    amount: int
    currency: str
    provider_reference: str
    due_at: str
    settled_at: str | None
    refunded_at: str | None
    disputed_at: str | None
    settled_before: list[str]


class RefundsDue(TypedDict):
    """A page of the money that has to go back."""

    exam: str | None
    refunds_due: list[RefundDue]
    next: str | None


class ResumedExam(TypedDict):
    """A pause that was ended."""

    exam: str
    pauses: list[Pause]
    resumed: Pause
    resumed_at: str
    extension: ExtensionMade | None


class RevokedCandidateTokens(TypedDict):
    """Tokens that are refused from now on."""

    exam: str
    candidate: str
    id: str | None
    revoked_at: str


class SeatRelease(TypedDict):
    """A seat release, as ops see it."""

    exam: str
    id: str
    at: str
    announce: Literal["time", "time-and-venues", "everything", "nothing"]
    seats: dict[str, dict[str, int]]
    source: Literal["definition", "ops"]
    state: Literal["planned", "done", "cancelled"]
    reason: str | None
    planned_at: str
    ended_at: str | None


class SeatReleases(TypedDict):
    """The seat releases of an exam."""

    exam: str
    releases: list[SeatRelease]


class SeatsLeft(TypedDict):
    """What is left of one quota."""

    venue: str
    subject: str
    remaining: int
    offered: bool


class SetAside(TypedDict):
    """Seats kept for a group."""

    id: str
    title: Text | None
    until: str
    over: bool
    quotas: list[KeptQuota]


class SetAsides(TypedDict):
    """The set-asides of an exam."""

    exam: str
    set_asides: list[SetAside]


class WithoutSource(TypedDict):
    """The decision to open although the source has not come."""

    reason: str
    decided_at: str


class SteeredRoom(TypedDict):
    """A waiting room as ops see it: the public document, and the inputs of admission."""

    exam: str
    phase: Phase
    paused: bool
    threshold: str
    late_threshold: str
    serving: int
    late_through: int
    waiting: int
    waiting_in_draw: int
    poll_after: float
    poll_after_max: float
    seed_commitment: str
    seed: str | None
    opens_at: str
    claim_grace_s: int
    server_time: str
    draw_rule: str
    source: DrawSource | None
    entries: FrozenEntries | None
    without_source: WithoutSource | None
    rate: float
    fixed_rate: float | None
    places: int | None
    leader_epoch: int
    signals: list[LoadReport]


class Ticket(TypedDict):
    """A candidate's place in the order."""

    exam: str
    candidate: str
    kind: Literal["draw", "number"]
    ticket: str
    number: int | None
    rank: str | None
    poll_after: float
    eta_s: float | None
    issued_at: str


class UnreadablePayment(TypedDict):
    """A payment event with a right signature that could not be understood."""

    id: str
    event: str
    problem: str
    body: str
    body_base64: str
    deliveries: int
    received_at: str
    last_received_at: str
    settled_at: str | None


class UnreadablePayments(TypedDict):
    """A page of the payment events that could not be understood."""

    unreadable_payments: list[UnreadablePayment]
    next: str | None


class VenueSale(TypedDict):
    """What of a venue is closed for sale."""

    exam: str
    venue: str
    closed_subjects: list[str]


class WaitingList(TypedDict):
    """The waiting list of an exam, as ops see it."""

    exam: str
    paused: bool
    suspended: bool
    order: ListOrder
    length_max: int
    last_number: int
    states: dict[str, int]
    quotas: list[QuotaLength]


class WaitingListEntry(TypedDict):
    """A place in the waiting list of an exam."""

    id: str
    exam: str
    candidate: str
    number: int
    subjects: list[str]
    venues: list[str]
    until: str | None
    quiet_hours: Hours | None
    state: EntryState
    joined_at: str


class WaitingListPage(TypedDict):
    """The waiting list of an exam and a page of its entries."""

    exam: str
    paused: bool
    suspended: bool
    order: ListOrder
    length_max: int
    last_number: int
    states: dict[str, int]
    quotas: list[QuotaLength]
    entries: list[OfferedEntry]
    next: str | None


class WaitingRoom(TypedDict):
    """The public state of a waiting room: the same for all clients, renewed each second.

    A ticket for the draw has its turn when its rank is not above `threshold`, and a number when it
    is not above `serving`.
    """

    exam: str
    phase: Phase
    paused: bool
    threshold: str
    late_threshold: str
    serving: int
    late_through: int
    waiting: int
    waiting_in_draw: int
    poll_after: float
    poll_after_max: float
    seed_commitment: str
    seed: str | None
    opens_at: str
    claim_grace_s: int
    server_time: str
    draw_rule: str
    source: DrawSource | None
    entries: FrozenEntries | None
    without_source: WithoutSource | None
    rate: float


class WebhookDelivery(TypedDict):
    """What became of an event at an endpoint."""

    event: str
    type: str
    at: str
    exam: str | None
    reservation: str | None
    state: DeliveryState
    attempts: int
    next_at: str | None
    last_tried_at: str | None
    last_status: int | None
    last_error: str | None


class WebhookDeliveries(TypedDict):
    """A page of the deliveries to an endpoint."""

    endpoint: str
    deliveries: list[WebhookDelivery]
    next: str | None


class WebhookEndpoint(TypedDict):
    """Where events are sent to."""

    id: str
    url: str
    exams: list[str] | None
    kinds: (
        list[
            Literal[
                "reservation.held",
                "reservation.released",
                "reservation.expired",
                "reservation.confirmed",
                "reservation.refunded",
                "reservation.venue_changed",
                "payment.refund_due",
                "payment.unreadable",
                "waiting_list.offered",
                "waiting_list.offer_expired",
                "exam.paused",
                "exam.resumed",
                "exam.seats_released",
            ]
        ]
        | None
    )
    description: str
    created_at: str
    disabled_at: str | None
    disabled_reason: DisabledReason | None
    failing_since: str | None
    old_secret_ends_at: str | None
    pending: int
    given_up: int


class WebhookEndpoints(TypedDict):
    """Every webhook endpoint."""

    webhook_endpoints: list[WebhookEndpoint]


class WebhookReplay(TypedDict):
    """What is sent again."""

    endpoint: str
    since: str
    deliveries: int


class WebhookSecret(TypedDict):
    """A webhook endpoint with its newest secret."""

    webhook_endpoint: WebhookEndpoint
    secret: str


class WrongPart(TypedDict):
    """One invalid part of a request."""

    field: str
    detail: str
