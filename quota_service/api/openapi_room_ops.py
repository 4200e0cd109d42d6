"""Steering a waiting room in the OpenAPI document: what ops send and see, and examples of both."""

from collections.abc import Mapping
from typing import Any

from quota_service.api.openapi_parts import Schema, listing, number, record, whole
from quota_service.api.openapi_waiting_room import ROOM_SCHEMAS

_PUBLIC: Schema = ROOM_SCHEMAS["WaitingRoom"]["properties"]


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _p99(what: str) -> Schema:
    return _or_null(number(f"p99 of {what}, in ms; null when nothing was measured.", 0))


_MEASURES = record(
    "What the process saw in the last seconds.",
    {
        "requests": whole("Reservations and payment callbacks answered.", 0),
        "failures": whole("Those of them that were answered 5xx.", 0),
        "reserve_p99_ms": _p99("the time to answer a reservation"),
        "redis_p99_ms": _p99("the time for Redis to answer"),
        "pool_wait_p99_ms": _p99("the wait for a connection to Postgres"),
        "backlog": whole("Payments that wait for a transaction.", 0),
    },
)

_REPORT = record(
    "What one process last reported of its load.",
    {
        "process": {"type": "string", "description": "Names the process until it ends."},
        "age_s": number("Seconds since it reported.", 0),
        "measures": {
            **_or_null(_MEASURES),
            "description": "Null when another version sent what this one does not understand.",
        },
    },
)

ROOM_OPS_SCHEMAS: Mapping[str, Schema] = {
    "SteeredRoom": record(
        "A waiting room as ops see it: the public document, and what moves admission.",
        {
            **_PUBLIC,
            "rate": number("Candidates let in a second now, not smoothed.", 0),
            "fixed_rate": _or_null(number("The rate that was set; null: it adapts.", 0)),
            "places": _or_null(
                whole("Candidates with a place; null while Redis cannot be asked.", 0)
            ),
            "leader_epoch": whole("How often the leader of admission has changed.", 0),
            "signals": listing(
                "What the processes report; with none, nobody is admitted.", _REPORT
            ),
        },
    )
}
"""Schemas of answers by component name."""


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
