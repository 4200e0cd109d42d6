"""A small rush that went well: what it knew and what the service said, for checks to be fed with.

Two candidates drew, a third came later and got a number. One paid and was told twice, one let the
hold expire and paid too late, one gave back. Tests break one thing each.
"""

import hashlib
from typing import Any

from loadtest.rush.evidence import (
    Attempt,
    Call,
    Claimed,
    Delivered,
    Done,
    Evidence,
    Facts,
    Held,
    Listed,
    Looked,
    Sent,
    Shown,
    Ticketed,
    Turn,
)
from loadtest.rush.exam import moment
from loadtest.rush.fairness import rank_of

EXAM = "rush-test"
SEED = bytes(range(32))
OPENS_S = 1_700_000_000.0
TTL_S = 10
FIRST, SECOND = sorted(("ann", "bob"), key=lambda name: rank_of(SEED, EXAM, name))
THIRD = "cyn"
NOTHING: dict[str, Any] = {"reservations": []}
"""The view of a candidate without reservations."""


def reservation(name: str, state: str = "held", **members: Any) -> dict[str, Any]:
    """The reservation of a candidate, made a second after the opening."""
    return {
        "id": f"{EXAM}.0.{name}",
        "exam": EXAM,
        "candidate": name,
        "venue": "jinan",
        "subjects": ["general"],
        "state": state,
        "amount": 8000,
        "currency": "CNY",
        "deadline": moment(OPENS_S + 1 + TTL_S),
        "created_at": moment(OPENS_S + 1),
        "payment": None,
        **members,
    }


def step(name: str, after_s: float, state: str) -> dict[str, Any]:
    """One step of a history, `after_s` seconds after the opening."""
    return {"at": moment(OPENS_S + after_s), "step": name, "state": state, "venue": "jinan"}


def good_evidence() -> Evidence:
    """What the simulation knows of the rush."""
    evidence = Evidence()
    for place, name in enumerate((FIRST, SECOND)):
        rank = rank_of(SEED, EXAM, name)
        evidence.add(Ticketed(name, "draw", None, None, OPENS_S - 5))
        called_s = OPENS_S + 3 * place
        evidence.add(Turn(name, "draw", rank, None, called_s - 1 if place else None, called_s))
        evidence.add(Claimed(name, "draw", called_s))
    evidence.add(Ticketed(THIRD, "number", None, 1, OPENS_S + 2))
    evidence.add(Turn(THIRD, "number", None, 1, OPENS_S + 5, OPENS_S + 6))
    evidence.add(Claimed(THIRD, "number", OPENS_S + 6))
    for name in (FIRST, SECOND, THIRD):
        held = reservation(name)
        order = {"candidate": name}
        evidence.add(Call("reserve", OPENS_S + 1, 5.0, 201, ""))
        evidence.add(Held(f"{name}-1", OPENS_S + 1, held, order, "pass"))
        evidence.add(Shown(held["id"], OPENS_S + 1, held["deadline"]))
    evidence.add(Held(f"{FIRST}-1", OPENS_S + 1.1, reservation(FIRST), {}, "pass"))
    for event, name, outcome, at_s in (
        ("evt_1", FIRST, "confirmed", 3),
        ("evt_2", SECOND, "refund_due", 20),
    ):
        evidence.add(Sent(event, f"{EXAM}.0.{name}", "captured", 8000))
        evidence.add(Delivered(event, OPENS_S + at_s, 200, outcome))
    evidence.add(Delivered("evt_1", OPENS_S + 4, 200, "confirmed"))
    evidence.add(Done(f"{EXAM}.0.{THIRD}", "release", OPENS_S + 8, "jinan"))
    evidence.add(Attempt("an early claim", ("not-your-turn",), 409, "not-your-turn"))
    evidence.add(Looked(OPENS_S + 1, 2, 5, 5, 0, 0, 20.0))
    return evidence


def good_facts(**changes: Any) -> Facts:
    """What the service says at the end of the rush."""
    said: dict[str, Any] = {
        "at_s": OPENS_S + 60,
        "exam": {
            "id": EXAM,
            "hold": {"ttl_s": TTL_S, "expiry_slack_s": 1},
            "subjects": [
                {"id": "general", "session": "am"},
                {"id": "qms", "session": "pm"},
                {"id": "ems", "session": "pm"},
            ],
            "seats": {"jinan": {"general": 1, "qms": 2, "ems": 2}},
        },
        "audit": {"checked": ["P1", "P3", "P6", "P7", "P9"], "differences": []},
        "bookings": [booking(FIRST)],
        "refunds_due": [{"event": "evt_2", "amount": 8000}],
        "availability": {"quotas": [left("general", 0), left("qms", 2), left("ems", 2)]},
        "views": {
            FIRST: view(FIRST, "confirmed", step("confirm", 3, "confirmed")),
            SECOND: view(SECOND, "expired", step("expire", 1 + TTL_S + 1.2, "expired")),
            THIRD: view(THIRD, "released", step("release", 8, "released")),
        },
        "room": {"seed": SEED.hex(), "seed_commitment": hashlib.sha256(SEED).hexdigest()},
        "ready_status": 200,
        "probe_status": 201,
    }
    return Facts(**{**said, **changes})


def in_line(*, offered: dict[int, float]) -> tuple[Evidence, Facts]:
    """A good rush in which two waited for one seat; when each was offered it, by number."""
    evidence, views = good_evidence(), good_facts().views
    for number in (1, 2):
        name = f"waiting-{number}"
        wish = {"candidate": name, "subjects": ["general"], "venues": ["jinan"]}
        entry = {"id": f"{EXAM}.w.{number}", "number": number, **wish}
        evidence.add(Listed(OPENS_S + 10 + number, entry))
        created = {"created_at": moment(OPENS_S + offered.get(number, 0))}
        views[name] = view(name, "released", **created) if number in offered else NOTHING
    return evidence, good_facts(views=views)


def booking(name: str, **members: Any) -> dict[str, Any]:
    """A row of bookings.csv."""
    return {
        "reservation": f"{EXAM}.0.{name}",
        "candidate": name,
        "venue": "jinan",
        "subjects": "general",
        "state": "confirmed",
        "amount": "8000",
        "event": "evt_1",
        **members,
    }


def left(subject: str, remaining: int) -> dict[str, Any]:
    """A quota of the availability."""
    return {"venue": "jinan", "subject": subject, "remaining": remaining}


def view(name: str, state: str, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A candidate's view with one reservation."""
    history = [step("reserve", 1, "held"), *steps]
    return {"reservations": [{**reservation(name, state, **members), "history": history}]}
