"""Every way in which the service says no, as one tree of exceptions; over 400 lines, as it is one.

    QuotaError
    ├── Refused                     the request was understood and cannot be done; nothing changed
    │   ├── SoldOut                 409  with what is left at each venue asked for
    │   ├── SessionConflict         409  with the reservation that stands in the way
    │   ├── TooManyUnpaidHolds      409  with when the next one can be made
    │   ├── KeyShareUsed            409  with the share of a quota that a key may have unpaid
    │   ├── RegistrationNotOpen     409  with when it opens
    │   ├── RegistrationClosed      409
    │   ├── SessionStarted          409  with the session that has begun, and when
    │   ├── NoticeNotAccepted       422
    │   ├── UnknownVenue            422
    │   ├── UnknownSubject          422
    │   ├── SameSessionTwice        422
    │   ├── IdempotencyKeyReused    422
    │   ├── EventIdReused           422
    │   ├── ReservationEnded        409
    │   ├── AlreadyConfirmed        409
    │   ├── PaymentInProgress       409
    │   ├── ChangeInProgress        409
    │   ├── VenueChangesUsed        409  with how often it has changed
    │   ├── NotConfirmed            409
    │   ├── RefundUsed              409  with the reservation that was refunded
    │   ├── RefundNotOpen           409  with when it opens
    │   ├── RefundClosed            409
    │   ├── UnknownRefund           404
    │   ├── UnknownPayment          404
    │   ├── UnknownExam             404
    │   ├── ExamArchived            410
    │   ├── ExamNotOver             409  with when it is over
    │   ├── ExamUnfinished          409  with what is left
    │   ├── UnknownReservation      404
    │   ├── WaitingRoomOff          409
    │   ├── TicketInvalid           422
    │   ├── TicketOfAnotherExam     422
    │   ├── NotYourTurn             409  with how far admission has come, and when to ask again
    │   ├── TurnPassed              409
    │   ├── TicketUsed              409
    │   ├── WaitingRoomPassRequired 403
    │   ├── PassInvalid             403
    │   ├── PassExpired             403
    │   ├── PassEnded               403
    │   └── DefinitionRefused       422  with every problem of the definition
    └── Unavailable                 503  nothing was lost; ask again
        ├── Overloaded                   too much is at work already
        ├── NotReady                     the shard is not open under the epoch we know
        │   └── StaleDefinition          another definition is in force than the one we know
        ├── ImportUnfinished             the definition is stored, its seats follow
        ├── SeatsUnavailable             Redis did not answer, or refused the command
        └── LedgerUnavailable            Postgres did not answer, or refused the command

Each class carries a `slug` that never changes; only the API layer turns it into an HTTP status.
An `Unavailable` names the `part` at fault and says with `applied` whether the command may have
taken effect all the same. Over 400 lines because the tree is one, and most of it is data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from quota_service.domain.exam import Exam, Quota


class QuotaError(Exception):
    """The root of everything the service raises on purpose."""

    slug = "internal-error"


class Refused(QuotaError):
    """The request was understood and cannot be done; nothing changed."""


@dataclass(frozen=True, slots=True)
class SeatsLeft:
    """What was left of one quota at the moment of a refusal; a venue may not offer a subject."""

    venue: str
    subject: str
    remaining: int
    is_offered: bool = True


class SoldOut(Refused):
    """No venue asked for has every subject asked for."""

    slug = "sold-out"

    def __init__(self, left: Sequence[SeatsLeft]) -> None:
        super().__init__("no venue asked for has a seat left in every subject asked for")
        self.left = tuple(left)

    @classmethod
    def of(cls, exam: Exam, asked: Iterable[tuple[str, str]], left: Iterable[int]) -> Self:
        """Return the refusal for what is left of each venue and subject asked for."""
        return cls(
            [
                SeatsLeft(venue, subject, seats, is_offered=Quota(venue, subject) in exam.seats)
                for (venue, subject), seats in zip(asked, left, strict=True)
            ]
        )


class SessionConflict(Refused):
    """The candidate already has a subject in one of the sessions."""

    slug = "session-conflict"

    def __init__(self, session: str, reservation: str) -> None:
        super().__init__(f"the candidate already has a reservation in session {session}")
        self.session = session
        self.reservation = reservation


class TooManyUnpaidHolds(Refused):
    """So many holds of the candidate ended unpaid that the next one has to wait."""

    slug = "too-many-unpaid-holds"

    def __init__(self, unpaid_holds: int, pause_ends_at_ms: int) -> None:
        super().__init__(
            f"{unpaid_holds} holds of this candidate ended unpaid: the next one has to wait"
        )
        self.unpaid_holds = unpaid_holds
        self.pause_ends_at_ms = pause_ends_at_ms


class KeyShareUsed(Refused):
    """The API key has as many seats in unpaid holds as it may, and seats are left for others."""

    slug = "key-share-used"

    def __init__(self, share_max_percent: int) -> None:
        super().__init__(
            f"unpaid holds made with this API key have {share_max_percent} percent of the seats"
        )
        self.share_max_percent = share_max_percent


class RegistrationNotOpen(Refused):
    """The registration window has not opened."""

    slug = "registration-not-open"

    def __init__(self, opens_at_ms: int) -> None:
        super().__init__("registration has not opened yet")
        self.opens_at_ms = opens_at_ms


class RegistrationClosed(Refused):
    """The registration window is over."""

    slug = "registration-closed"

    def __init__(self, closed_at_ms: int) -> None:
        super().__init__("registration is closed")
        self.closed_at_ms = closed_at_ms


class SessionStarted(Refused):
    """The first sitting of an order has begun: nothing is reserved or moved any more."""

    slug = "session-started"

    def __init__(self, session: str, started_at_ms: int) -> None:
        super().__init__(f"session {session} has begun")
        self.session = session
        self.started_at_ms = started_at_ms


class NoticeNotAccepted(Refused):
    """The candidate has not accepted the notice in its current version."""

    slug = "notice-not-accepted"

    def __init__(self, version: str) -> None:
        super().__init__(f"accepted_notice must name the current notice, version {version!r}")
        self.version = version


class UnknownVenue(Refused):
    """A venue that the exam does not have."""

    slug = "unknown-venue"

    def __init__(self, field: str, venue: str) -> None:
        super().__init__(f"the exam has no venue {venue!r}")
        self.field = field
        self.venue = venue


class UnknownSubject(Refused):
    """A subject that the exam does not have."""

    slug = "unknown-subject"

    def __init__(self, field: str, subject: str) -> None:
        super().__init__(f"the exam has no subject {subject!r}")
        self.field = field
        self.subject = subject


class SameSessionTwice(Refused):
    """Two subjects of one request share a session."""

    slug = "same-session-twice"

    def __init__(self, session: str, subjects: Sequence[str]) -> None:
        super().__init__(f"{' and '.join(subjects)} are both in session {session}; choose one")
        self.session = session
        self.subjects = tuple(subjects)


class IdempotencyKeyReused(Refused):
    """The idempotency key was used before with another body."""

    slug = "idempotency-key-reused"

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used before with another body")


class EventIdReused(Refused):
    """The provider's event id was used before with another content."""

    slug = "event-id-reused"

    def __init__(self) -> None:
        super().__init__("this webhook-id was used before with another body")


class ReservationEnded(Refused):
    """The reservation was released or has expired."""

    slug = "reservation-ended"

    def __init__(self, state: str) -> None:
        super().__init__(f"the reservation has ended: it is {state}")
        self.state = state


class AlreadyConfirmed(Refused):
    """The reservation is paid and confirmed."""

    slug = "already-confirmed"

    def __init__(self) -> None:
        super().__init__("the reservation is already paid and confirmed")


class PaymentInProgress(Refused):
    """A payment is being recorded at this moment."""

    slug = "payment-in-progress"

    def __init__(self) -> None:
        super().__init__("a payment for the reservation is being recorded; look again in a moment")


class ChangeInProgress(Refused):
    """A change of venue is being recorded at this moment."""

    slug = "change-in-progress"

    def __init__(self) -> None:
        super().__init__("a change of venue is being recorded; look again in a moment")


class VenueChangesUsed(Refused):
    """The reservation has changed its venue as often as it may."""

    slug = "venue-changes-used"

    def __init__(self, venue_changes_max: int) -> None:
        super().__init__(f"the venue can be changed {venue_changes_max} times, which are used")
        self.venue_changes_max = venue_changes_max


class NotConfirmed(Refused):
    """There is no booking that could be refunded."""

    slug = "not-confirmed"

    def __init__(self) -> None:
        super().__init__("the reservation is not confirmed: there is nothing to refund")


class RefundUsed(Refused):
    """The candidate has had the one refund for the exam."""

    slug = "refund-used"

    def __init__(self, reservation: str) -> None:
        super().__init__("the one refund of this candidate for the exam is used")
        self.reservation = reservation


class RefundNotOpen(Refused):
    """The refund window has not opened."""

    slug = "refund-not-open"

    def __init__(self, opens_at_ms: int) -> None:
        super().__init__("the refund window has not opened yet")
        self.opens_at_ms = opens_at_ms


class RefundClosed(Refused):
    """The refund window is over."""

    slug = "refund-closed"

    def __init__(self, closed_at_ms: int) -> None:
        super().__init__("the refund window is over")
        self.closed_at_ms = closed_at_ms


class UnknownRefund(Refused):
    """No refund of that id is due."""

    slug = "unknown-refund"

    def __init__(self) -> None:
        super().__init__("there is no refund of this id for the exam")


class UnknownPayment(Refused):
    """There is no unreadable payment event of this id."""

    slug = "unknown-payment"

    def __init__(self) -> None:
        super().__init__("there is no unreadable payment event of this id")


class UnknownExam(Refused):
    """No exam of that id."""

    slug = "unknown-exam"

    def __init__(self, exam: str) -> None:
        super().__init__(f"there is no exam {exam!r}")


class ExamArchived(Refused):
    """The exam is over and archived: its bookings can be read, and nothing else."""

    slug = "exam-archived"

    def __init__(self, exam: str) -> None:
        super().__init__(f"exam {exam} is archived")
        self.exam = exam


class ExamNotOver(Refused):
    """An exam is archived once its windows and its last sitting are over."""

    slug = "exam-not-over"

    def __init__(self, ends_at_ms: int) -> None:
        super().__init__("the exam is not over yet")
        self.ends_at_ms = ends_at_ms


class ExamUnfinished(Refused):
    """Something of an exam is not at its end: `left` are holds, payments, refunds or a journal."""

    slug = "exam-unfinished"

    def __init__(self, left: Sequence[str]) -> None:
        super().__init__(f"not at their end: {', '.join(left)}")
        self.left = tuple(left)


class UnknownReservation(Refused):
    """No reservation of that id."""

    slug = "unknown-reservation"

    def __init__(self) -> None:
        super().__init__("there is no reservation of this id")


class WaitingRoomOff(Refused):
    """The exam has no waiting room."""

    slug = "waiting-room-off"

    def __init__(self) -> None:
        super().__init__("the exam has no waiting room: reserve without a pass")


class TicketInvalid(Refused):
    """A ticket that we did not give to this candidate."""

    slug = "ticket-invalid"

    def __init__(self) -> None:
        super().__init__("is no ticket of this candidate")


class TicketOfAnotherExam(Refused):
    """A ticket of the waiting room of another exam."""

    slug = "ticket-of-another-exam"

    def __init__(self) -> None:
        super().__init__("is a ticket of another exam")


class NotYourTurn(Refused):
    """The turn of the ticket has not come."""

    slug = "not-your-turn"

    def __init__(self, threshold: str, serving: int, poll_after_s: float) -> None:
        super().__init__("the turn of this ticket has not come yet")
        self.threshold = threshold
        self.serving = serving
        self.poll_after_s = poll_after_s


class TurnPassed(Refused):
    """The turn of the ticket came, and nobody claimed a place in time."""

    slug = "turn-passed"

    def __init__(self) -> None:
        super().__init__("the turn of this ticket has passed: join again, at the back")


class TicketUsed(Refused):
    """The ticket had its place, which was finished or left idle."""

    slug = "ticket-used"

    def __init__(self) -> None:
        super().__init__("the pass of this ticket has ended: join again, at the back")


class WaitingRoomPassRequired(Refused):
    """The exam has a waiting room, and no pass of it was shown."""

    slug = "waiting-room-pass-required"

    def __init__(self) -> None:
        super().__init__("reserving needs a pass of the waiting room, in Waiting-Room-Pass")


class PassInvalid(Refused):
    """A pass that we did not give to this candidate for this exam."""

    slug = "pass-invalid"

    def __init__(self) -> None:
        super().__init__("Waiting-Room-Pass is no pass of this candidate for this exam")


class PassExpired(Refused):
    """A pass whose time is over."""

    slug = "pass-expired"

    def __init__(self) -> None:
        super().__init__("the pass has expired: join the waiting room again")


class PassEnded(Refused):
    """A pass whose place was finished, or went to others because it was not used."""

    slug = "pass-ended"

    def __init__(self) -> None:
        super().__init__("the place of this pass is free again: join the waiting room again")


class DefinitionRefused(Refused):
    """An exam definition that cannot be imported; every problem is listed."""

    slug = "definition-refused"

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{where}: {detail}" for where, detail in problems))
        self.problems = tuple(problems)


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
