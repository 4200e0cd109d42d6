"""Examples of the waiting room and of what ops see, for the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

EXAMPLE_TICKET = "Y2NhYS0yMDIzLTF8Yy03ZjNhOTF8MA.bm90IGEgcmVhbCBzaWduYXR1cmUsIGFuIGV4YW1wbGUu"
"""What a ticket looks like; its signature is none."""


def room_examples(exam: str, candidate: str) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """Return (summary, body) of each example by its component name."""
    who = {"exam": exam, "candidate": candidate}
    ticket = {
        **who,
        "kind": "draw",
        "ticket": EXAMPLE_TICKET,
        "number": None,
        "rank": None,
        "poll_after": 15.0,
        "eta_s": None,
        "issued_at": "2023-03-14T03:41:07.000Z",
    }
    room = {
        "exam": exam,
        "phase": "before",
        "paused": False,
        "threshold": "0" * 64,
        "late_threshold": "0" * 64,
        "serving": 0,
        "late_through": 0,
        "rate": 20.0,
        "waiting": 9120,
        "poll_after": 13.4,
        "poll_after_max": 15.0,
        "seed_commitment": "3ef9448397ae2f99365c876d7eeecbde510d1f91bb58cf9a82ee7346daa87b4e",
        "seed": None,
        "opens_at": "2023-03-14T04:00:00.000Z",
        "claim_grace_s": 300,
        "server_time": "2023-03-14T03:41:07.000Z",
    }
    granted = {
        **who,
        "pass": "Y2NhYS0yMDIzLTF8Yy03ZjNhOTF8MHwx.bm90IGEgcmVhbCBzaWduYXR1cmUsIGFuIGV4YW1wbGUu",
        "expires_at": "2023-03-14T04:12:30.000Z",
        "idle_s": 300,
    }
    return {
        "joining": ("A candidate", {"candidate": candidate}),
        "in_draw": ("Before the opening", ticket),
        "in_queue": (
            "After the opening",
            {**ticket, "kind": "number", "number": 412, "eta_s": 471.5},
        ),
        "room_before": ("Before the opening", room),
        "room_draw": (
            "Two minutes after it",
            {
                **room,
                "phase": "draw",
                "threshold": "43" * 32,
                "waiting": 7058,
                "seed": "5c" * 32,
                "server_time": "2023-03-14T04:02:00.000Z",
            },
        ),
        "claim": ("A ticket", {"candidate": candidate, "ticket": ticket["ticket"]}),
        "granted": ("A pass", granted),
        "finished": ("Done", {**who, "state": "finished"}),
    }


def room_ops_examples(room: Mapping[str, Any]) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """Return (summary, body) of each example by its component name, of a room that is open."""
    steered = {
        **room,
        "rate": 35.0,
        "fixed_rate": 35.0,
        "places": 812,
        "leader_epoch": 3,
        "signals": [
            {
                "process": "4be1c90d27aa35f8",
                "age_s": 0.412,
                "measures": {
                    "requests": 1240,
                    "failures": 0,
                    "reserve_p99_ms": 8.7,
                    "redis_p99_ms": 2.1,
                    "pool_wait_p99_ms": 0.5,
                    "backlog": 12,
                },
            }
        ],
    }
    return {
        "steered": ("At a rate that was set", steered),
        "room_paused": ("Paused", {**steered, "paused": True}),
        "fixed_rate": ("So many a second", {"rate": 35}),
        "adaptive_rate": ("As many as the service bears", {"rate": None}),
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
