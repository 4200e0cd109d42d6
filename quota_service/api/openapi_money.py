"""What the OpenAPI document says of money that has to go back, and of events nobody could read."""

from collections.abc import Mapping
from typing import Any

from quota_service.api.openapi_parts import (
    Schema,
    component,
    currency,
    identifier,
    listing,
    one_of,
    record,
    time,
    whole,
)
from quota_service.domain.payment import RefundReason

NEXT: Schema = {
    "type": ["string", "null"],
    "description": "`after` of the next page; null on the last.",
}


def _time_or_null(description: str) -> Schema:
    return {**time(description), "type": ["string", "null"]}


LATER: Mapping[str, Schema] = {
    "refunded_at": _time_or_null("When the provider says it sent the money back; null if never."),
    "disputed_at": _time_or_null("When the provider says it was disputed; null if never."),
}
"""What became of a payment's money later, as the provider reported it."""

MONEY_SCHEMAS: Mapping[str, Schema] = {
    "RefundDue": record(
        "A captured payment that has to go back.",
        {
            "id": {"type": "string", "description": "Id of the refund due."},
            "event": {"type": "string", "description": "The provider's id of the payment event."},
            "exam": {
                "type": ["string", "null"],
                "description": "Id of the exam; null when the payment named none we know.",
            },
            "reservation": {"type": "string", "description": "The reservation as it was named."},
            "reason": one_of(
                "Why it goes back. `reference-reused`: another payment has its reference; ask the "
                "provider whether the two are one before anything is sent.",
                list(RefundReason),
            ),
            "amount": whole("In minor units.", 0),
            "currency": currency(),
            "provider_reference": {
                "type": "string",
                "description": "The provider's own reference of the payment.",
            },
            "due_at": time("Since when."),
            "settled_at": _time_or_null("When ops sent it back; null until then."),
            **LATER,
        },
    ),
    "RefundsDue": record(
        "A page of the money that has to go back.",
        {
            "exam": {
                **identifier("Id of the exam that was asked for; null when none was."),
                "type": ["string", "null"],
            },
            "refunds_due": listing("In the order they came.", component("RefundDue")),
            "next": NEXT,
        },
    ),
    "UnreadablePayment": record(
        "A payment event with a right signature that could not be understood.",
        {
            "id": {"type": "string", "description": "Id of the entry."},
            "event": {"type": "string", "description": "The provider's id of the event."},
            "problem": {"type": "string", "description": "What is wrong with it."},
            "body": {
                "type": "string",
                "description": "The body as text; bytes that are no UTF-8 are replaced.",
            },
            "body_base64": {
                "type": "string",
                "contentEncoding": "base64",
                "description": "The body byte by byte.",
            },
            "deliveries": whole("How often it came.", 1),
            "received_at": time("When it came first."),
            "last_received_at": time("When it came last."),
            "settled_at": _time_or_null("When a person had dealt with it; null until then."),
        },
    ),
    "UnreadablePayments": record(
        "A page of the payment events that could not be understood.",
        {
            "unreadable_payments": listing(
                "In the order they came.", component("UnreadablePayment")
            ),
            "next": NEXT,
        },
    ),
}


def money_examples(callback: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Return summary and value of each example, of a payment as a callback reports it."""
    due = {
        "id": "42",
        "event": "evt_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        "exam": callback["reservation"].partition(".")[0],
        "reason": "sold-out",
        **{name: callback[name] for name in ("reservation", "amount", "currency")},
        "provider_reference": callback["provider_reference"],
        "due_at": "2023-03-14T04:20:00.123Z",
        "settled_at": None,
        "refunded_at": None,
        "disputed_at": None,
    }
    unreadable = {
        "id": "7",
        "event": "evt_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        "problem": "amount must be a whole number of minor units, 0 to 1000000000000",
        "body": '{"amount":80.5}',
        "body_base64": "eyJhbW91bnQiOjgwLjV9",
        "deliveries": 3,
        "received_at": "2023-03-14T04:20:00.123Z",
        "last_received_at": "2023-03-14T05:20:00.123Z",
        "settled_at": None,
    }
    settled_at = "2023-03-15T01:00:00.000Z"
    return {
        "refund_due_item": ("Paid after it had expired, and sold out", due),
        "refunds_due": (
            "One payment to send back",
            {"exam": due["exam"], "refunds_due": [due], "next": None},
        ),
        "all_refunds_due": (
            "One payment to send back, of whatever exam",
            {"exam": None, "refunds_due": [due], "next": None},
        ),
        "settled": ("Sent back", {**due, "settled_at": settled_at}),
        "unreadable_payments": (
            "One with a fraction of a minor unit",
            {"unreadable_payments": [unreadable], "next": None},
        ),
        "unreadable_settled": ("Dealt with", {**unreadable, "settled_at": settled_at}),
    }
