"""Every error the service raises on purpose, as one tree of exceptions.

    QuotaError
    ├── Refused                     the request was understood and cannot be done; nothing changed:
    │                               a class for each reason
    └── Unavailable                 nothing was lost; ask again
        ├── Overloaded              too many requests are in progress
        ├── NotReady                the shard is not open under the epoch of this process
        │   └── StaleDefinition     this process knows an older definition of the exam
        ├── ImportUnfinished        the definition is stored, its seats are not applied yet
        ├── SeatsUnavailable        Redis did not answer, or refused the command
        └── LedgerUnavailable       Postgres did not answer, or refused the command

Each class carries a `slug` that never changes. The API has a status, a title and a meaning for each
(`api/problems.py`) and answers with the members of the refusal that a problem can have, so a new
refusal is a class here and a line there. Over 400 lines because the tree is read as one table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import Exam, Pause, Quota


class QuotaError(Exception):
    """The root of everything the service raises on purpose."""

    slug = "internal-error"


class Refused(QuotaError):
    """The request was understood and cannot be done; nothing changed.

    `detail` is its text, with members of the refusal in braces; `field` is what of the request is
    wrong, where it is one part of it.
    """

    detail = ""
    field = ""

    def __str__(self) -> str:
        """Return what is refused and why."""
        return self.detail.format_map(vars(self))


@dataclass(frozen=True, slots=True)
class SeatsLeft:
    """What was left of one quota at the moment of a refusal; a venue may not offer a subject."""

    venue: str
    subject: str
    remaining: int
    is_offered: bool = True


@dataclass(eq=False)
class SoldOut(Refused):
    """`list_of` is the exam where it has a waiting list that can be joined instead, else empty."""

    slug = "sold-out"
    detail = "no venue asked for has a seat left in every subject asked for"
    left: tuple[SeatsLeft, ...]
    list_of: str = ""

    @classmethod
    def of(cls, exam: Exam, asked: Iterable[tuple[str, str]], left: Iterable[int]) -> Self:
        """Return the refusal for what is left of each venue and subject asked for."""
        return cls(
            tuple(
                SeatsLeft(venue, subject, seats, is_offered=Quota(venue, subject) in exam.seats)
                for (venue, subject), seats in zip(asked, left, strict=True)
            )
        )


@dataclass(eq=False)
class SessionConflict(Refused):
    slug = "session-conflict"
    detail = "the candidate already has a reservation in session {session}"
    session: str
    reservation: str


@dataclass(eq=False)
class TooManyUnpaidHolds(Refused):
    slug = "too-many-unpaid-holds"
    detail = "{unpaid_holds} holds of this candidate ended unpaid; wait before the next one"
    unpaid_holds: int
    pause_ends_at_ms: int


@dataclass(eq=False)
class KeyShareUsed(Refused):
    """The API key has reached its share of seats in unpaid holds; seats are left for other keys."""

    slug = "key-share-used"
    detail = "unpaid holds of this API key hold {key_share_max_percent} percent of the seats"
    key_share_max_percent: int


@dataclass(eq=False)
class RegistrationNotOpen(Refused):
    slug = "registration-not-open"
    detail = "registration has not opened yet"
    opens_at_ms: int


@dataclass(eq=False)
class RegistrationClosed(Refused):
    slug = "registration-closed"
    detail = "registration is closed"
    closed_at_ms: int


@dataclass(eq=False)
class SessionStarted(Refused):
    """The first sitting of an order has begun: nothing is reserved or moved any more."""

    slug = "session-started"
    detail = "session {session} has begun"
    session: str
    started_at_ms: int


@dataclass(eq=False)
class NoticeNotAccepted(Refused):
    slug = "notice-not-accepted"
    detail = "accepted_notice must name the current notice, version {version!r}"
    field = "accepted_notice"
    version: str


@dataclass(eq=False)
class UnknownVenue(Refused):
    slug = "unknown-venue"
    detail = "the exam has no venue {venue!r}"
    venue: str
    field: str = "venue"


@dataclass(eq=False)
class VenueClosed(Refused):
    """Ops have closed the venues for sale, in one of the subjects at least."""

    slug = "venue-closed"
    detail = "every venue asked for is closed for sale"
    closed_venues: tuple[str, ...]


@dataclass(eq=False)
class Paused(Refused):
    """Ops have paused what was asked for: ask again."""

    slug = "paused"
    detail = "paused: {pause.reason}"
    pause: Pause


@dataclass(eq=False)
class AlreadyPaused(Refused):
    slug = "already-paused"
    detail = "{pause.scope} is paused already; resume it first to pause it otherwise"
    pause: Pause


@dataclass(eq=False)
class NotPaused(Refused):
    slug = "not-paused"
    venue: str
    subject: str

    def __str__(self) -> str:
        """Return what is refused and why."""
        return f"{Pause.scope_of(self.venue, self.subject)} is not paused"


@dataclass(eq=False)
class UnknownSubject(Refused):
    slug = "unknown-subject"
    detail = "the exam has no subject {subject!r}"
    subject: str
    field: str = "subject"


@dataclass(eq=False)
class UnknownSession(Refused):
    slug = "unknown-session"
    detail = "the exam has no session {name!r}"
    name: str
    field: str = "session"


@dataclass(eq=False)
class SameSessionTwice(Refused):
    slug = "same-session-twice"
    field = "subjects"
    session: str
    subjects: tuple[str, ...]

    def __str__(self) -> str:
        """Return what is refused and why."""
        return f"{' and '.join(self.subjects)} are both in session {self.session}; choose one"


class IdempotencyKeyReused(Refused):
    slug = "idempotency-key-reused"
    detail = "this Idempotency-Key was used before with another body"
    field = "Idempotency-Key"


class EventIdReused(Refused):
    slug = "event-id-reused"
    detail = "this webhook-id was used before with another body"
    field = "webhook-id"


@dataclass(eq=False)
class ReservationEnded(Refused):
    slug = "reservation-ended"
    detail = "the reservation has ended: it is {state}"
    state: str


class AlreadyConfirmed(Refused):
    slug = "already-confirmed"
    detail = "the reservation is already paid and confirmed"


class PaymentInProgress(Refused):
    slug = "payment-in-progress"
    detail = "a payment is being recorded; read the reservation again in a second"


class ChangeInProgress(Refused):
    slug = "change-in-progress"
    detail = "a change of venue is being recorded; read the reservation again in a second"


@dataclass(eq=False)
class VenueChangesUsed(Refused):
    slug = "venue-changes-used"
    detail = "the venue was changed {venue_changes_max} times already, which is the limit"
    venue_changes_max: int


class NotConfirmed(Refused):
    slug = "not-confirmed"
    detail = "the reservation is not confirmed: there is nothing to refund"


@dataclass(eq=False)
class RefundUsed(Refused):
    slug = "refund-used"
    detail = "the candidate has used the one refund of the exam"
    reservation: str


@dataclass(eq=False)
class RefundNotOpen(Refused):
    slug = "refund-not-open"
    detail = "the refund window has not opened yet"
    opens_at_ms: int


@dataclass(eq=False)
class RefundClosed(Refused):
    slug = "refund-closed"
    detail = "the refund window is over"
    closed_at_ms: int


class UnknownRefund(Refused):
    """No refund of that id is due."""

    slug = "unknown-refund"
    detail = "there is no refund of this id for the exam"


@dataclass(eq=False)
class NotSettledThen(Refused):
    """A refund due is settled, but not by the settlement that is to be opened again."""

    slug = "invalid-request"
    detail = "settled_at is not when it was settled last: look whether that money arrived"
    field = "settled_at"


class UnknownPayment(Refused):
    slug = "unknown-payment"
    detail = "there is no unreadable payment event of this id"


@dataclass(eq=False)
class UnknownExam(Refused):
    slug = "unknown-exam"
    detail = "there is no exam {exam!r}"
    exam: str


@dataclass(eq=False)
class ExamArchived(Refused):
    slug = "exam-archived"
    detail = "exam {exam} is archived"
    exam: str


@dataclass(eq=False)
class ExamNotOver(Refused):
    slug = "exam-not-over"
    detail = "the exam is not over yet"
    ends_at_ms: int


@dataclass(eq=False)
class ExamUnfinished(Refused):
    """`unfinished` are holds, payments, refunds or a journal."""

    slug = "exam-unfinished"
    unfinished: tuple[str, ...]

    def __str__(self) -> str:
        """Return what is refused and why."""
        return f"not finished: {', '.join(self.unfinished)}"


class UnknownReservation(Refused):
    slug = "unknown-reservation"
    detail = "there is no reservation of this id"


@dataclass(eq=False)
class UnknownSetAside(Refused):
    slug = "unknown-set-aside"
    detail = "the exam has no set-aside {set_aside!r}"
    set_aside: str


class UnknownCode(Refused):
    slug = "unknown-code"
    detail = "the set-aside has no code of this id"


class CodeInvalid(Refused):
    """The code is none, of another exam, or revoked: nothing tells which."""

    slug = "code-invalid"
    detail = "is not a valid code of this exam"
    field = "code"


@dataclass(eq=False)
class TooManyWrongCodes(Refused):
    slug = "too-many-wrong-codes"
    detail = "too many wrong codes; wait before the next one"
    pause_ends_at_ms: int


class CodeUsed(Refused):
    slug = "code-used"
    detail = "was used as often as it may be"
    field = "code"


@dataclass(eq=False)
class SetAsideOver(Refused):
    """What is left of the set-aside was given to everybody."""

    slug = "set-aside-over"
    detail = "set-aside {set_aside} is over"
    set_aside: str


@dataclass(eq=False)
class NotSetAside(Refused):
    """The set-aside has no seats of one of the subjects, at each of the venues."""

    slug = "not-set-aside"
    detail = "set-aside {set_aside} has no seats of all these subjects at one of these venues"
    set_aside: str


class CandidateTokensOff(Refused):
    slug = "candidate-tokens-off"
    detail = "candidate tokens are off: QUOTA_CANDIDATE_TOKEN_SECRETS has no secret to sign them"


class WaitingRoomOff(Refused):
    slug = "waiting-room-off"
    detail = "the exam has no waiting room: reserve without a pass"


class TicketInvalid(Refused):
    slug = "ticket-invalid"
    detail = "was not issued to this candidate"
    field = "ticket"


class TicketOfAnotherExam(Refused):
    slug = "ticket-of-another-exam"
    detail = "is a ticket of another exam"
    field = "ticket"


@dataclass(eq=False)
class NotYourTurn(Refused):
    slug = "not-your-turn"
    detail = "the turn of this ticket has not come yet"
    threshold: str
    serving: int
    poll_after_s: float


class TurnPassed(Refused):
    slug = "turn-passed"
    detail = "the turn of this ticket has passed: join again, at the back"


class TicketUsed(Refused):
    """The place of the ticket was finished, or ended because it was idle."""

    slug = "ticket-used"
    detail = "the pass of this ticket has ended: join again, at the back"


class SourceOff(Refused):
    """The seed alone decides the draw: it has no list of entries."""

    slug = "source-off"
    detail = "the draw of this exam has no public source, and no list of entries"


@dataclass(eq=False)
class SignatureInvalid(Refused):
    slug = "signature-invalid"
    detail = "{why}"
    field = "evidence"
    why: str


@dataclass(eq=False)
class EntriesOpen(Refused):
    slug = "entries-open"
    detail = "the entries of the draw are not frozen yet"
    entries_close_at_ms: int


@dataclass(eq=False)
class SourceNotDue(Refused):
    slug = "source-not-due"
    detail = "the source of the draw has not come yet"
    source_at_ms: int


@dataclass(eq=False)
class SourceKnown(Refused):
    """The source has come to something, which stays."""

    slug = "source-known"
    detail = "the source of the draw is known already, and stays what it is"
    evidence: str


@dataclass(eq=False)
class OpenedWithoutSource(Refused):
    slug = "opened-without-draw"
    detail = "ops have finally decided to open without the source of the draw"
    decided_at_ms: int


class NotInDraw(Refused):
    slug = "not-in-draw"
    detail = "the candidate of this ticket is not among the entries of the draw"


class WaitingRoomPassRequired(Refused):
    slug = "waiting-room-pass-required"
    detail = "reserving needs a pass of the waiting room, in Waiting-Room-Pass"
    field = "Waiting-Room-Pass"


class PassInvalid(Refused):
    slug = "pass-invalid"
    detail = "Waiting-Room-Pass was not issued to this candidate for this exam"
    field = "Waiting-Room-Pass"


class PassExpired(Refused):
    slug = "pass-expired"
    detail = "the pass has expired: join the waiting room again"
    field = "Waiting-Room-Pass"


class PassEnded(Refused):
    """The place of the pass was finished, or ended because it was idle."""

    slug = "pass-ended"
    detail = "the place of this pass was finished or idle: join the waiting room again"
    field = "Waiting-Room-Pass"


class WaitingListOff(Refused):
    slug = "waiting-list-off"
    detail = "the exam has no waiting list"


class WaitingListSuspended(Refused):
    slug = "waiting-list-suspended"
    detail = "nobody can join the waiting list at the moment"


@dataclass(eq=False)
class WaitingListFull(Refused):
    slug = "waiting-list-full"
    detail = "{waiting} entries wait for {full_venue}/{full_subject}, which is the limit"
    full_venue: str
    full_subject: str
    waiting: int


@dataclass(eq=False)
class AlreadyListed(Refused):
    slug = "already-listed"
    detail = "the candidate is on the waiting list with entry {entry}"
    entry: str


@dataclass(eq=False)
class SeatsOnSale(Refused):
    slug = "seats-on-sale"
    detail = "venue {on_sale_at} has a seat in every subject on open sale: reserve it"
    on_sale_at: str


@dataclass(eq=False)
class UntilOutOfRange(Refused):
    slug = "until-out-of-range"
    field = "until"
    latest_ms: int

    def __str__(self) -> str:
        """Return what is refused and why."""
        return f"must be later than now, and not later than {rfc3339(self.latest_ms)}"


class UnknownEntry(Refused):
    slug = "unknown-entry"
    detail = "there is no entry of this id in the waiting list of the exam"


@dataclass(eq=False)
class DefinitionRefused(Refused):
    slug = "definition-refused"
    problems: Sequence[tuple[str, str]]

    def __str__(self) -> str:
        """Return what is refused and why."""
        return "\n".join(f"{where}: {detail}" for where, detail in self.problems)


@dataclass(eq=False)
class CandidatesWaiting(Refused):
    """A definition without a waiting room, or list, would end the one that candidates wait in."""

    slug = "candidates-waiting"
    detail = (
        "the definition has no {where}, and {waiting} candidates wait in it; force the import "
        "to remove it all the same"
    )
    waiting: int
    where: str = "waiting room"

    @property
    def table(self) -> str:
        """The table that the definition lacks."""
        return self.where.replace(" ", "_")


@dataclass(eq=False)
class UnknownWebhookEndpoint(Refused):
    slug = "unknown-webhook-endpoint"
    detail = "there is no webhook endpoint {endpoint!r}"
    endpoint: str


@dataclass(eq=False)
class WebhookEndpointDisabled(Refused):
    slug = "webhook-endpoint-disabled"
    detail = "nothing is sent to the webhook endpoint {endpoint!r}; enable it first"
    endpoint: str


@dataclass(eq=False)
class TooManyWebhookEndpoints(Refused):
    slug = "too-many-webhook-endpoints"
    detail = "there are {endpoints_max} webhook endpoints, as many as there may be"
    endpoints_max: int


@dataclass(eq=False)
class UnknownRelease(Refused):
    slug = "unknown-release"
    detail = "the exam has no seat release {release!r}"
    release: str


@dataclass(eq=False)
class ReleaseExists(Refused):
    """A seat release of this id was planned, with another body or by a definition."""

    slug = "release-exists"
    detail = "the exam has another seat release {release!r}"
    release: str
    field: str = "id"


@dataclass(eq=False)
class ReleaseDone(Refused):
    slug = "release-done"
    detail = "seat release {release!r} has happened: its seats are there"
    release: str


class ReleasePast(Refused):
    slug = "release-past"
    detail = "is not later than now"
    field = "at"


@dataclass(eq=False)
class ReleaseTooLate(Refused):
    """Nobody could reserve the seats of the release any more."""

    slug = "release-too-late"
    detail = "{why}"
    field = "at"
    why: str


@dataclass(eq=False)
class TooManyReleases(Refused):
    slug = "too-many-releases"
    detail = "{releases_max} seat releases of the exam are planned, which is the limit"
    releases_max: int


@dataclass(eq=False)
class UnknownQuota(Refused):
    slug = "unknown-quota"
    detail = "the exam has no quota {quota}"
    quota: str
    field: str


@dataclass(eq=False)
class TooManySeats(Refused):
    slug = "too-many-seats"
    detail = "{quota} would have more than {seats_max} seats"
    quota: str
    seats_max: int
    field: str


class Unavailable(QuotaError):
    """A fault of the service; nothing acknowledged was lost, and the request may be repeated.

    `applied` is False when the command certainly had no effect and None when that is unknown.
    """

    slug = "not-ready"
    part = "service"

    def __init__(self, message: str, *, applied: bool | None = False) -> None:
        super().__init__(message)
        self.applied = applied


class Overloaded(Unavailable):
    """Too many requests are in progress; this one was not started."""

    slug = "overloaded"


class NotReady(Unavailable):
    """The shard is not open under the epoch that this process knows."""

    part = "shard"


class StaleDefinition(NotReady):
    """The definition in force is not the one of the request; nothing was done."""


class ImportUnfinished(Unavailable):
    """A definition is stored in Postgres and not yet whole in Redis; a worker finishes it."""

    part = "seats"

    def __init__(self, exam: str, cause: str) -> None:
        summary = f"the definition of {exam} is stored; a worker applies its seats"
        super().__init__(f"{summary}, or another import does ({cause})", applied=True)
        self.summary = summary


class SeatsUnavailable(Unavailable):
    """Redis is unreachable, too slow, or refuses commands."""

    part = "seats"


class LedgerUnavailable(Unavailable):
    """Postgres is unreachable, too slow, or refuses commands."""

    part = "ledger"
