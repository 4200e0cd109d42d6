"""The schema of an exam definition as it is imported, for the OpenAPI document.

Its limits are those of the definition parser in the domain. What a schema cannot say (a subject
names a session of the same exam, a window opens before it closes) the parser still checks.
"""

from quota_service.api.openapi_parts import (
    CLOCK_PATTERN,
    DATE_PATTERN,
    OFFSET_PATTERN,
    Schema,
    closed,
    currency,
    identifier,
    many,
    record,
    texts,
    whole,
)
from quota_service.domain.definition_fields import TIME_ZONE_NAME
from quota_service.domain.definition_parts import (
    DEFAULT_CHECKOUT_GRACE_S,
    DEFAULT_CLAIM_GRACE_S,
    DEFAULT_EXPIRY_SLACK_S,
    DEFAULT_FAIR_USE,
    DEFAULT_IDLE_S,
    DEFAULT_PASS_TTL_S,
    DEFAULT_PLACES_MAX,
    DEFAULT_RATE_MAX_PER_S,
    DEFAULT_RATE_MIN_PER_S,
    DEFAULT_RATE_PER_S,
    MAX_CHECKOUT_GRACE_S,
    MAX_CLAIM_GRACE_S,
    MAX_EXPIRY_SLACK_S,
    MAX_FEE,
    MAX_NOTICE,
    MAX_PASS_TTL_S,
    MAX_PLACES,
    MAX_RATE_PER_S,
    MAX_TITLE,
    MAX_TTL_S,
    MAX_UNPAID_HOLDS,
    MAX_UNPAID_PAUSE_S,
    MAX_VENUE_CHANGES,
    MIN_PASS_TTL_S,
    MIN_RATE_PER_S,
)
from quota_service.domain.exam import MAX_CAPACITY, MAX_SESSIONS, MAX_SUBJECTS, MAX_VENUES

_LOCAL_TIME: Schema = {
    "type": "string",
    "pattern": f"^{DATE_PATTERN}[Tt ]{CLOCK_PATTERN}{OFFSET_PATTERN}?$",
    "description": "RFC 3339, to the millisecond; without an offset it is a time in `time_zone`.",
}


def _texts(longest: int) -> Schema:
    return texts(minLength=1, maxLength=longest, pattern=r"\S")


def _span(description: str, start: str, end: str, **others: Schema) -> Schema:
    return closed(record(description, {**others, start: _LOCAL_TIME, end: _LOCAL_TIME}))


_SEATS = whole("Seats released.", 0, MAX_CAPACITY)


def _row(count: str) -> Schema:
    members = {"venue": identifier("Its id."), "subject": identifier("Its id."), count: _SEATS}
    return closed(record("The seats of one subject at one venue.", members))


def _rate(meaning: str, default: float) -> Schema:
    limits = {"minimum": MIN_RATE_PER_S, "maximum": MAX_RATE_PER_S, "default": default}
    return {"type": "number", "description": meaning, **limits}


_WAITING_ROOM = {
    "rate_per_s": _rate("Candidates let in a second at the start.", DEFAULT_RATE_PER_S),
    "rate_max_per_s": _rate("The most a second.", DEFAULT_RATE_MAX_PER_S),
    "rate_min_per_s": _rate("The least a second.", DEFAULT_RATE_MIN_PER_S),
    "places_max": {
        **whole("Candidates with a place at once.", 1, MAX_PLACES),
        "default": DEFAULT_PLACES_MAX,
    },
    "pass_ttl_s": {
        **whole("Life of a pass, in seconds.", MIN_PASS_TTL_S, MAX_PASS_TTL_S),
        "default": DEFAULT_PASS_TTL_S,
    },
    "idle_s": {
        **whole("Seconds unused after which a place is free for others.", 1, MAX_PASS_TTL_S),
        "default": DEFAULT_IDLE_S,
    },
    "claim_grace_s": {
        **whole("Seconds that a turn is honoured after it came.", 1, MAX_CLAIM_GRACE_S),
        "default": DEFAULT_CLAIM_GRACE_S,
    },
}


_FAIR_USE = {
    "unpaid_holds_max": {
        **whole("Holds of a candidate that may end unpaid without a pause.", 1, MAX_UNPAID_HOLDS),
        "default": DEFAULT_FAIR_USE.unpaid_holds_max,
    },
    "unpaid_pause_s": {
        **whole("First pause, in seconds; doubled by each further one.", 1, MAX_UNPAID_PAUSE_S),
        "default": DEFAULT_FAIR_USE.unpaid_pause_s,
    },
    "unpaid_pause_max_s": {
        **whole("Longest pause, in seconds.", 1, MAX_UNPAID_PAUSE_S),
        "default": DEFAULT_FAIR_USE.unpaid_pause_max_s,
    },
    "venue_changes_max": {
        **whole("How often a reservation can change its venue.", 0, MAX_VENUE_CHANGES),
        "default": DEFAULT_FAIR_USE.venue_changes_max,
    },
    "key_share_max_percent": {
        **whole("Share of a quota's seats one API key may have in unpaid holds.", 1, 100),
        "default": DEFAULT_FAIR_USE.key_share_max_percent,
    },
}


FAIR_USE_RULES = record(
    "What keeps one candidate from having seats that others would pay for.", _FAIR_USE
)

WAITING_ROOM_RULES = record(
    "How the waiting room lets candidates in; absent where there is none.", _WAITING_ROOM
)

EXAM_DEFINITION = closed(
    record(
        "An exam as its organiser defines it: what is answered for an exam, and its seats.",
        {
            "id": identifier("The id in the address; may be left out."),
            "title": _texts(MAX_TITLE),
            "time_zone": {
                "type": "string",
                "pattern": f"^{TIME_ZONE_NAME.pattern}$",
                "description": "IANA name of a time zone.",
            },
            "registration": _span("When reservations are taken.", "opens_at", "closes_at"),
            "refund": _span("When refunds are given.", "opens_at", "closes_at"),
            "fee": closed(
                record(
                    "What one subject costs.",
                    {
                        "amount": whole("In minor units (fen).", 0, MAX_FEE),
                        "currency": currency(),
                    },
                )
            ),
            "hold": closed(
                record(
                    "How long an unpaid hold lives, in seconds.",
                    {
                        "ttl_s": whole("From the reservation to its deadline.", 1, MAX_TTL_S),
                        "checkout_grace_s": {
                            **whole("Added when payment begins.", 0, MAX_CHECKOUT_GRACE_S),
                            "default": DEFAULT_CHECKOUT_GRACE_S,
                        },
                        "expiry_slack_s": {
                            **whole("Between deadline and expiry.", 0, MAX_EXPIRY_SLACK_S),
                            "default": DEFAULT_EXPIRY_SLACK_S,
                        },
                    },
                    optional=["checkout_grace_s", "expiry_slack_s"],
                )
            ),
            "fair_use": closed(
                record(
                    "What keeps one candidate from having seats that others would pay for.",
                    _FAIR_USE,
                    optional=list(_FAIR_USE),
                )
            ),
            "waiting_room": closed(
                record(
                    "How the waiting room lets candidates in; without it there is none.",
                    _WAITING_ROOM,
                    optional=list(_WAITING_ROOM),
                )
            ),
            "notice": closed(
                record(
                    "The notice a candidate accepts.",
                    {
                        "version": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,32}$"},
                        "text": _texts(MAX_NOTICE),
                    },
                )
            ),
            "sessions": many(
                _span(
                    "One sitting.",
                    "starts_at",
                    "ends_at",
                    id=identifier("Id of the session."),
                    title=_texts(MAX_TITLE),
                ),
                MAX_SESSIONS,
                "Sittings.",
            ),
            "subjects": many(
                closed(
                    record(
                        "One subject.",
                        {
                            "id": identifier("Id of the subject."),
                            "title": _texts(MAX_TITLE),
                            "session": identifier("Id of its session."),
                        },
                    )
                ),
                MAX_SUBJECTS,
                "What can be taken.",
            ),
            "venues": many(
                closed(
                    record(
                        "One venue.",
                        {"id": identifier("Id of the venue."), "title": _texts(MAX_TITLE)},
                    )
                ),
                MAX_VENUES,
                "Where the exam is taken.",
            ),
            "seats": {
                "description": "The seats of each quota, as venue, subject, seats or as rows.",
                "anyOf": [
                    {
                        "type": "object",
                        "minProperties": 1,
                        "additionalProperties": {"type": "object", "additionalProperties": _SEATS},
                    },
                    {
                        "type": "array",
                        "minItems": 1,
                        "items": {"anyOf": [_row("seats"), _row("capacity")]},
                    },
                ],
            },
            "server_time": {"description": "Ignored, so that an answer can be sent back."},
        },
        optional=["id", "server_time", "fair_use", "waiting_room"],
    )
)
