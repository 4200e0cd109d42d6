"""Turns the service's errors into problem answers; the one place that pairs the two.

QuotaError
└── BadRequest              what the API itself refuses before any use case runs
    ├── MalformedRequest        400
    ├── MalformedJson           400
    ├── IdempotencyKeyMissing   400
    ├── IdempotencyKeyAmbiguous 400
    ├── Unauthorized            401
    ├── Forbidden               403
    ├── BodyTooSlow             408
    ├── PayloadTooLarge         413
    ├── ContentEncodingRefused  415
    ├── InvalidRequest          422  with every member that is wrong
    ├── NationalIdRefused       422
    └── LastEventIdMalformed    422
"""

import logging
from collections.abc import Sequence

from aiohttp import web

from quota_service.api.problems import PROBLEMS, ProblemMembers
from quota_service.domain import errors
from quota_service.domain.definition import rfc3339
from quota_service.http.response import Response

log = logging.getLogger(__name__)


class BadRequest(errors.QuotaError):
    """Refused by the API itself; nothing was begun."""


class ClientLeft(Exception):
    """The client went away before the end of its body; nobody is there to be answered."""


class MalformedRequest(BadRequest):
    """The request is not well-formed HTTP."""

    slug = "malformed-request"


class MalformedJson(BadRequest):
    """The body is not JSON."""

    slug = "malformed-json"


class IdempotencyKeyMissing(BadRequest):
    """The header is missing or empty."""

    slug = "idempotency-key-missing"


class IdempotencyKeyAmbiguous(BadRequest):
    """There are several headers, and they differ."""

    slug = "idempotency-key-ambiguous"


class Unauthorized(BadRequest):
    """No valid key or signature; nothing more is said."""

    slug = "unauthorized"


class Forbidden(BadRequest):
    """The key lacks the scope; nothing more is said."""

    slug = "forbidden"


class BodyTooSlow(BadRequest):
    """The body did not arrive in the time a request has."""

    slug = "body-too-slow"


class PayloadTooLarge(BadRequest):
    """The body is over the limit."""

    slug = "payload-too-large"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the body is larger than {max_bytes} bytes")
        self.max_bytes = max_bytes


class ContentEncodingRefused(BadRequest):
    """The body is encoded; nothing is ever decoded here."""

    slug = "content-encoding-refused"


class InvalidRequest(BadRequest):
    """Members that are wrong, as (field, detail)."""

    slug = "invalid-request"

    def __init__(self, wrong: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field} {detail}" for field, detail in wrong[:3]))
        self.wrong = tuple(wrong)


class NationalIdRefused(InvalidRequest):
    """The candidate id is a resident ID number; the number itself is never repeated."""

    slug = "national-id-refused"

    def __init__(self) -> None:
        super().__init__([("candidate", "is a resident ID number; send an opaque id of your own")])


class LastEventIdMalformed(InvalidRequest):
    """The header is not the id of an event of a stream."""

    slug = "last-event-id-malformed"

    def __init__(self) -> None:
        super().__init__([("Last-Event-ID", "must be the id of an event of this stream")])


def answer_to(error: BaseException | None) -> Response:
    """Return the answer to any failure of a handler; what nobody foresaw is logged, and a 500."""
    if isinstance(error, errors.QuotaError):
        answer = answer_for(error)
        if isinstance(error, errors.Unavailable):
            log.info("unavailable", extra={"part": error.part, "cause": str(error)})
        elif answer.status == web.HTTPInternalServerError.status_code:
            log.error("request failed", exc_info=error)
        return answer
    log.error("request failed", exc_info=error)
    return PROBLEMS["internal-error"].response("the request id finds the cause in the logs")


def answer_for(error: errors.QuotaError) -> Response:
    """Return the problem answer an error stands for."""
    detail = str(error)
    if isinstance(error, ContentEncodingRefused):
        return PROBLEMS[error.slug].response(detail, headers={"Accept-Encoding": "identity"})
    if isinstance(error, errors.SeatsUnavailable | errors.LedgerUnavailable):
        # What the driver says names hosts and users: that is for the log.
        detail = f"the {error.part} cannot be reached at the moment; nothing was lost, ask again"
    if isinstance(error, errors.ImportUnfinished):
        detail = error.told
    return PROBLEMS[error.slug].response(detail, **_members(error))


def _members(error: errors.QuotaError) -> ProblemMembers:  # noqa: C901, PLR0911, PLR0912  one line an error
    match error:
        case errors.SoldOut(left=left):
            return {
                "left": [
                    {
                        "venue": q.venue,
                        "subject": q.subject,
                        "remaining": q.remaining,
                        "offered": q.is_offered,
                    }
                    for q in left
                ]
            }
        case errors.SessionConflict():
            return {"session": error.session, "reservation": error.reservation}
        case errors.TooManyUnpaidHolds():
            ends_at = rfc3339(error.pause_ends_at_ms)
            return {"unpaid_holds": error.unpaid_holds, "pause_ends_at": ends_at}
        case errors.RegistrationNotOpen() | errors.RefundNotOpen():
            return {"opens_at": rfc3339(error.opens_at_ms)}
        case errors.RegistrationClosed() | errors.RefundClosed():
            return {"closed_at": rfc3339(error.closed_at_ms)}
        case errors.SessionStarted():
            return {"session": error.session, "started_at": rfc3339(error.started_at_ms)}
        case errors.ExamNotOver():
            return {"ends_at": rfc3339(error.ends_at_ms)}
        case errors.ExamUnfinished():
            return {"unfinished": error.left}
        case errors.NoticeNotAccepted():
            return {"version": error.version, **_named("accepted_notice", error)}
        case errors.UnknownVenue() | errors.UnknownSubject():
            return _named(error.field, error)
        case errors.SameSessionTwice(session=session, subjects=subjects):
            return {"session": session, "subjects": subjects, **_named("subjects", error)}
        case errors.IdempotencyKeyReused():
            return _named("Idempotency-Key", error)
        case errors.EventIdReused():
            return _named("webhook-id", error)
        case errors.TicketInvalid() | errors.TicketOfAnotherExam():
            return _named("ticket", error)
        case (
            errors.WaitingRoomPassRequired()
            | errors.PassInvalid()
            | errors.PassExpired()
            | errors.PassEnded()
        ):
            return _named("Waiting-Room-Pass", error)
        case errors.NotYourTurn(threshold=threshold, serving=serving, poll_after_s=poll_after_s):
            return {"threshold": threshold, "serving": serving, "poll_after": poll_after_s}
        case errors.KeyShareUsed():
            return {"key_share_max_percent": error.share_max_percent}
        case errors.VenueChangesUsed():
            return {"venue_changes_max": error.venue_changes_max}
        case errors.RefundUsed():
            return {"reservation": error.reservation}
        case errors.ReservationEnded():
            return {"state": error.state}
        case errors.DefinitionRefused(problems=wrong) | InvalidRequest(wrong=wrong):
            return {"errors": [{"field": field, "detail": detail} for field, detail in wrong]}
        case PayloadTooLarge():
            return {"max_bytes": error.max_bytes}
        case errors.Unavailable():
            return {"part": error.part}
        case _:
            return {}


def _named(field: str, error: errors.QuotaError) -> ProblemMembers:
    return {"errors": [{"field": field, "detail": str(error)}]}
