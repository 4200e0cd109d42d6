"""An exception for each problem type, with its members.

Made by `python -m tests.support.client_code`, and as long as its tables.
"""

from collections.abc import Mapping
from typing import Literal

from quota_service.client.documents import Scope, SeatsLeft, WrongPart
from quota_service.client.errors import ProblemError


class MalformedRequest(ProblemError):
    """Malformed request.

    The request is not well-formed HTTP/1.1; its connection is closed when its end is not known.
    """

    slug = "malformed-request"


class MalformedJson(ProblemError):
    """The body is not JSON."""

    slug = "malformed-json"


class IdempotencyKeyMissing(ProblemError):
    """A reservation needs an Idempotency-Key header, so that it can be repeated safely."""

    slug = "idempotency-key-missing"


class IdempotencyKeyAmbiguous(ProblemError):
    """The request has several Idempotency-Key headers, and they differ."""

    slug = "idempotency-key-ambiguous"


class Unauthorized(ProblemError):
    """There is no valid API key or candidate token, or the callback's signature is not valid."""

    slug = "unauthorized"


class Forbidden(ProblemError):
    """Forbidden.

    The API key does not have the scope needed, or is for other exams; or the candidate token is for
    another candidate or exam, or for other calls.
    """

    slug = "forbidden"


class WaitingRoomPassRequired(ProblemError):
    """Waiting room pass required.

    The exam has a waiting room: join it, claim a place when the turn comes, and send the pass in
    Waiting-Room-Pass.
    """

    slug = "waiting-room-pass-required"
    errors: list[WrongPart]


class PassInvalid(ProblemError):
    """The pass was not issued to this candidate for this exam."""

    slug = "pass-invalid"
    errors: list[WrongPart]


class PassExpired(ProblemError):
    """The pass has expired; join the waiting room again."""

    slug = "pass-expired"
    errors: list[WrongPart]


class PassEnded(ProblemError):
    """The place of the pass was finished, or was idle for too long; join the waiting room again."""

    slug = "pass-ended"
    errors: list[WrongPart]


class CodeInvalid(ProblemError):
    """The code is none of this exam, or was revoked."""

    slug = "code-invalid"
    errors: list[WrongPart]


class NotFound(ProblemError):
    """There is nothing at this address."""

    slug = "not-found"


class UnknownExam(ProblemError):
    """There is no exam of this id."""

    slug = "unknown-exam"


class UnknownReservation(ProblemError):
    """There is no reservation of this id."""

    slug = "unknown-reservation"


class UnknownEntry(ProblemError):
    """The waiting list of the exam has no entry of this id."""

    slug = "unknown-entry"


class UnknownSetAside(ProblemError):
    """The exam has no set-aside of this id."""

    slug = "unknown-set-aside"


class UnknownCode(ProblemError):
    """The set-aside has no code of this id."""

    slug = "unknown-code"


class UnknownRefund(ProblemError):
    """No refund of this id is due for the exam."""

    slug = "unknown-refund"


class UnknownPayment(ProblemError):
    """There is no unreadable payment event of this id."""

    slug = "unknown-payment"


class UnknownRelease(ProblemError):
    """The exam has no seat release of this id."""

    slug = "unknown-release"


class UnknownWebhookEndpoint(ProblemError):
    """There is no webhook endpoint of this id."""

    slug = "unknown-webhook-endpoint"


class MethodNotAllowed(ProblemError):
    """The address does not take this method; Allow lists those it takes."""

    slug = "method-not-allowed"


class BodyTooSlow(ProblemError):
    """The body did not arrive within the request timeout; nothing was started."""

    slug = "body-too-slow"


class SoldOut(ProblemError):
    """Sold out.

    No venue asked for has a seat left in every subject asked for. Where the exam has a waiting
    list, `waiting_list` is its address: join it instead of asking again.
    """

    slug = "sold-out"
    left: list[SeatsLeft]
    waiting_list: str | None


class AlreadyPaused(ProblemError):
    """Exactly this is paused already; the members tell the pause. Resume it first."""

    slug = "already-paused"
    scope: Scope
    stops: Literal["reserving", "changes"]
    reason: str
    since: str
    retry_after_s: int


class NotPaused(ProblemError):
    """There is no pause of exactly this venue and subject to end."""

    slug = "not-paused"
    scope: Scope


class CodeUsed(ProblemError):
    """Code used.

    The code was used as often as it may be. It can be used again once a reservation made with it
    has ended.
    """

    slug = "code-used"
    errors: list[WrongPart]


class SetAsideOver(ProblemError):
    """Set aside over.

    The time of the set-aside has come: what was left of its seats is on open sale. Reserve without
    a code.
    """

    slug = "set-aside-over"


class NotSetAside(ProblemError):
    """Not set aside.

    The set-aside of the code has no seats of these subjects at one of the venues asked for; choose
    others, or reserve without a code.
    """

    slug = "not-set-aside"


class VenueClosed(ProblemError):
    """Every venue asked for is closed for sale; the others may have seats."""

    slug = "venue-closed"
    closed_venues: list[str]


class SessionConflict(ProblemError):
    """The candidate already has a reservation in one of the sessions."""

    slug = "session-conflict"
    session: str
    reservation: str


class TooManyUnpaidHolds(ProblemError):
    """Too many unpaid holds.

    So many holds of the candidate ended unpaid that the next one must wait until `pause_ends_at`. A
    hold that is paid late does not count.
    """

    slug = "too-many-unpaid-holds"
    unpaid_holds: int
    pause_ends_at: str


class KeyShareUsed(ProblemError):
    """Key share used.

    Seats are left, but unpaid holds made with this API key have all of them that one key may have.
    Ask again when some of them are paid or have ended.
    """

    slug = "key-share-used"
    key_share_max_percent: int


class RegistrationNotOpen(ProblemError):
    """The registration window has not opened yet."""

    slug = "registration-not-open"
    opens_at: str


class RegistrationClosed(ProblemError):
    """The registration window is over."""

    slug = "registration-closed"
    closed_at: str


class ExamArchived(ProblemError):
    """The exam is over and archived: its bookings can be read, and nothing else."""

    slug = "exam-archived"


class ExamNotOver(ProblemError):
    """An exam can be archived once its windows and its last sitting are over."""

    slug = "exam-not-over"
    ends_at: str


class ExamUnfinished(ProblemError):
    """Exam unfinished.

    Something of the exam is not finished: holds, payments, money that is due back, refunds, or
    journal entries a person has to look at.
    """

    slug = "exam-unfinished"
    unfinished: list[Literal["holds", "payments", "refunds_due", "refunds", "journal"]]


class CandidatesWaiting(ProblemError):
    """Candidates waiting.

    The definition has no waiting room, or no waiting list, and candidates wait in the one that the
    exam has. `?force=true` removes it all the same; then everybody can reserve at once, and the
    entries of the list are over.
    """

    slug = "candidates-waiting"
    waiting: int


class SessionStarted(ProblemError):
    """The first sitting of the order has begun."""

    slug = "session-started"
    session: str
    started_at: str


class ReservationEnded(ProblemError):
    """The reservation was released or has expired; reserve again."""

    slug = "reservation-ended"
    state: Literal["refunded", "released", "expired"]


class AlreadyConfirmed(ProblemError):
    """The reservation is paid and confirmed."""

    slug = "already-confirmed"


class PaymentInProgress(ProblemError):
    """A payment is being recorded; read the reservation again in a second."""

    slug = "payment-in-progress"


class ChangeInProgress(ProblemError):
    """A change of venue is being recorded; read the reservation again in a second."""

    slug = "change-in-progress"


class VenueChangesUsed(ProblemError):
    """The reservation has changed its venue as often as the exam allows."""

    slug = "venue-changes-used"
    venue_changes_max: int


class NotConfirmed(ProblemError):
    """Only a booking can be refunded; release a hold with DELETE."""

    slug = "not-confirmed"


class RefundUsed(ProblemError):
    """A candidate has one refund for an exam, and has used it."""

    slug = "refund-used"
    reservation: str


class RefundNotOpen(ProblemError):
    """The refund window has not opened yet."""

    slug = "refund-not-open"
    opens_at: str


class RefundClosed(ProblemError):
    """The refund window is over."""

    slug = "refund-closed"
    closed_at: str


class CandidateTokensOff(ProblemError):
    """The service makes no candidate tokens: it has no secret to sign them."""

    slug = "candidate-tokens-off"


class WaitingRoomOff(ProblemError):
    """The exam has no waiting room; reserve without a pass."""

    slug = "waiting-room-off"


class NotYourTurn(ProblemError):
    """The turn of the ticket has not come; ask for the waiting room again, and claim then."""

    slug = "not-your-turn"
    threshold: str
    serving: int
    poll_after: float


class TurnPassed(ProblemError):
    """The turn of the ticket came and was not claimed in time; join again, at the back."""

    slug = "turn-passed"


class TicketUsed(ProblemError):
    """The pass of the ticket has ended, or a later ticket was used; join again, at the back."""

    slug = "ticket-used"


class WaitingListOff(ProblemError):
    """The exam has no waiting list."""

    slug = "waiting-list-off"


class WaitingListSuspended(ProblemError):
    """Nobody can join the waiting list at the moment; those who wait are served."""

    slug = "waiting-list-suspended"


class WaitingListFull(ProblemError):
    """As many entries wait for one of the seats as may; try without that venue."""

    slug = "waiting-list-full"
    full_venue: str
    full_subject: str
    waiting: int


class AlreadyListed(ProblemError):
    """The candidate is on the waiting list; leave it first to wait for something else."""

    slug = "already-listed"
    entry: str


class SeatsOnSale(ProblemError):
    """A venue has a seat in every subject on open sale: reserve there."""

    slug = "seats-on-sale"
    on_sale_at: str


class SourceOff(ProblemError):
    """Source off.

    The draw of the exam has no public source and no list of entries: the seed alone decides it.
    """

    slug = "source-off"


class EntriesOpen(ProblemError):
    """The entries of the draw are not frozen yet."""

    slug = "entries-open"
    entries_close_at: str


class NotInDraw(ProblemError):
    """The candidate of the ticket is not among the entries of the draw."""

    slug = "not-in-draw"


class SourceNotDue(ProblemError):
    """The source of the draw has not come yet."""

    slug = "source-not-due"
    source_at: str


class SourceKnown(ProblemError):
    """The outcome of the source of the draw is known and cannot change."""

    slug = "source-known"
    evidence: str


class OpenedWithoutDraw(ProblemError):
    """Ops have finally decided to open without the source of the draw."""

    slug = "opened-without-draw"
    decided_at: str


class ReleaseExists(ProblemError):
    """Release exists.

    The exam already has a seat release with this id, with another body or from its definition; ids
    are never used again.
    """

    slug = "release-exists"
    errors: list[WrongPart]


class ReleaseDone(ProblemError):
    """The seat release has happened; only one that is planned can be cancelled."""

    slug = "release-done"


class TooManyReleases(ProblemError):
    """As many seat releases of the exam are planned as there may be at once."""

    slug = "too-many-releases"
    releases_max: int


class WebhookEndpointDisabled(ProblemError):
    """Nothing is sent to the webhook endpoint; enable it first."""

    slug = "webhook-endpoint-disabled"


class TooManyWebhookEndpoints(ProblemError):
    """There are as many webhook endpoints as there may be."""

    slug = "too-many-webhook-endpoints"
    endpoints_max: int


class PayloadTooLarge(ProblemError):
    """The body is larger than this service takes."""

    slug = "payload-too-large"
    max_bytes: int


class ContentEncodingRefused(ProblemError):
    """The body has a Content-Encoding; send it as it is."""

    slug = "content-encoding-refused"


class InvalidRequest(ProblemError):
    """The request is well-formed, but members of it are invalid; each is named."""

    slug = "invalid-request"
    errors: list[WrongPart]


class NationalIdRefused(ProblemError):
    """The candidate id is a resident ID number; send an opaque id of your own instead."""

    slug = "national-id-refused"
    errors: list[WrongPart]


class LastEventIdMalformed(ProblemError):
    """Last-Event-ID malformed.

    The Last-Event-ID is not the id of an event of the stream; omit it to start with a snapshot.
    """

    slug = "last-event-id-malformed"
    errors: list[WrongPart]


class NoticeNotAccepted(ProblemError):
    """The candidate has to accept the notice in its current version."""

    slug = "notice-not-accepted"
    version: str
    errors: list[WrongPart]


class UnknownVenue(ProblemError):
    """The exam has no such venue."""

    slug = "unknown-venue"
    errors: list[WrongPart]


class UnknownSubject(ProblemError):
    """The exam has no such subject."""

    slug = "unknown-subject"
    errors: list[WrongPart]


class UnknownSession(ProblemError):
    """The exam has no such session."""

    slug = "unknown-session"
    errors: list[WrongPart]


class UnknownQuota(ProblemError):
    """Unknown quota.

    The exam has no seats for this subject at this venue; give it some, or 0, by its definition.
    """

    slug = "unknown-quota"
    errors: list[WrongPart]


class TooManySeats(ProblemError):
    """The quota would have more seats than it may."""

    slug = "too-many-seats"
    seats_max: int
    errors: list[WrongPart]


class ReleasePast(ProblemError):
    """A seat release has to be planned for a time that is to come."""

    slug = "release-past"
    errors: list[WrongPart]


class ReleaseTooLate(ProblemError):
    """At the time of the seat release nobody could reserve its seats any more."""

    slug = "release-too-late"
    errors: list[WrongPart]


class SameSessionTwice(ProblemError):
    """Two of the subjects are in the same session; a candidate takes one in each."""

    slug = "same-session-twice"
    session: str
    subjects: list[str]
    errors: list[WrongPart]


class UntilOutOfRange(ProblemError):
    """The time until which a candidate waits is past, or after registration closes."""

    slug = "until-out-of-range"
    errors: list[WrongPart]


class IdempotencyKeyReused(ProblemError):
    """The Idempotency-Key was used before with another body."""

    slug = "idempotency-key-reused"
    errors: list[WrongPart]


class EventIdReused(ProblemError):
    """The webhook-id was used before with another body."""

    slug = "event-id-reused"
    errors: list[WrongPart]


class TicketInvalid(ProblemError):
    """The ticket was not issued to this candidate."""

    slug = "ticket-invalid"
    errors: list[WrongPart]


class TicketOfAnotherExam(ProblemError):
    """The ticket is for the waiting room of another exam."""

    slug = "ticket-of-another-exam"
    errors: list[WrongPart]


class SignatureInvalid(ProblemError):
    """The source is a drand round, and this is not its signature."""

    slug = "signature-invalid"
    errors: list[WrongPart]


class DefinitionRefused(ProblemError):
    """The exam definition cannot be imported; every reason is listed."""

    slug = "definition-refused"
    errors: list[WrongPart]


class TooManyWrongCodes(ProblemError):
    """Too many wrong codes were sent; wait until `pause_ends_at`."""

    slug = "too-many-wrong-codes"
    pause_ends_at: str


class RateLimited(ProblemError):
    """The caller asks faster than it may; RateLimit-Policy says how fast, Retry-After when."""

    slug = "rate-limited"
    policy: str
    limit_per_s: int


class InternalError(ProblemError):
    """An unexpected error of the service; the request id finds it in the logs."""

    slug = "internal-error"


class NotReady(ProblemError):
    """Not ready.

    A part of the service is unavailable; nothing acknowledged is lost. Repeat after Retry-After,
    with the same Idempotency-Key.
    """

    slug = "not-ready"
    part: str


class Paused(ProblemError):
    """Ops have paused this, for the reason given; nothing was done. Ask again after Retry-After."""

    slug = "paused"
    scope: Scope
    stops: Literal["reserving", "changes"]
    reason: str
    since: str
    retry_after_s: int


class Overloaded(ProblemError):
    """Overloaded.

    Too many requests are in progress and this one was not started; ask again after Retry-After.
    """

    slug = "overloaded"
    part: str


PROBLEM_TYPES: Mapping[str, type[ProblemError]] = {
    "malformed-request": MalformedRequest,
    "malformed-json": MalformedJson,
    "idempotency-key-missing": IdempotencyKeyMissing,
    "idempotency-key-ambiguous": IdempotencyKeyAmbiguous,
    "unauthorized": Unauthorized,
    "forbidden": Forbidden,
    "waiting-room-pass-required": WaitingRoomPassRequired,
    "pass-invalid": PassInvalid,
    "pass-expired": PassExpired,
    "pass-ended": PassEnded,
    "code-invalid": CodeInvalid,
    "not-found": NotFound,
    "unknown-exam": UnknownExam,
    "unknown-reservation": UnknownReservation,
    "unknown-entry": UnknownEntry,
    "unknown-set-aside": UnknownSetAside,
    "unknown-code": UnknownCode,
    "unknown-refund": UnknownRefund,
    "unknown-payment": UnknownPayment,
    "unknown-release": UnknownRelease,
    "unknown-webhook-endpoint": UnknownWebhookEndpoint,
    "method-not-allowed": MethodNotAllowed,
    "body-too-slow": BodyTooSlow,
    "sold-out": SoldOut,
    "already-paused": AlreadyPaused,
    "not-paused": NotPaused,
    "code-used": CodeUsed,
    "set-aside-over": SetAsideOver,
    "not-set-aside": NotSetAside,
    "venue-closed": VenueClosed,
    "session-conflict": SessionConflict,
    "too-many-unpaid-holds": TooManyUnpaidHolds,
    "key-share-used": KeyShareUsed,
    "registration-not-open": RegistrationNotOpen,
    "registration-closed": RegistrationClosed,
    "exam-archived": ExamArchived,
    "exam-not-over": ExamNotOver,
    "exam-unfinished": ExamUnfinished,
    "candidates-waiting": CandidatesWaiting,
    "session-started": SessionStarted,
    "reservation-ended": ReservationEnded,
    "already-confirmed": AlreadyConfirmed,
    "payment-in-progress": PaymentInProgress,
    "change-in-progress": ChangeInProgress,
    "venue-changes-used": VenueChangesUsed,
    "not-confirmed": NotConfirmed,
    "refund-used": RefundUsed,
    "refund-not-open": RefundNotOpen,
    "refund-closed": RefundClosed,
    "candidate-tokens-off": CandidateTokensOff,
    "waiting-room-off": WaitingRoomOff,
    "not-your-turn": NotYourTurn,
    "turn-passed": TurnPassed,
    "ticket-used": TicketUsed,
    "waiting-list-off": WaitingListOff,
    "waiting-list-suspended": WaitingListSuspended,
    "waiting-list-full": WaitingListFull,
    "already-listed": AlreadyListed,
    "seats-on-sale": SeatsOnSale,
    "source-off": SourceOff,
    "entries-open": EntriesOpen,
    "not-in-draw": NotInDraw,
    "source-not-due": SourceNotDue,
    "source-known": SourceKnown,
    "opened-without-draw": OpenedWithoutDraw,
    "release-exists": ReleaseExists,
    "release-done": ReleaseDone,
    "too-many-releases": TooManyReleases,
    "webhook-endpoint-disabled": WebhookEndpointDisabled,
    "too-many-webhook-endpoints": TooManyWebhookEndpoints,
    "payload-too-large": PayloadTooLarge,
    "content-encoding-refused": ContentEncodingRefused,
    "invalid-request": InvalidRequest,
    "national-id-refused": NationalIdRefused,
    "last-event-id-malformed": LastEventIdMalformed,
    "notice-not-accepted": NoticeNotAccepted,
    "unknown-venue": UnknownVenue,
    "unknown-subject": UnknownSubject,
    "unknown-session": UnknownSession,
    "unknown-quota": UnknownQuota,
    "too-many-seats": TooManySeats,
    "release-past": ReleasePast,
    "release-too-late": ReleaseTooLate,
    "same-session-twice": SameSessionTwice,
    "until-out-of-range": UntilOutOfRange,
    "idempotency-key-reused": IdempotencyKeyReused,
    "event-id-reused": EventIdReused,
    "ticket-invalid": TicketInvalid,
    "ticket-of-another-exam": TicketOfAnotherExam,
    "signature-invalid": SignatureInvalid,
    "definition-refused": DefinitionRefused,
    "too-many-wrong-codes": TooManyWrongCodes,
    "rate-limited": RateLimited,
    "internal-error": InternalError,
    "not-ready": NotReady,
    "paused": Paused,
    "overloaded": Overloaded,
}
"""The exceptions by slug."""
