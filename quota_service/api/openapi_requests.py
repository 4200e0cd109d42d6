"""Parameters and request bodies, for the OpenAPI document: strict, with the limits checked.

The limits come from the modules that check them (`reservations.py`, `ops.py`, `webhooks.py`), so
that document and check cannot drift apart.
"""

from collections.abc import Mapping
from typing import Any

from quota_service.api import payments, reservations, waiting_room
from quota_service.api.answers import ExamId, ReservationId
from quota_service.api.availability import STATE_ID
from quota_service.api.bodies import Nothing
from quota_service.api.exams import EXAMS_MAX
from quota_service.api.openapi_models import Schema, schema_of
from quota_service.api.ops import PAGE_MAX
from quota_service.api.problems import PROBLEMS
from quota_service.api.reservations import IDEMPOTENCY_KEY_MAX, Ids
from quota_service.api.waiting_room import TICKET_MAX
from quota_service.api.webhooks import EVENT_ID_MAX, TOLERANCE_S
from quota_service.definitions.model import ExamDefinition
from quota_service.schema import CandidateId, Identifier

REQUESTS: Mapping[str, Any] = {
    "Joining": waiting_room.Joining,
    "Claim": waiting_room.Claim,
    "AdmissionRate": waiting_room.AdmissionRate,
    "VenueChange": reservations.VenueChange,
    "Order": reservations.OrderBody,
    "PaymentCallback": payments.PaymentCallback,
    "Nothing": Nothing,
}
"""The models of request bodies by the name of their schema."""

REQUEST_SCHEMAS: Mapping[str, Schema] = {
    **{name: schema_of(model) for name, model in REQUESTS.items()},
    "ExamDefinition": schema_of(ExamDefinition),
}
"""Schemas of request bodies by component name."""


def _printable(longest: int) -> str:
    """Return the pattern of a header of printable ASCII; spaces around it are not part of it."""
    return f"^[!-~]([ -~]{{0,{longest - 2}}}[!-~])?$"


def _parameter(place: str, name: str, schema: Schema, example: Any = None, **more: Any) -> Schema:
    """Return a parameter. One without an example is left empty by whoever tries the call out."""
    return {
        "name": name,
        "in": place,
        "description": schema["description"],
        **({"required": True} if place == "path" else {}),
        "schema": {key: value for key, value in schema.items() if key != "description"},
        **({} if example is None else {"example": example}),
        **more,
    }


PARAMETERS: Mapping[str, Schema] = {
    "exam": _parameter("path", "exam", schema_of(ExamId), "ccaa-2023-1"),
    "candidate": _parameter("path", "candidate", schema_of(CandidateId), "c-7f3a91"),
    "reservation": _parameter(
        "path", "reservation", schema_of(ReservationId), "ccaa-2023-1.0.kx5wcu3hqzyd2m7fov4tnbra"
    ),
    "slug": _parameter(
        "path",
        "slug",
        {"type": "string", "description": "Name of the problem type.", "enum": list(PROBLEMS)},
        "sold-out",
    ),
    "subjects": _parameter(
        "query",
        "subjects",
        {
            **schema_of(Ids),
            "uniqueItems": False,
            "description": "Only these subjects, separated by commas; all when left out.",
        },
        ["general", "qms"],
        style="form",
        explode=False,
    ),
    "refund": _parameter(
        "path",
        "refund",
        {"type": "string", "pattern": "^[1-9][0-9]{0,17}$", "description": "Id of the refund due."},
        "42",
    ),
    "exam_asked": _parameter(
        "query",
        "exam",
        {
            "type": "string",
            "description": "Only this exam; all when left out, and what names none when empty.",
        },
    ),
    "payment": _parameter(
        "path",
        "payment",
        {"type": "string", "pattern": "^[1-9][0-9]{0,17}$", "description": "Id of the entry."},
        "7",
    ),
    "after": _parameter(
        "query",
        "after",
        {
            "type": "string",
            "pattern": "^(0|[1-9][0-9]{0,17})$",
            "description": "The `next` of the page before; from the start when left out.",
        },
    ),
    "limit": _parameter(
        "query",
        "limit",
        {
            "type": "integer",
            "minimum": 1,
            "maximum": PAGE_MAX,
            "description": "How many to list, 100 when left out.",
        },
    ),
    "after_exam": _parameter(
        "query",
        "after",
        {
            **schema_of(Identifier),
            "description": "The `next` of the page before; from the start when left out.",
        },
    ),
    "exams_limit": _parameter(
        "query",
        "limit",
        {
            "type": "integer",
            "minimum": 1,
            "maximum": EXAMS_MAX,
            "description": "How many to list, all of them when left out.",
        },
    ),
    "for": _parameter(
        "query",
        "for",
        {
            "type": "string",
            "enum": ["excel"],
            "description": "`excel` for a file that a person opens; for programs when left out.",
        },
    ),
    "If-None-Match": _parameter(
        "header",
        "If-None-Match",
        {"type": "string", "description": "ETags known already; 304 when one is still right."},
    ),
    "Last-Event-ID": _parameter(
        "header",
        "Last-Event-ID",
        {
            "type": "string",
            "pattern": f"^({STATE_ID.pattern})?$",
            "description": "The id of the event seen last; go on after it. Empty: none was seen.",
        },
    ),
    "Idempotency-Key": _parameter(
        "header",
        "Idempotency-Key",
        {
            "type": "string",
            "pattern": _printable(IDEMPOTENCY_KEY_MAX),
            "description": "Names the request: a new one for each order, the same for a repeat.",
        },
        "3c1f3f0e-7f53-4f39-9f0b-0d6c0c0f3f6a",
        required=True,
    ),
    "Waiting-Room-Pass": _parameter(
        "header",
        "Waiting-Room-Pass",
        {
            "type": "string",
            "pattern": f"^[A-Za-z0-9._-]{{1,{TICKET_MAX}}}$",
            "description": "The pass of the candidate, where the exam has a waiting room.",
        },
    ),
    "webhook-id": _parameter(
        "header",
        "webhook-id",
        {
            "type": "string",
            "pattern": _printable(EVENT_ID_MAX),
            "description": "Id of the event, the same each time it is sent.",
        },
        "evt_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        required=True,
    ),
    "webhook-timestamp": _parameter(
        "header",
        "webhook-timestamp",
        {
            "type": "string",
            "pattern": "^[0-9]{1,15}$",
            "description": "When it is sent, in seconds since the Unix epoch; more than "
            f"{TOLERANCE_S} s away from now it is refused.",
        },
        "1678766400",
        required=True,
    ),
    "X-Request-ID": _parameter(
        "header",
        "X-Request-ID",
        {
            "type": "string",
            "description": "Names the request in logs and in the answer, if it is 1 to 64 letters, "
            "digits, dots, underscores and dashes; else a new one is made.",
        },
    ),
}
"""Parameters by component name; those of paths are called as in the path."""
