"""Examples of requests and answers, for the OpenAPI document: one candidate's way through one exam.

A test holds each of them against the schema it stands beside.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from quota_service.api.openapi_ops_examples import (
    money_examples,
    room_examples,
    room_ops_examples,
)

EXAM_ID = "ccaa-2023-1"
CANDIDATE_ID = "c-7f3a91"
RESERVATION_ID = "ccaa-2023-1.0.kx5wcu3hqzyd2m7fov4tnbra"


@dataclass(frozen=True, slots=True)
class Example:
    """One body, and what it shows in a few words."""

    summary: str
    value: Mapping[str, Any] | str


def _text(zh: str, en: str) -> dict[str, str]:
    return {"zh": zh, "en": en}


def _part(part_id: str, zh: str, en: str, **members: str) -> dict[str, Any]:
    return {"id": part_id, "title": _text(zh, en), **members}


_WINDOW = {"opens_at": "2023-03-14T04:00:00.000Z", "closes_at": "2023-03-22T04:00:00.000Z"}

_DEFINITION: Mapping[str, Any] = {
    "id": EXAM_ID,
    "title": _text("2023年第一期注册审核员考试", "Auditor Registration Exam 2023, No. 1"),
    "time_zone": "Asia/Shanghai",
    "registration": _WINDOW,
    "refund": _WINDOW,
    "fee": {"amount": 8000, "currency": "CNY"},
    "hold": {"ttl_s": 900, "checkout_grace_s": 600, "expiry_slack_s": 5},
    "fair_use": {
        "unpaid_holds_max": 5,
        "unpaid_pause_s": 900,
        "unpaid_pause_max_s": 86400,
        "venue_changes_max": 5,
        "key_share_max_percent": 100,
    },
    "notice": {
        "version": "2023-1",
        "text": _text(
            "每个考试场次最多报考一个科目。",
            "You may take at most one subject in each session.",
        ),
    },
    "sessions": [
        _part(
            "day1-am",
            "5月20日上午",
            "20 May, morning",
            starts_at="2023-05-20T01:00:00.000Z",
            ends_at="2023-05-20T03:00:00.000Z",
        ),
        _part(
            "day1-pm",
            "5月20日下午",
            "20 May, afternoon",
            starts_at="2023-05-20T06:00:00.000Z",
            ends_at="2023-05-20T08:00:00.000Z",
        ),
    ],
    "subjects": [
        _part("general", "认证通用基础", "General Foundations of Certification", session="day1-am"),
        _part("qms", "QMS 基础知识", "QMS Foundations", session="day1-pm"),
        _part("ems", "EMS 基础知识", "EMS Foundations", session="day1-pm"),
    ],
    "venues": [_part("jinan", "济南", "Jinan"), _part("tianjin", "天津", "Tianjin")],
}

_SEATS = {
    "jinan": {"general": 600, "qms": 400, "ems": 120},
    "tianjin": {"general": 450, "qms": 300},
}

_EXAM = {**_DEFINITION, "server_time": "2023-03-14T04:00:12.345Z"}

_HELD: Mapping[str, Any] = {
    "id": RESERVATION_ID,
    "exam": EXAM_ID,
    "candidate": CANDIDATE_ID,
    "venue": "jinan",
    "subjects": ["general", "qms"],
    "state": "held",
    "amount": 16000,
    "currency": "CNY",
    "deadline": "2023-03-14T04:15:12.678Z",
    "created_at": "2023-03-14T04:00:12.678Z",
    "payment": None,
}

_CALLBACK: Mapping[str, Any] = {
    "reservation": RESERVATION_ID,
    "status": "captured",
    "amount": 16000,
    "currency": "CNY",
    "paid_at": "2023-03-14T04:03:20.000Z",
    "provider_reference": "4200001878202303141234567890",
}

_CONFIRMED: Mapping[str, Any] = {
    **_HELD,
    "state": "confirmed",
    "deadline": None,
    "payment": {
        **{name: value for name, value in _CALLBACK.items() if name != "reservation"},
        "outcome": "confirmed",
        "reason": None,
        "refunded_at": None,
        "disputed_at": None,
    },
}

_AVAILABILITY: Mapping[str, Any] = {
    "exam": EXAM_ID,
    "version": 42,
    "revision": 3,
    "as_of": "2023-03-14T04:00:12.345Z",
    "quotas": [
        {"venue": "jinan", "subject": "general", "remaining": 41, "capacity": 600},
        {"venue": "jinan", "subject": "qms", "remaining": 0, "capacity": 400},
        {"venue": "tianjin", "subject": "general", "remaining": 207, "capacity": 450},
        {"venue": "tianjin", "subject": "qms", "remaining": 12, "capacity": 300},
    ],
    "venues_with_all": ["tianjin"],
}


def _json(document: Mapping[str, Any]) -> str:
    return orjson.dumps(document).decode()


_ROOM = room_examples(EXAM_ID, CANDIDATE_ID)

EXAMPLES: Mapping[str, Example] = {
    "definition": Example("An exam with two venues", {**_DEFINITION, "seats": _SEATS}),
    "order": Example(
        "Two subjects at Jinan, else at Tianjin",
        {
            "candidate": CANDIDATE_ID,
            "subjects": ["general", "qms"],
            "venues": ["jinan", "tianjin"],
            "accepted_notice": "2023-1",
        },
    ),
    "captured": Example("A payment of CNY 160.00", _CALLBACK),
    "failed": Example(
        "A payment that failed",
        {
            **{name: value for name, value in _CALLBACK.items() if name != "paid_at"},
            "status": "failed",
        },
    ),
    "disputed": Example("A payment that its payer disputes", {**_CALLBACK, "status": "disputed"}),
    "venue_change": Example("To Tianjin", {"venue": "tianjin"}),
    "moved": Example("Paid, and moved to Tianjin", {**_CONFIRMED, "venue": "tianjin"}),
    "refunded": Example("Paid back", {**_CONFIRMED, "state": "refunded"}),
    **{name: Example(*told) for name, told in money_examples(_CALLBACK).items()},
    "clean": Example(
        "All as promised",
        {
            "exam": EXAM_ID,
            "clean": True,
            "checked": ["P1", "P3", "P6", "P7", "P9"],
            "quotas": 5,
            "differences": [],
        },
    ),
    "different": Example(
        "Redis has lost a booking",
        {
            "exam": EXAM_ID,
            "clean": False,
            "checked": ["P1", "P3", "P6", "P7", "P9"],
            "quotas": 5,
            "differences": [
                {
                    "promise": "P7",
                    "place": "jinan/qms",
                    "expected": "12 booked in Postgres",
                    "found": "11 in Redis",
                }
            ],
        },
    ),
    "bookings": Example(
        "One booking",
        "reservation,candidate,venue,subjects,state,amount,currency,reserved_at,confirmed_at,"
        "event,provider_reference\r\n"
        f"{RESERVATION_ID},{CANDIDATE_ID},jinan,general qms,confirmed,16000,CNY,"
        "2023-03-14T04:00:12.678Z,2023-03-14T04:03:21.051Z,evt-1,4200001878202303141234567890\r\n",
    ),
    "nothing": Example("Nothing to say", {}),
    "exams": Example("One exam", {"exams": [_EXAM], "next": None}),
    "exam": Example("An exam", _EXAM),
    "created": Example(
        "A new exam, with a warning",
        {
            "exam": EXAM_ID,
            "created": True,
            "changes": [],
            "warnings": [
                {
                    "where": "sessions.day1-pm.starts_at",
                    "detail": "begins before session day1-am ends (2023-05-13T03:00:00.000Z): "
                    "a candidate can reserve both",
                }
            ],
        },
    ),
    "archived": Example(
        "An exam that is over", {"exam": EXAM_ID, "archived_at": "2023-06-01T02:00:00.000Z"}
    ),
    "unchanged": Example(
        "The same again", {"exam": EXAM_ID, "created": False, "changes": [], "warnings": []}
    ),
    "changed": Example(
        "More seats at one venue",
        {
            "exam": EXAM_ID,
            "created": False,
            "changes": [{"where": "seats.jinan.qms", "before": "400", "after": "420"}],
            "warnings": [],
        },
    ),
    "availability": Example(
        "Two subjects; Tianjin has both",
        _AVAILABILITY,
    ),
    "snapshot_event": Example(
        "What there is", {"event": "snapshot", "id": "1-42-3", "data": _json(_AVAILABILITY)}
    ),
    "change_event": Example(
        "The last seats in QMS at Tianjin were taken",
        {
            "event": "change",
            "id": "1-54-3",
            "data": _json(
                {
                    "exam": EXAM_ID,
                    "version": 54,
                    "revision": 3,
                    "as_of": "2023-03-14T04:00:13.346Z",
                    "quotas": [
                        {"venue": "tianjin", "subject": "qms", "remaining": 0, "capacity": 300}
                    ],
                    "venues_with_all": [],
                }
            ),
        },
    ),
    "stale_event": Example(
        "The seats cannot be read",
        {
            "event": "stale",
            "data": _json(
                {
                    "exam": EXAM_ID,
                    "version": 54,
                    "revision": 3,
                    "as_of": "2023-03-14T04:00:13.346Z",
                }
            ),
        },
    ),
    "held": Example("Seats taken, to be paid by the deadline", _HELD),
    "free": Example(
        "Nothing to pay: booked", {**_HELD, "amount": 0, "state": "confirmed", "deadline": None}
    ),
    "checked_out": Example(
        "The deadline after payment began", {**_HELD, "deadline": "2023-03-14T04:25:12.678Z"}
    ),
    "released": Example("Given back", {**_HELD, "state": "released"}),
    "confirmed": Example("Paid", _CONFIRMED),
    "candidate": Example(
        "One reservation, paid",
        {
            "exam": EXAM_ID,
            "candidate": CANDIDATE_ID,
            "registered": True,
            "refund_used": False,
            "refund": None,
            "reservations": [
                {
                    **_CONFIRMED,
                    "history": [
                        {
                            "at": "2023-03-14T04:00:12.678Z",
                            "step": "reserve",
                            "key_id": "0f3a9c2b71de",
                            "request_id": "frontend-1-000042",
                            "state": "held",
                            "venue": "jinan",
                        },
                        {
                            "at": "2023-03-14T04:03:21.042Z",
                            "step": "pin",
                            "key_id": "provider",
                            "request_id": "frontend-1-000042",
                            "state": "confirming",
                            "venue": "jinan",
                        },
                        {
                            "at": "2023-03-14T04:03:21.051Z",
                            "step": "confirm",
                            "key_id": "provider",
                            "request_id": "frontend-1-000042",
                            "state": "confirmed",
                            "venue": "jinan",
                        },
                    ],
                }
            ],
        },
    ),
    "booked": Example("Paid", {"outcome": "confirmed", "reservation": RESERVATION_ID}),
    "refund_due": Example(
        "Paid twice",
        {"outcome": "refund_due", "reservation": RESERVATION_ID, "reason": "already-paid"},
    ),
    "recorded": Example("Noted", {"outcome": "recorded", "reservation": RESERVATION_ID}),
    "ignored": Example("Not paid", {"outcome": "ignored", "reservation": RESERVATION_ID}),
    **{name: Example(*told) for name, told in _ROOM.items()},
    **{name: Example(*told) for name, told in room_ops_examples(_ROOM["room_draw"][1]).items()},
    "ok": Example("All is well", {"status": "ok"}),
    "problem_meaning": Example(
        "What sold-out means",
        {
            "type": "/problems/sold-out",
            "title": "Sold out",
            "status": 409,
            "meaning": "No venue asked for has a seat left in every subject asked for.",
        },
    ),
}
"""Examples by component name."""
