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
from typing import Any, cast

from aiohttp import web

from quota_service.api.problems import PROBLEMS, ProblemMembers, SeatsLeft
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


def _members(error: errors.QuotaError) -> ProblemMembers:
    """Return the members beside the standard ones: of a refusal those that a problem can have."""
    members: dict[str, Any] = {}
    if isinstance(error, errors.Refused):
        for name, value in vars(error).items():
            member = name.removesuffix("_ms").removesuffix("_s")
            if member in ProblemMembers.__annotations__:
                members[member] = rfc3339(value) if name.endswith("_ms") else value
        if error.field:
            members["errors"] = [{"field": error.field, "detail": str(error)}]
    match error:
        case errors.SoldOut(left=left):
            members["left"] = [_left(seats) for seats in left]
        case errors.DefinitionRefused(problems=wrong) | InvalidRequest(wrong=wrong):
            members["errors"] = [{"field": field, "detail": detail} for field, detail in wrong]
        case PayloadTooLarge(max_bytes=max_bytes):
            members["max_bytes"] = max_bytes
        case errors.Unavailable(part=part):
            members["part"] = part
    return cast("ProblemMembers", members)


def _left(seats: errors.SeatsLeft) -> SeatsLeft:
    return {
        "venue": seats.venue,
        "subject": seats.subject,
        "remaining": seats.remaining,
        "offered": seats.is_offered,
    }
