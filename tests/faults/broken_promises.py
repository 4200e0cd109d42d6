"""Whole evidence, and every way to break a promise in it: what the tests of the checkers use.

The evidence is two reservations of one exam with two seats: one held, one paid and booked.
"""

import dataclasses
import datetime as dt
from typing import Any

from quota_service.domain.reservation import Reservation, State
from quota_service.seats.record import record_text
from tests.faults.evidence import Evidence
from tests.faults.history import Answer, Call, Kind
from tests.faults.level_checkers import word_of
from tests.faults.seen import Seen

EXAM = "exam-1"


QUOTA = "jinan/general"


NOW_MS = 1_700_000_000_000


HELD, BOOKED = f"{EXAM}.0.{'a' * 24}", f"{EXAM}.0.{'b' * 24}"


def reservation(name: str, candidate: str, state: State) -> Reservation:
    return Reservation(
        id=name,
        exam=EXAM,
        candidate=candidate,
        venue="jinan",
        subjects=("general",),
        sessions=("day1-am",),
        state=state,
        amount=8000,
        currency="CNY",
        created_ms=NOW_MS,
        first_deadline_ms=NOW_MS + 1000,
        deadline_ms=NOW_MS + 1000,
        due_ms=NOW_MS + 1000,
        checked_out=False,
        payment_seen=False,
        attempt="",
        attempt_began_ms=0,
        request_hash="hash",
    )


def told(held: Reservation) -> dict[str, Any]:
    return {
        "id": held.id,
        "state": held.state.value,
        "venue": held.venue,
        "deadline": instant(held.deadline_ms).isoformat(),
    }


def instant(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ms / 1000, tz=dt.UTC)


def step(version: int, verb: str, after: Reservation, at_ms: int = NOW_MS) -> dict[str, Any]:
    serial = after.id.rpartition(".")[2]
    row = {"epoch": 1, "version": version, "verb": verb, "subject": serial}
    return {**row, "at": instant(at_ms), "body": record_text(after)}


def ok(number: int, op: str, args: dict[str, Any], body: Any) -> Call:
    return Call(number, op, args, NOW_MS, NOW_MS + 1, Answer(Kind.OK, 200, body=body))


def whole() -> Evidence:
    held, booked = (
        reservation(HELD, "candidate-1", State.HELD),
        reservation(BOOKED, "candidate-2", State.CONFIRMED),
    )
    order = {"subjects": ["general"], "venues": ["jinan"]}
    paid = {"event": "event-1", "reservation": BOOKED, "status": "captured", "amount": 8000}
    first = dataclasses.replace(booked, state=State.HELD)
    calls = [
        ok(1, "reserve", {**order, "key": "key-1"}, told(held)),
        ok(2, "reserve", {**order, "key": "key-2"}, told(first)),
        ok(3, "pay", paid, {"outcome": "confirmed"}),
    ]
    serials = {name: name.rpartition(".")[2] for name in (HELD, BOOKED)}
    item = {"reservation": BOOKED, "candidate": "candidate-2", "session": "day1-am"}
    seats = {"capacity": 2, "remaining": 0, "held": 1, "confirming": 0, "confirmed": 1}
    seen = Seen(
        exam=EXAM,
        clock_ms=NOW_MS,
        counters={name: {QUOTA: n} for name, n in seats.items()},
        records={HELD: held, BOOKED: booked},
        claims={
            "candidate-1/day1-am": serials[HELD],
            "candidate-2/day1-am": serials[BOOKED],
        },
        quotas={QUOTA: {"capacity": 2, "confirmed": 1}},
        bookings={
            BOOKED: {"event": "event-1", "amount": 8000, "state": "confirmed", "venue": "jinan"}
        },
        items=[{**item, "venue": "jinan", "subject": "general", "active": True}],
        events={"event-1": {**paid, "outcome": "confirmed"}},
        refunds={},
        due={},
        journal=[step(1, "reserve", held), step(2, "reserve", first), step(3, "pin", booked)],
        drained={HELD: {"state": "held"}, BOOKED: {"state": "confirmed"}},
        quarantine=[],
        gaps=[],
        entries=[],
        recoveries=[],
        unquiet="",
    )
    return Evidence(calls, seen, is_calm=True)


def oversold(evidence: Evidence) -> None:
    evidence.seen.quotas[QUOTA]["capacity"] = 0


def counted_wrong(evidence: Evidence) -> None:
    evidence.seen.items.clear()


def payment_forgotten(evidence: Evidence) -> None:
    evidence.seen.events.clear()


def booking_forgotten(evidence: Evidence) -> None:
    evidence.seen.bookings.clear()


def ended_twice(evidence: Evidence) -> None:
    ended = dataclasses.replace(evidence.seen.records[HELD], state=State.RELEASED)
    evidence.seen.journal.append(step(4, "release", ended))
    evidence.seen.journal.append(step(5, "expire", ended, NOW_MS + 1001))


def key_taken_twice(evidence: Evidence) -> None:
    again = {**evidence.calls[0].answer.body, "id": BOOKED}
    evidence.calls.append(ok(4, "reserve", evidence.calls[0].args, again))


def key_with_another_body(evidence: Evidence) -> None:
    other = {**evidence.calls[0].args, "venues": ["tianjin"]}
    evidence.calls.append(ok(4, "reserve", other, evidence.calls[0].answer.body))


def event_with_two_ends(evidence: Evidence) -> None:
    paid = evidence.calls[2]
    evidence.calls.append(ok(4, "pay", paid.args, {"outcome": "refund_due"}))


def expired_early(evidence: Evidence) -> None:
    expired = dataclasses.replace(evidence.seen.records[HELD], state=State.EXPIRED)
    evidence.seen.journal.append(step(4, "expire", expired, NOW_MS + 999))


def expired_before_the_deadline_shown(evidence: Evidence) -> None:
    held = dataclasses.replace(evidence.seen.records[HELD], deadline_ms=NOW_MS + 9000)
    evidence.calls.append(ok(4, "checkout", {"reservation": HELD}, told(held)))
    expired = dataclasses.replace(evidence.seen.records[HELD], state=State.EXPIRED)
    evidence.seen.journal.append(step(4, "expire", expired, NOW_MS + 1001))


def expired_late(evidence: Evidence) -> None:
    expired = dataclasses.replace(evidence.seen.records[HELD], state=State.EXPIRED)
    evidence.seen.journal.append(step(4, "expire", expired, NOW_MS + 60_000))


def payment_without_end(evidence: Evidence) -> None:
    paid = {"event": "event-2", "reservation": BOOKED, "status": "captured", "amount": 8000}
    evidence.seen.events["event-2"] = {**paid, "outcome": "refund_due"}


def payment_never_answered(evidence: Evidence) -> None:
    paid = {"event": "event-2", "reservation": BOOKED, "status": "captured", "amount": 8000}
    evidence.calls.append(Call(4, "pay", paid, NOW_MS))


def money_back_twice(evidence: Evidence) -> None:
    evidence.seen.due["event-1"] = {"amount": 8000}


def seat_too_many(evidence: Evidence) -> None:
    evidence.seen.counters["remaining"][QUOTA] = 1


def negative_counter(evidence: Evidence) -> None:
    evidence.seen.counters["held"][QUOTA] = -1
    evidence.seen.counters["remaining"][QUOTA] = 2


def _who_wait(evidence: Evidence) -> list[dict[str, Any]]:
    """Let two candidates wait for the same, and return their entries."""
    wish = {"exam": EXAM, "subjects": ["general"], "venues": ["jinan"], "offers": 0}
    wish |= {"joined_at": instant(NOW_MS), "ended_at": None}
    entries = [
        {**wish, "serial": "d" * 24, "number": 1},
        {**wish, "serial": "e" * 24, "number": 2},
    ]
    evidence.seen.entries.extend(entries)
    return entries


def second_served_first(evidence: Evidence) -> None:
    _, second = _who_wait(evidence)
    offer = dataclasses.replace(evidence.seen.records[HELD], request_hash=second["serial"])
    evidence.seen.journal.append(step(4, "offer", offer))


def sold_while_somebody_waits(evidence: Evidence) -> None:
    _who_wait(evidence)
    sold = evidence.seen.records[HELD]
    evidence.seen.journal.append(step(4, "reserve", sold, NOW_MS + 1000))


def joined_and_forgotten(evidence: Evidence) -> None:
    entry = {"id": f"{EXAM}.w.{'d' * 24}", "number": 1}
    evidence.calls.append(ok(4, "join", {"key": "key-1"}, entry))


def stores_disagree(evidence: Evidence) -> None:
    evidence.seen.quotas[QUOTA]["confirmed"] = 0


def two_seats_in_a_session(evidence: Evidence) -> None:
    evidence.seen.items.append(evidence.seen.items[0])


def claim_left_behind(evidence: Evidence) -> None:
    evidence.seen.claims["candidate-3/day1-am"] = "c" * 24


def hold_gone(evidence: Evidence) -> None:
    del evidence.seen.records[HELD]
    del evidence.seen.drained[HELD]


def hold_not_put_back(evidence: Evidence) -> None:
    del evidence.seen.records[HELD]


def booking_not_put_back(evidence: Evidence) -> None:
    del evidence.seen.records[BOOKED]


def hold_never_drained(evidence: Evidence) -> None:
    del evidence.seen.drained[HELD]


def ledger_behind(evidence: Evidence) -> None:
    evidence.seen.drained[HELD]["state"] = "expired"


def booking_at_another_venue(evidence: Evidence) -> None:
    evidence.seen.bookings[BOOKED]["venue"] = "tianjin"


def step_missing(evidence: Evidence) -> None:
    del evidence.seen.journal[1]


def version_taken_twice(evidence: Evidence) -> None:
    evidence.seen.journal.append({**evidence.seen.journal[-1], "epoch": 2})


def version_out_of_order(evidence: Evidence) -> None:
    evidence.seen.journal[0]["epoch"] = 2


def gap_untold(evidence: Evidence) -> None:
    evidence.has_gap = True


def gap_from_nowhere(evidence: Evidence) -> None:
    evidence.seen.gaps.append({"epoch": 1, "from_version": 4, "to_version": 5})


def recovery(way: str) -> dict[str, Any]:
    return {"epoch": 2, "way": way, "reason": "redis lacks it"}


def healthy_and_recovered(evidence: Evidence) -> None:
    evidence.seen.recoveries.append(recovery("reopened"))


def lost_nothing_and_rebuilt(evidence: Evidence) -> None:
    evidence.restarts_redis = True
    evidence.seen.recoveries.append(recovery("rebuilt"))


def never_recovered(evidence: Evidence) -> None:
    evidence.restarts_redis = True


def held_for_ever(evidence: Evidence) -> None:
    evidence.seen = dataclasses.replace(evidence.seen, clock_ms=NOW_MS + 60_000)


def ended_event_takes_seats_again(evidence: Evidence) -> None:
    expired = dataclasses.replace(evidence.seen.records[HELD], state=State.EXPIRED)
    again = dataclasses.replace(
        expired, state=State.CONFIRMING, attempt=f"{word_of('event-9')}aaaa"
    )
    evidence.calls.append(late_payment("event-9"))
    evidence.seen.journal.append(step(4, "expire", expired, NOW_MS + 1000))
    evidence.seen.journal.append(step(5, "pin", again, NOW_MS + 1001))


def kept_for_an_ended_event(evidence: Evidence) -> None:
    held = evidence.seen.records[HELD]
    confirming = dataclasses.replace(
        held, state=State.CONFIRMING, attempt=f"{word_of('event-9')}aaaa"
    )
    kept = dataclasses.replace(held, due_ms=NOW_MS + 600_000)
    evidence.calls.append(late_payment("event-9"))
    evidence.seen.journal.append(step(4, "pin", confirming, NOW_MS))
    evidence.seen.journal.append(step(5, "unpin", kept, NOW_MS + 5_000))


def late_payment(event: str) -> Call:
    paid = {"event": event, "reservation": HELD, "status": "captured", "amount": 8000}
    return ok(4, "pay", paid, {"outcome": "refund_due"})


def released_unasked(evidence: Evidence) -> None:
    held = evidence.seen.records[HELD]
    evidence.seen.records[HELD] = dataclasses.replace(held, state=State.RELEASED)


def refund_forgotten(evidence: Evidence) -> None:
    evidence.calls.append(ok(4, "refund", {"reservation": BOOKED}, {}))


def change_forgotten(evidence: Evidence) -> None:
    change = ok(4, "change", {"reservation": BOOKED, "venue": "tianjin"}, {"deadline": None})
    evidence.calls.append(dataclasses.replace(change, invoked_ms=NOW_MS + 2))


def booking_shown_as_hold(evidence: Evidence) -> None:
    shown = ok(4, "look", {"reservation": BOOKED}, {"state": "held", "deadline": None})
    evidence.calls.append(dataclasses.replace(shown, invoked_ms=NOW_MS + 2))


def internal_error(evidence: Evidence) -> None:
    answer = Answer(Kind.UNKNOWN, 500, "internal-error")
    evidence.calls.append(Call(4, "look", {"reservation": HELD}, NOW_MS, NOW_MS, answer))


def request_hung(evidence: Evidence) -> None:
    call = ok(4, "look", {"reservation": HELD}, {"state": "held", "deadline": None})
    evidence.calls.append(dataclasses.replace(call, ended_ms=NOW_MS + 6000))


def spared_and_not_served(evidence: Evidence) -> None:
    evidence.is_spared = True
    refused = Answer(Kind.UNKNOWN, 503, "not-ready")
    evidence.calls.append(Call(4, "reserve", evidence.calls[0].args, NOW_MS, NOW_MS + 2, refused))
    again = ok(5, "reserve", evidence.calls[0].args, evidence.calls[0].answer.body)
    again = dataclasses.replace(again, invoked_ms=NOW_MS + 5999, ended_ms=NOW_MS + 6000)
    evidence.calls.append(again)


def spared_and_slow(evidence: Evidence) -> None:
    evidence.is_spared = True
    call = ok(4, "look", {"reservation": HELD}, {"state": "held", "deadline": None})
    evidence.calls.append(dataclasses.replace(call, ended_ms=NOW_MS + 4000))


def spared_and_expired_late(evidence: Evidence) -> None:
    evidence.is_calm, evidence.is_spared = False, True
    expired_late(evidence)


def never_quiet(evidence: Evidence) -> None:
    evidence.seen = dataclasses.replace(evidence.seen, unquiet="1 have an attempt")
