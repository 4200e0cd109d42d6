"""The waiting room in the OpenAPI document: its answers, its calls and their examples."""

from collections.abc import Mapping
from typing import Any

from quota_service.api.openapi_parts import (
    Schema,
    candidate_id,
    identifier,
    number,
    one_of,
    rank,
    record,
    time,
    whole,
)
from quota_service.waiting_room.standing import Phase


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


EXAMPLE_TICKET = "Y2NhYS0yMDIzLTF8Yy03ZjNhOTF8MA.bm90IGEgcmVhbCBzaWduYXR1cmUsIGFuIGV4YW1wbGUu"
"""What a ticket looks like; its signature is none."""

_SIGNED = "A signed text; keep it as it is."
_POLL_AFTER = number(
    "Seconds after which to ask again; it grows with the wait, and varies. Where all are told the "
    "same, each client adds a jitter of its own (half of it up or down), or all come back as one.",
    0,
)

ROOM_SCHEMAS: Mapping[str, Schema] = {
    "WaitingRoom": record(
        "How far a waiting room has come: the same for everybody, made anew each second. A ticket "
        "for the draw has its turn when its rank is not above `threshold`, and a number when it is "
        "not above `serving`.",
        {
            "exam": identifier("Id of the exam."),
            "phase": one_of(
                "`before`: nobody is let in; who joins takes part in the draw, or gets a number "
                "once an opening has come and was postponed. `draw`: the draw is let in, by rank; "
                "who joins gets a number. `queue`: numbers are let in. `closed`: registration is "
                "over.",
                list(Phase),
            ),
            "paused": {"type": "boolean", "description": "Whether ops have stopped it for now."},
            "threshold": rank("Ranks up to this have had their turn."),
            "late_threshold": rank("Ranks up to this can be claimed no more."),
            "serving": whole("Numbers up to this have had their turn.", 0),
            "late_through": whole("Numbers up to this can be claimed no more.", 0),
            "rate": number("Candidates let in a second, smoothed.", 0),
            "waiting": whole("Candidates who wait for their turn, about.", 0),
            "poll_after": _POLL_AFTER,
            "poll_after_max": number("The longest that anybody needs to wait before asking.", 0),
            "seed_commitment": rank("SHA-256 of the seed, known from the start."),
            "seed": _or_null(rank("The seed of the draw; null until an opening has come.")),
            "opens_at": time("When registration opens; the first opening to come closes the draw."),
            "claim_grace_s": whole("Seconds that a turn is honoured after it came.", 1),
            "server_time": time("When this was made."),
        },
    ),
    "Ticket": record(
        "A candidate's place in the order.",
        {
            "exam": identifier("Id of the exam."),
            "candidate": candidate_id(),
            "kind": one_of("In the draw, or with a number.", ["draw", "number"]),
            "ticket": {"type": "string", "description": _SIGNED},
            "number": _or_null(whole("The number; null in the draw.", 1)),
            "rank": _or_null(
                rank(
                    "Null: the rank of a ticket for the draw is HMAC-SHA256, with the bytes of the "
                    "seed as its key, of exam id and candidate id put together."
                )
            ),
            "poll_after": _POLL_AFTER,
            "eta_s": _or_null(number("Seconds until the turn, about; null in the draw.", 0)),
            "issued_at": time("When it was answered."),
        },
    ),
    "Pass": record(
        "What a candidate reserves with.",
        {
            "pass": {"type": "string", "description": f"For Waiting-Room-Pass. {_SIGNED}"},
            "candidate": candidate_id(),
            "exam": identifier("Id of the exam."),
            "expires_at": time(
                "When the pass ends; where the opening is postponed before that, `pass_ttl_s` "
                "after the new one."
            ),
            "idle_s": whole("Seconds without a reservation after which it ends earlier.", 1),
        },
    ),
    "Finished": record(
        "A candidate without a place.",
        {
            "exam": identifier("Id of the exam."),
            "candidate": candidate_id(),
            "state": one_of("What the candidate is.", ["finished"]),
        },
    ),
}
"""Schemas of answers by component name."""


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
