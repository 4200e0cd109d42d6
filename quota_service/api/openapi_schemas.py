"""The schemas of what the API answers, for the OpenAPI document.

They say what `render.py` makes, with units. Members may be added to answers later, so these schemas
are open: a client ignores members it does not know. Over 400 lines because every answer has its
schema here, one after the other.
"""

from collections.abc import Collection, Mapping

from pydantic import BaseModel, TypeAdapter

from quota_service.api.openapi_models import schema_of
from quota_service.api.openapi_money import LATER, MONEY_SCHEMAS, NEXT
from quota_service.api.openapi_parts import (
    Schema,
    candidate_id,
    component,
    currency,
    identifier,
    listing,
    one_of,
    record,
    reservation_id,
    texts,
    time,
    whole,
)
from quota_service.api.openapi_room_ops import ROOM_OPS_SCHEMAS
from quota_service.api.openapi_waiting_room import ROOM_SCHEMAS
from quota_service.api.problems import PROBLEMS
from quota_service.api.stream_handlers import STATE_ID
from quota_service.definitions.fields import (
    MAX_CHECKOUT_GRACE_S,
    MAX_EXPIRY_SLACK_S,
    MAX_FEE,
    MAX_TTL_S,
)
from quota_service.definitions.model import FairUseTable, WaitingRoomTable
from quota_service.domain.exam import MAX_CAPACITY
from quota_service.domain.payment import PaymentOutcome, PaymentStatus, RefundReason
from quota_service.domain.reservation import State
from quota_service.registration.audit import Promise


def answered(model: type[BaseModel]) -> Schema:
    """Return the schema of a model that is answered: each member is there, and others may come."""
    schema = schema_of(TypeAdapter(model), mode="serialization")
    del schema["additionalProperties"]
    return schema


def _window(meaning: str) -> Schema:
    return record(
        meaning,
        {
            "opens_at": time("First moment inside the window."),
            "closes_at": time("First moment after the window."),
        },
    )


_TITLE = component("Text")

_EXAM = record(
    "One exam. The seats it has are told by its availability.",
    {
        "id": identifier("Id of the exam."),
        "title": _TITLE,
        "time_zone": {
            "type": "string",
            "description": "IANA name of the time zone of the exam, for showing its times.",
        },
        "registration": _window("When reservations are taken."),
        "refund": _window("When a confirmed reservation can be refunded."),
        "fee": record(
            "What one subject costs one candidate.",
            {"amount": whole("In minor units (fen).", 0, MAX_FEE), "currency": currency()},
        ),
        "hold": record(
            "How long an unpaid hold lives.",
            {
                "ttl_s": whole("Seconds from the reservation to its deadline.", 1, MAX_TTL_S),
                "checkout_grace_s": whole(
                    "Seconds the deadline moves out, once, when payment begins.",
                    0,
                    MAX_CHECKOUT_GRACE_S,
                ),
                "expiry_slack_s": whole(
                    "Seconds after the deadline before the seats go back at the earliest, so that "
                    "a payment already under way can arrive.",
                    0,
                    MAX_EXPIRY_SLACK_S,
                ),
            },
        ),
        "fair_use": answered(FairUseTable),
        "waiting_room": {
            **answered(WaitingRoomTable),
            "description": "How the waiting room lets candidates in; absent where there is none.",
        },
        "notice": record(
            "The notice a candidate accepts when reserving.",
            {
                "version": {"type": "string", "description": "A new text has a new version."},
                "text": component("Text"),
            },
        ),
        "sessions": listing(
            "Sittings; a candidate takes at most one subject in each.",
            record(
                "One sitting.",
                {
                    "id": identifier("Id of the session."),
                    "title": _TITLE,
                    "starts_at": time("Start."),
                    "ends_at": time("End."),
                },
            ),
        ),
        "subjects": listing(
            "What can be taken.",
            record(
                "One subject.",
                {
                    "id": identifier("Id of the subject."),
                    "title": _TITLE,
                    "session": identifier("Id of the session it sits in."),
                },
            ),
        ),
        "venues": listing(
            "Where the exam is taken.",
            record("One venue.", {"id": identifier("Id of the venue."), "title": _TITLE}),
        ),
        "server_time": time("The time by the clock that opens and closes registration."),
    },
    optional=["waiting_room"],
)

_AVAILABILITY_MEMBERS: Mapping[str, Schema] = {
    "exam": identifier("Id of the exam."),
    "version": whole("Counts the steps of the seat counters; equal versions, equal seats.", 0),
    "revision": whole("Names the definition of the exam that this goes by.", 0),
    "as_of": time("When the seats were counted."),
    "quotas": listing(
        "Every quota of the subjects asked for.",
        record(
            "The seats of one subject at one venue.",
            {
                "venue": identifier("Id of the venue."),
                "subject": identifier("Id of the subject."),
                "remaining": whole("Seats that can be reserved now.", 0, MAX_CAPACITY),
                "capacity": whole("Seats released so far.", 0, MAX_CAPACITY),
            },
        ),
    ),
    "venues_with_all": listing(
        "Venues with a seat left in every subject asked for, in the exam's order.",
        identifier("Id of a venue."),
    ),
}


def _event(name: str, meaning: str, data: str, *, optional: Collection[str] = ()) -> Schema:
    """Return the schema of an event whose data is JSON of a component."""
    return record(
        meaning,
        {
            "event": {"const": name},
            "id": {
                "type": "string",
                "pattern": f"^{STATE_ID.pattern}$",
                "description": "What to send as `Last-Event-ID`: that of the last event that had "
                "one.",
            },
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": component(data),
            },
        },
        optional=optional,
    )


_PAYMENT = record(
    "A payment as the provider reported it, and how it ended.",
    {
        "status": one_of("What happened to the money.", list(PaymentStatus)),
        "outcome": one_of("How the payment ended here.", list(PaymentOutcome)),
        "reason": {
            "description": "Why a captured payment goes back; null unless it is `refund_due`.",
            "enum": [*(str(reason) for reason in RefundReason), None],
        },
        "amount": whole("In minor units.", 0),
        "currency": currency(),
        "paid_at": time("When the provider says it was paid."),
        "provider_reference": {
            "type": "string",
            "description": "The provider's own reference of the payment.",
        },
        **LATER,
    },
)

_RESERVATION = record(
    "One candidate's subjects at one venue of one exam.",
    {
        "id": reservation_id(),
        "exam": identifier("Id of the exam."),
        "candidate": candidate_id(),
        "venue": identifier("Id of the venue."),
        "subjects": listing("Ids of the subjects.", identifier("Id of a subject.")),
        "state": one_of(
            "`held`: seats taken, not paid. `confirming`: a payment is being recorded. "
            "`confirmed`: paid and durable. `changing_venue`: booked, and on its way to another "
            "venue. `refunded`: paid back. `released`: given back by the candidate. `expired`: "
            "not paid in time.",
            list(State),
        ),
        "amount": whole("The fee times the subjects, in minor units.", 0),
        "currency": currency(),
        "deadline": {
            **time("Pay before this moment; null once paid."),
            "type": ["string", "null"],
        },
        "created_at": time("When the seats were taken."),
        "payment": {
            "description": "The payment that confirmed it, else the last that is due back.",
            "anyOf": [component("Payment"), {"type": "null"}],
        },
    },
)

_RESERVATION_WITH_HISTORY = record(
    "A reservation and what happened to it.",
    {
        **_RESERVATION["properties"],
        "history": listing(
            "Every step, oldest first; the last second's may be missing.",
            record(
                "One step.",
                {
                    "at": time("When."),
                    "step": {"type": "string", "description": "What was done."},
                    "state": one_of("The state after it.", list(State)),
                    "venue": identifier("The venue after it."),
                    "key_id": {
                        "type": ["string", "null"],
                        "description": "Id of the API key that asked for it; `provider`, "
                        "`worker:…` or `cli:…` where none did; null when it is not known.",
                    },
                    "request_id": {
                        "type": ["string", "null"],
                        "description": "The X-Request-ID of the request that asked for it.",
                    },
                },
            ),
        ),
    },
)

ANSWER_SCHEMAS: Mapping[str, Schema] = {
    "Text": texts(),
    "Exam": _EXAM,
    "ExamList": record(
        "Exams, all of them or a page.",
        {"exams": listing("By id.", component("Exam")), "next": NEXT},
    ),
    "Availability": record("What is left of an exam's seats at one moment.", _AVAILABILITY_MEMBERS),
    "AvailabilityChange": record(
        "What is different from before: `quotas` has those that changed, and `venues_with_all` is "
        "left out when it is the same.",
        _AVAILABILITY_MEMBERS,
        optional=["venues_with_all"],
    ),
    "AvailabilityStale": record(
        "The seats cannot be read for now; this was known last.",
        {name: _AVAILABILITY_MEMBERS[name] for name in ("exam", "version", "revision", "as_of")},
    ),
    "AvailabilityEvent": {
        "description": "A server-sent event of the stream, once its lines are read.",
        "oneOf": [
            _event("snapshot", "Everything.", "Availability"),
            _event("change", "What changed.", "AvailabilityChange"),
            _event("stale", "Nothing newer is known.", "AvailabilityStale", optional=["id"]),
        ],
    },
    "Payment": _PAYMENT,
    "Reservation": _RESERVATION,
    "CandidateView": record(
        "Everything a candidate has in an exam; a candidate nobody knows has nothing.",
        {
            "exam": identifier("Id of the exam."),
            "candidate": candidate_id(),
            "registered": {"type": "boolean", "description": "Whether a reservation is confirmed."},
            "refund_used": {
                "type": "boolean",
                "description": "Whether the one refund of a candidate and exam is used.",
            },
            "refund": {
                "description": "The refund the candidate had for the exam.",
                "anyOf": [component("Refund"), {"type": "null"}],
            },
            "reservations": listing("Oldest first.", _RESERVATION_WITH_HISTORY),
        },
    ),
    "Refund": record(
        "A booking paid back in full.",
        {
            "reservation": reservation_id(),
            "amount": whole("In minor units.", 0),
            "currency": currency(),
            "refunded_at": time("When the booking was ended."),
            "settled_at": {
                **time("When ops sent the money back; null until then."),
                "type": ["string", "null"],
            },
        },
    ),
    "Archived": record(
        "An exam that is archived.",
        {
            "exam": identifier("Id of the exam."),
            "archived_at": time("Since when it is archived."),
        },
    ),
    "Audit": record(
        "Whether the service keeps its promises for an exam.",
        {
            "exam": identifier("Id of the exam."),
            "clean": {"type": "boolean", "description": "Whether there is no difference."},
            "checked": listing(
                "The promises that were checked.", one_of("A promise.", list(Promise))
            ),
            "quotas": whole("How many quotas were compared.", 0),
            "differences": listing(
                "What is not as promised.",
                record(
                    "One difference.",
                    {
                        "promise": one_of("The promise.", list(Promise)),
                        "place": {"type": "string", "description": "Quota, event or reservation."},
                        "expected": {"type": "string", "description": "What there should be."},
                        "found": {"type": "string", "description": "What there is."},
                    },
                ),
            ),
        },
    ),
    "BookingsFile": {
        "type": "string",
        "description": "CSV (RFC 4180) in UTF-8 with a header line.",
    },
    **MONEY_SCHEMAS,
    "PaymentResult": record(
        "How a payment event ended, the same each time it is sent.",
        {
            "outcome": one_of(
                "`confirmed`: the reservation is paid. `refund_due`: the money has to go back. "
                "`ignored`: the event moved no money. `recorded`: what became of the money later, "
                "kept and shown.",
                list(PaymentOutcome),
            ),
            "reservation": {"type": "string", "description": "The reservation as it was named."},
            "reason": one_of(
                "Why the money has to go back; with `refund_due`.", list(RefundReason)
            ),
        },
        optional=["reason"],
    ),
    **ROOM_SCHEMAS,
    **ROOM_OPS_SCHEMAS,
    "ImportResult": record(
        "What an import did; neither created nor changed is a repeat.",
        {
            "exam": identifier("Id of the exam."),
            "created": {"type": "boolean", "description": "Whether the exam is new."},
            "changes": listing(
                "What differs from before, for people.",
                record(
                    "One difference.",
                    {
                        "where": {"type": "string", "description": "Key path in the definition."},
                        "before": {"type": "string", "description": "The value as it was."},
                        "after": {"type": "string", "description": "The value as it is now."},
                    },
                ),
            ),
            "warnings": listing(
                "What may be meant and should be looked at: windows and sittings that do not go "
                "together, sessions at the same time.",
                record(
                    "One warning.",
                    {
                        "where": {"type": "string", "description": "Key path in the definition."},
                        "detail": {"type": "string", "description": "What is odd, for people."},
                    },
                ),
            ),
        },
    ),
    "Health": record(
        "All is well.",
        {
            "status": {"const": "ok"},
            "warnings": {
                "type": "array",
                "items": {"type": "string"},
                "description": "What ops have to look at though it serves: `worker` when none "
                "runs, `journal`, `exam:<id>` for one that cannot be loaded; why is in the log. "
                "Left out when there is none.",
            },
        },
        optional=["warnings"],
    ),
    "ProblemMeaning": record(
        "A problem type.",
        {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string", "description": "The same in every problem of the type."},
            "status": {
                "description": "The HTTP status it comes with.",
                "enum": sorted({problem.status for problem in PROBLEMS.values()}),
            },
            "meaning": {"type": "string", "description": "What it means and what to do."},
        },
    ),
}
"""Schemas by component name."""
