"""Every way in which the service says no, as one tree of exceptions.

    QuotaError
    ├── Refused                     the request was understood and cannot be done; nothing changed:
    │                               a class for each reason
    └── Unavailable                 nothing was lost; ask again
        ├── Overloaded              too much is at work already
        ├── NotReady                the shard is not open under the epoch we know
        │   └── StaleDefinition     another definition is in force than the one we know
        ├── ImportUnfinished        the definition is stored, its seats follow
        ├── SeatsUnavailable        Redis did not answer, or refused the command
        └── LedgerUnavailable       Postgres did not answer, or refused the command

Each class carries a `slug` that never changes. The API has a status, a title and a meaning for each
(`api/problems.py`) and answers with the members of the refusal that a problem can have, so a new
refusal is a class here and a line there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from quota_service.domain.exam import Exam, Quota


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
    slug = "sold-out"
    detail = "no venue asked for has a seat left in every subject asked for"
    left: tuple[SeatsLeft, ...]

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
    detail = "{unpaid_holds} holds of this candidate ended unpaid: the next one has to wait"
    unpaid_holds: int
    pause_ends_at_ms: int


@dataclass(eq=False)
class KeyShareUsed(Refused):
    """The API key has as many seats in unpaid holds as it may, and seats are left for others."""

    slug = "key-share-used"
    detail = "unpaid holds made with this API key have {key_share_max_percent} percent of the seats"
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
class UnknownSubject(Refused):
    slug = "unknown-subject"
    detail = "the exam has no subject {subject!r}"
    subject: str
    field: str = "subject"


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
    detail = "a payment for the reservation is being recorded; look again in a moment"


class ChangeInProgress(Refused):
    slug = "change-in-progress"
    detail = "a change of venue is being recorded; look again in a moment"


@dataclass(eq=False)
class VenueChangesUsed(Refused):
    slug = "venue-changes-used"
    detail = "the venue can be changed {venue_changes_max} times, which are used"
    venue_changes_max: int


class NotConfirmed(Refused):
    slug = "not-confirmed"
    detail = "the reservation is not confirmed: there is nothing to refund"


@dataclass(eq=False)
class RefundUsed(Refused):
    slug = "refund-used"
    detail = "the one refund of this candidate for the exam is used"
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
        return f"not at their end: {', '.join(self.unfinished)}"


class UnknownReservation(Refused):
    slug = "unknown-reservation"
    detail = "there is no reservation of this id"


class WaitingRoomOff(Refused):
    slug = "waiting-room-off"
    detail = "the exam has no waiting room: reserve without a pass"


class TicketInvalid(Refused):
    slug = "ticket-invalid"
    detail = "is no ticket of this candidate"
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
    """The ticket had its place, which was finished or left idle."""

    slug = "ticket-used"
    detail = "the pass of this ticket has ended: join again, at the back"


class WaitingRoomPassRequired(Refused):
    slug = "waiting-room-pass-required"
    detail = "reserving needs a pass of the waiting room, in Waiting-Room-Pass"
    field = "Waiting-Room-Pass"


class PassInvalid(Refused):
    slug = "pass-invalid"
    detail = "Waiting-Room-Pass is no pass of this candidate for this exam"
    field = "Waiting-Room-Pass"


class PassExpired(Refused):
    slug = "pass-expired"
    detail = "the pass has expired: join the waiting room again"
    field = "Waiting-Room-Pass"


class PassEnded(Refused):
    """A pass whose place was finished, or went to others because it was not used."""

    slug = "pass-ended"
    detail = "the place of this pass is free again: join the waiting room again"
    field = "Waiting-Room-Pass"


@dataclass(eq=False)
class DefinitionRefused(Refused):
    slug = "definition-refused"
    problems: Sequence[tuple[str, str]]

    def __str__(self) -> str:
        """Return what is refused and why."""
        return "\n".join(f"{where}: {detail}" for where, detail in self.problems)


class Unavailable(QuotaError):
    """A fault on our side; nothing acknowledged was lost, and asking again is right.

    `applied` is False when the command certainly had no effect and None when that is unknown.
    """

    slug = "not-ready"
    part = "service"

    def __init__(self, message: str, *, applied: bool | None = False) -> None:
        super().__init__(message)
        self.applied = applied


class Overloaded(Unavailable):
    """Too much is at work already; the request was not begun."""

    slug = "overloaded"


class NotReady(Unavailable):
    """The shard is not open, or is open under another epoch than ours."""

    part = "shard"


class StaleDefinition(NotReady):
    """Another definition of the exam is in force than the one we go by; nothing was done."""


class ImportUnfinished(Unavailable):
    """A definition is stored, and not all of it is in Redis yet: a worker finishes it."""

    part = "seats"

    def __init__(self, exam: str, cause: str) -> None:
        told = f"the definition of {exam} is stored; its seats follow by themselves"
        super().__init__(f"{told}, or when it is imported again ({cause})", applied=True)
        self.told = told


class SeatsUnavailable(Unavailable):
    """Redis is away, too slow, or refuses commands."""

    part = "seats"


class LedgerUnavailable(Unavailable):
    """Postgres is away, too slow, or refuses commands."""

    part = "ledger"
