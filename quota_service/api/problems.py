"""Problem types (RFC 9457): every way a request can be answered with an error, and its status.

The table is what responses, the OpenAPI document and `/problems/{slug}` are made from, so a slug
that is not in it cannot be sent. `answer_to` is the one place that pairs an error with its problem.
Over 400 lines because the table has an entry for each problem.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

from aiohttp import web
from pydantic import Field, WithJsonSchema

from quota_service.api.models import (
    Answer,
    ASubjectId,
    AVenueId,
    Count,
    Positive,
    Rank,
    SeatCount,
    Seconds,
    SubjectId,
    Time,
    VenueId,
)
from quota_service.api.pauses import Scope, pause_json, scope_json
from quota_service.api.refusals import RefusalLog
from quota_service.domain import errors
from quota_service.domain.definition import rfc3339
from quota_service.domain.reservation import RESERVATION_ID, State
from quota_service.http.errors import ContentEncodingRefused, InvalidRequest, PayloadTooLarge
from quota_service.http.problems import ProblemType
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.schema import (
    ENTRY_EXAMPLE,
    EXAM_EXAMPLE,
    RESERVATION_EXAMPLE,
    Identifier,
    Matching,
    example,
)
from quota_service.waiting_list.entry import ENTRY_ID

log = logging.getLogger(__name__)


def _errors(name: str, detail: str) -> dict[str, Any]:
    return {"errors": [{"field": name, "detail": detail}]}


# fmt: off
_TYPES = (
    ProblemType("malformed-request", 400,
                "The request is not well-formed HTTP/1.1; its connection is closed when its end "
                "is not known."),
    ProblemType("malformed-json", 400, "The body is not JSON."),
    ProblemType("idempotency-key-missing", 400,
                "A reservation needs an Idempotency-Key header, so that it can be repeated "
                "safely."),
    ProblemType("idempotency-key-ambiguous", 400,
                "The request has several Idempotency-Key headers, and they differ."),
    ProblemType("unauthorized", 401,
                "There is no valid API key or candidate token, or the callback's signature is not "
                "valid."),
    ProblemType("forbidden", 403,
                "The API key does not have the scope needed, or is for other exams; or the "
                "candidate token is for another candidate or exam, or for other calls."),
    ProblemType("waiting-room-pass-required", 403,
                "The exam has a waiting room: join it, claim a place when the turn comes, and "
                "send the pass in Waiting-Room-Pass.", _errors("Waiting-Room-Pass", "is missing")),
    ProblemType("pass-invalid", 403,
                "The pass was not issued to this candidate for this exam.",
                _errors("Waiting-Room-Pass", "was not issued to this candidate")),
    ProblemType("pass-expired", 403,
                "The pass has expired; join the waiting room again.",
                _errors("Waiting-Room-Pass", "has expired")),
    ProblemType("pass-ended", 403,
                "The place of the pass was finished, or was idle for too long; join the "
                "waiting room again.", _errors("Waiting-Room-Pass", "has ended")),
    ProblemType("code-invalid", 403,
                "The code is none of this exam, or was revoked.",
                _errors("code", "is not a valid code of this exam")),
    ProblemType("not-found", 404, "There is nothing at this address."),
    ProblemType("unknown-exam", 404, "There is no exam of this id."),
    ProblemType("unknown-reservation", 404,
                "There is no reservation of this id."),
    ProblemType("unknown-entry", 404,
                "The waiting list of the exam has no entry of this id."),
    ProblemType("unknown-set-aside", 404,
                "The exam has no set-aside of this id."),
    ProblemType("unknown-code", 404,
                "The set-aside has no code of this id."),
    ProblemType("unknown-refund", 404,
                "No refund of this id is due for the exam."),
    ProblemType("unknown-payment", 404,
                "There is no unreadable payment event of this id."),
    ProblemType("unknown-release", 404,
                "The exam has no seat release of this id."),
    ProblemType("unknown-webhook-endpoint", 404,
                "There is no webhook endpoint of this id."),
    ProblemType("method-not-allowed", 405,
                "The address does not take this method; Allow lists those it takes."),
    ProblemType("body-too-slow", 408,
                "The body did not arrive within the request timeout; nothing was started."),
    ProblemType("sold-out", 409,
                "No venue asked for has a seat left in every subject asked for. Where the exam has "
                "a waiting list, `waiting_list` is its address: join it instead of asking again.",
                {"left": [
                    {"venue": "jinan", "subject": "qms", "remaining": 0, "offered": True},
                    {"venue": "jinan", "subject": "general", "remaining": 41, "offered": True},
                ], "waiting_list": f"/v1/exams/{EXAM_EXAMPLE}/waiting-list"},
                optional=("waiting_list",)),
    ProblemType("already-paused", 409,
                "Exactly this is paused already; the members tell the pause. Resume it first.",
                {"scope": {"venue": None, "subject": None}, "stops": "reserving",
                 "reason": "the payment provider is down; back at about 12:40",
                 "since": "2023-03-14T04:05:00.000Z", "retry_after_s": 60}),
    ProblemType("not-paused", 409,
                "There is no pause of exactly this venue and subject to end.",
                {"scope": {"venue": "jinan", "subject": None}}),
    ProblemType("code-used", 409,
                "The code was used as often as it may be. It can be used again once a reservation "
                "made with it has ended.", _errors("code", "was used as often as it may be")),
    ProblemType("set-aside-over", 409,
                "The time of the set-aside has come: what was left of its seats is on open sale. "
                "Reserve without a code."),
    ProblemType("not-set-aside", 409,
                "The set-aside of the code has no seats of these subjects at one of the venues "
                "asked for; choose others, or reserve without a code."),
    ProblemType("venue-closed", 409,
                "Every venue asked for is closed for sale; the others may have seats.",
                {"closed_venues": ["jinan"]}),
    ProblemType("session-conflict", 409,
                "The candidate already has a reservation in one of the sessions.",
                {"session": "day1-pm", "reservation": RESERVATION_EXAMPLE}),
    ProblemType("too-many-unpaid-holds", 409,
                "So many holds of the candidate ended unpaid that the next one must wait until "
                "`pause_ends_at`. A hold that is paid late does not count.",
                {"unpaid_holds": 3, "pause_ends_at": "2023-03-14T04:40:00.000Z"}),
    ProblemType("key-share-used", 409,
                "Seats are left, but unpaid holds made with this API key have all of them that "
                "one key may have. Ask again when some of them are paid or have ended.",
                {"key_share_max_percent": 50}),
    ProblemType("registration-not-open", 409,
                "The registration window has not opened yet.",
                {"opens_at": "2023-03-14T04:00:00.000Z"}),
    ProblemType("registration-closed", 409,
                "The registration window is over.", {"closed_at": "2023-03-22T04:00:00.000Z"}),
    ProblemType("exam-archived", 410,
                "The exam is over and archived: its bookings can be read, and nothing else."),
    ProblemType("exam-not-over", 409,
                "An exam can be archived once its windows and its last sitting are over.",
                {"ends_at": "2023-05-14T09:00:00.000Z"}),
    ProblemType("exam-unfinished", 409,
                "Something of the exam is not finished: holds, payments, money that is due "
                "back, refunds, or journal entries a person has to look at.",
                {"unfinished": ["refunds_due"]}),
    ProblemType("candidates-waiting", 409,
                "The definition has no waiting room, or no waiting list, and candidates wait in "
                "the one that the exam has. `?force=true` removes it all the same; then everybody "
                "can reserve at once, and the entries of the list are over.", {"waiting": 1200}),
    ProblemType("session-started", 409,
                "The first sitting of the order has begun.",
                {"session": "day1-am", "started_at": "2023-05-13T01:00:00.000Z"}),
    ProblemType("reservation-ended", 409,
                "The reservation was released or has expired; reserve again.",
                {"state": "expired"}),
    ProblemType("already-confirmed", 409,
                "The reservation is paid and confirmed."),
    ProblemType("payment-in-progress", 409,
                "A payment is being recorded; read the reservation again in a second."),
    ProblemType("change-in-progress", 409,
                "A change of venue is being recorded; read the reservation again in a second."),
    ProblemType("venue-changes-used", 409,
                "The reservation has changed its venue as often as the exam allows.",
                {"venue_changes_max": 5}),
    ProblemType("not-confirmed", 409,
                "Only a booking can be refunded; release a hold with DELETE."),
    ProblemType("refund-used", 409,
                "A candidate has one refund for an exam, and has used it.",
                {"reservation": RESERVATION_EXAMPLE}),
    ProblemType("refund-not-open", 409,
                "The refund window has not opened yet.", {"opens_at": "2023-03-28T04:00:00.000Z"}),
    ProblemType("refund-closed", 409,
                "The refund window is over.", {"closed_at": "2023-03-30T04:00:00.000Z"}),
    ProblemType("candidate-tokens-off", 409,
                "The service makes no candidate tokens: it has no secret to sign them."),
    ProblemType("waiting-room-off", 409,
                "The exam has no waiting room; reserve without a pass."),
    ProblemType("not-your-turn", 409,
                "The turn of the ticket has not come; ask for the waiting room again, and claim "
                "then.", {"threshold": "1f" * 32, "serving": 0, "poll_after": 7.5}),
    ProblemType("turn-passed", 409,
                "The turn of the ticket came and was not claimed in time; join again, at the "
                "back."),
    ProblemType("ticket-used", 409,
                "The pass of the ticket has ended, or a later ticket was used; join again, at the "
                "back."),
    ProblemType("waiting-list-off", 409,
                "The exam has no waiting list."),
    ProblemType("waiting-list-suspended", 409,
                "Nobody can join the waiting list at the moment; those who wait are served."),
    ProblemType("waiting-list-full", 409,
                "As many entries wait for one of the seats as may; try without that venue.",
                {"full_venue": "jinan", "full_subject": "qms", "waiting": 10000}),
    ProblemType("already-listed", 409,
                "The candidate is on the waiting list; leave it first to wait for something else.",
                {"entry": ENTRY_EXAMPLE}),
    ProblemType("seats-on-sale", 409,
                "A venue has a seat in every subject on open sale: reserve there.",
                {"on_sale_at": "tianjin"}),
    ProblemType("source-off", 409,
                "The draw of the exam has no public source and no list of entries: the seed alone "
                "decides it."),
    ProblemType("entries-open", 409,
                "The entries of the draw are not frozen yet.",
                {"entries_close_at": "2023-03-14T03:50:00.000Z"}),
    ProblemType("not-in-draw", 409,
                "The candidate of the ticket is not among the entries of the draw."),
    ProblemType("source-not-due", 409,
                "The source of the draw has not come yet.",
                {"source_at": "2023-03-14T03:55:00.000Z"}),
    ProblemType("source-known", 409,
                "The outcome of the source of the draw is known and cannot change.",
                {"evidence": "03 11 17 22 28 30, 07"}),
    ProblemType("opened-without-draw", 409,
                "Ops have finally decided to open without the source of the draw.",
                {"decided_at": "2023-03-14T04:20:00.000Z"}),
    ProblemType("release-exists", 409,
                "The exam already has a seat release with this id, with another body or from its "
                "definition; ids are never used again.",
                _errors("id", "the exam has another seat release 'evening'")),
    ProblemType("release-done", 409,
                "The seat release has happened; only one that is planned can be cancelled."),
    ProblemType("too-many-releases", 409,
                "As many seat releases of the exam are planned as there may be at once.",
                {"releases_max": 100}),
    ProblemType("webhook-endpoint-disabled", 409,
                "Nothing is sent to the webhook endpoint; enable it first."),
    ProblemType("too-many-webhook-endpoints", 409,
                "There are as many webhook endpoints as there may be.", {"endpoints_max": 32}),
    ProblemType("payload-too-large", 413,
                "The body is larger than this service takes.", {"max_bytes": 16384}),
    ProblemType("content-encoding-refused", 415,
                "The body has a Content-Encoding; send it as it is."),
    ProblemType("invalid-request", 422,
                "The request is well-formed, but members of it are invalid; each is named.",
                _errors("subjects[1]", "is duplicated")),
    ProblemType("national-id-refused", 422,
                "The candidate id is a resident ID number; send an opaque id of your own instead.",
                _errors("candidate", "is a resident ID number; send an opaque id of your own")),
    ProblemType("last-event-id-malformed", 422,
                "The Last-Event-ID is not the id of an event of the stream; omit it to start "
                "with a snapshot.",
                _errors("Last-Event-ID", "must be the id of an event of this stream")),
    ProblemType("notice-not-accepted", 422,
                "The candidate has to accept the notice in its current version.",
                {"version": "2023-1", **_errors("accepted_notice", "must be '2023-1'")}),
    ProblemType("unknown-venue", 422,
                "The exam has no such venue.",
                _errors("venues[0]", "the exam has no venue 'atlantis'")),
    ProblemType("unknown-subject", 422,
                "The exam has no such subject.",
                _errors("subjects[0]", "the exam has no subject 'alchemy'")),
    ProblemType("unknown-session", 422,
                "The exam has no such session.",
                _errors("session", "the exam has no session 'night'")),
    ProblemType("unknown-quota", 422,
                "The exam has no seats for this subject at this venue; give it some, or 0, by its "
                "definition.", _errors("seats.jinan.ems", "the exam has no quota jinan/ems")),
    ProblemType("too-many-seats", 422,
                "The quota would have more seats than it may.",
                {"seats_max": 1_000_000,
                 **_errors("seats.jinan.qms", "jinan/qms would have more than 1000000 seats")}),
    ProblemType("release-past", 422,
                "A seat release has to be planned for a time that is to come.",
                _errors("at", "is not later than now")),
    ProblemType("release-too-late", 422,
                "At the time of the seat release nobody could reserve its seats any more.",
                _errors("at", "2023-03-22T04:00:00.000Z is not before registration closes "
                              "(2023-03-22T04:00:00.000Z)")),
    ProblemType("same-session-twice", 422,
                "Two of the subjects are in the same session; a candidate takes one in each.",
                {"session": "day1-pm", "subjects": ["qms", "ems"],
                 **_errors("subjects", "qms and ems are both in session day1-pm; choose one")}),
    ProblemType("until-out-of-range", 422,
                "The time until which a candidate waits is past, or after registration closes.",
                _errors("until", "must be later than now, and not later than "
                                 "2023-03-22T04:00:00.000Z")),
    ProblemType("idempotency-key-reused", 422,
                "The Idempotency-Key was used before with another body.",
                _errors("Idempotency-Key", "was used before with another body")),
    ProblemType("event-id-reused", 422,
                "The webhook-id was used before with another body.",
                _errors("webhook-id", "was used before with another body")),
    ProblemType("ticket-invalid", 422,
                "The ticket was not issued to this candidate.",
                _errors("ticket", "was not issued to this candidate")),
    ProblemType("ticket-of-another-exam", 422,
                "The ticket is for the waiting room of another exam.",
                _errors("ticket", "is a ticket of another exam")),
    ProblemType("signature-invalid", 422,
                "The source is a drand round, and this is not its signature.",
                _errors("evidence", "is not the signature of round 2000000 by the chain")),
    ProblemType("definition-refused", 422,
                "The exam definition cannot be imported; every reason is listed.",
                _errors("seats.jinan.qms", "cannot be 10 while 12 seats are taken")),
    ProblemType("too-many-wrong-codes", 429,
                "Too many wrong codes were sent; wait until `pause_ends_at`.",
                {"pause_ends_at": "2023-03-14T04:41:00.000Z"}),
    ProblemType("rate-limited", 429,
                "The caller asks faster than it may; RateLimit-Policy says how fast, Retry-After "
                "when.", {"policy": "key", "limit_per_s": 20000}),
    ProblemType("internal-error", 500,
                "An unexpected error of the service; the request id finds it in the logs."),
    ProblemType("not-ready", 503,
                "A part of the service is unavailable; nothing acknowledged is lost. Repeat after "
                "Retry-After, with the same Idempotency-Key.", {"part": "seats"}),
    ProblemType("paused", 503,
                "Ops have paused this, for the reason given; nothing was done. "
                "Ask again after Retry-After.",
                {"scope": {"venue": "jinan", "subject": None}, "stops": "reserving",
                 "reason": "the payment provider is down; back at about 12:40",
                 "since": "2023-03-14T04:05:00.000Z", "retry_after_s": 60}),
    ProblemType("overloaded", 503,
                "Too many requests are in progress and this one was not started; ask again after "
                "Retry-After.", {"part": "service"}),
)
# fmt: on

PROBLEMS: Mapping[str, ProblemType] = {problem.slug: problem for problem in _TYPES}


def _one_of(*values: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": [str(value) for value in values]})


ProblemAddress = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "uri-reference"}),
    example(PROBLEMS["sold-out"].uri),
]


class ProblemMeaning(Answer):
    """A problem type."""

    type: ProblemAddress
    title: Annotated[str, example(PROBLEMS["sold-out"].title)]
    """The same in every problem of the type."""
    status: Annotated[
        int,
        WithJsonSchema({"enum": sorted({problem.status for problem in PROBLEMS.values()})}),
        example(PROBLEMS["sold-out"].status),
    ]
    """The HTTP status it comes with."""
    meaning: Annotated[str, example(PROBLEMS["sold-out"].meaning)]
    """What it means and what to do."""


class WrongPart(Answer):
    """One invalid part of a request."""

    field: str
    """Where: a member such as `subjects[1]`, a parameter, a header."""
    detail: str
    """Why it is invalid, for people."""


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
    """Every invalid part of the request."""
    left: Sequence[SeatsLeft]
    """What is left of each quota asked for, in the order it was asked for."""
    session: Identifier
    """Id of the session."""
    subjects: Sequence[ASubjectId]
    """The subjects that share the session."""
    reservation: Annotated[str, Matching(RESERVATION_ID, "the id of a reservation")]
    """The reservation that causes the refusal."""
    unpaid_holds: Positive
    """Holds of the candidate that ended unpaid."""
    pause_ends_at: Time
    """When the candidate can make the next hold."""
    key_share_max_percent: Annotated[int, Field(ge=1, le=100)]
    """The share of a quota one API key may have unpaid."""
    venue_changes_max: Count
    """How often a reservation can change its venue."""
    releases_max: Positive
    """Seat releases that may be planned at once."""
    endpoints_max: Positive
    """Webhook endpoints there may be."""
    seats_max: Positive
    """Seats of one quota."""
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
    """What is not finished."""
    waiting: Positive
    """Candidates who wait for their turn, or for seats."""
    waiting_list: str
    """Address of the waiting list that can be joined instead."""
    full_venue: VenueId
    """The venue of the quota that so many wait for."""
    full_subject: SubjectId
    """Its subject."""
    entry: Annotated[str, Matching(ENTRY_ID, "the id of an entry")]
    """The entry that the candidate has in the waiting list."""
    on_sale_at: VenueId
    """The venue that has seats."""
    closed_venues: Sequence[AVenueId]
    """The venues that are closed for sale."""
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
    entries_close_at: Time
    """When the entries of the draw are frozen."""
    source_at: Time
    """When the source of the draw comes."""
    evidence: str
    """The outcome of the source of the draw."""
    decided_at: Time
    """When ops decided to open without the source."""
    max_bytes: Positive
    """The largest body that is taken, in bytes."""
    policy: str
    """The limit: `key`, `token` or `address`."""
    limit_per_s: Positive
    """Requests a second that are taken."""
    part: str
    """The part of the service that is unavailable."""
    scope: Scope
    """What is paused."""
    stops: Annotated[str, _one_of("reserving", "changes")]
    """What the pause stops; `changes`: reserving and changes of venue."""
    reason: str
    """Why it is paused."""
    since: Time
    """Since when it is paused."""
    retry_after_s: Positive
    """Seconds after which to ask again, as in Retry-After."""


class Problem(Answer):
    """A problem by RFC 9457.

    Clients distinguish problems by `type`, never by `title` or `detail`.
    """

    type: ProblemAddress
    """Which problem it is; at this address is what it means."""
    title: str
    """The same for every problem of the type."""
    status: Annotated[int, Field(ge=400, le=599)]
    """The HTTP status."""
    detail: str
    """What happened this time, for people."""


def answer_to(error: BaseException | None, refusals: RefusalLog, request: Request) -> Response:
    """Return the answer to any failure of a handler; an unexpected one is logged, and a 500.

    A refusal is logged in the context of its request.
    """
    if isinstance(error, errors.QuotaError):
        answer = answer_for(error)
        if isinstance(error, errors.Unavailable):
            refusals.tell_unavailable(error)
        elif answer.status == web.HTTPInternalServerError.status_code:
            log.error("request failed", exc_info=error)
        else:
            refusals.tell(error.slug, request)
        return answer
    log.error("request failed", exc_info=error)
    return PROBLEMS["internal-error"].response("the request id finds the cause in the logs")


def answer_for(error: errors.QuotaError) -> Response:
    """Return the problem answer of an error."""
    detail = str(error)
    if isinstance(error, ContentEncodingRefused):
        return PROBLEMS[error.slug].response(detail, headers={"Accept-Encoding": "identity"})
    if isinstance(error, errors.Paused):
        later = {"Retry-After": str(error.pause.retry_after_s)}
        return PROBLEMS[error.slug].response(detail, headers=later, **_members(error))
    if isinstance(error, errors.SeatsUnavailable | errors.LedgerUnavailable):
        # What the driver says names hosts and users: that is for the log.
        detail = f"the {error.part} cannot be reached at the moment; nothing was lost, ask again"
    if isinstance(error, errors.ImportUnfinished):
        detail = error.summary
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
    return cast("ProblemMembers", {**members, **_own_members(error)})


def _own_members(error: errors.QuotaError) -> Mapping[str, Any]:
    """Return the members that are told otherwise than the error has them."""
    members: dict[str, Any] = {}
    match error:
        case errors.SoldOut(left=left, list_of=list_of):
            members = {"left": [_left(seats) for seats in left]}
            if list_of:
                members["waiting_list"] = f"/v1/exams/{list_of}/waiting-list"
        case errors.Paused(pause=pause) | errors.AlreadyPaused(pause=pause):
            members |= pause_json(pause)
        case errors.NotPaused(venue=venue, subject=subject):
            members = {"scope": scope_json(venue, subject)}
        case errors.DefinitionRefused(problems=wrong) | InvalidRequest(wrong=wrong):
            members = {"errors": [{"field": field, "detail": detail} for field, detail in wrong]}
        case PayloadTooLarge(max_bytes=max_bytes):
            members = {"max_bytes": max_bytes}
        case errors.Unavailable(part=part):
            members = {"part": part}
    return members


def _left(seats: errors.SeatsLeft) -> SeatsLeft:
    return {
        "venue": seats.venue,
        "subject": seats.subject,
        "remaining": seats.remaining,
        "offered": seats.is_offered,
    }
