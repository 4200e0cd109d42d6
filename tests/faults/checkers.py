"""Checks the promises P1 to P10 from the history of a round and both stores, after all is quiet.

In the manner of Jepsen's checkers: a set (what was acknowledged is there), counters (the seats of
each quota) and a bank (captured money is booked or due back, to the last unit). Each check yields
what it finds wrong; none of them asks the service.

A fault that makes Redis lose writes it had acknowledged may lose holds: those are counted, in
`holds_lost`, and are no violation. Nothing else is excused.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from quota_service.domain.reservation import State
from quota_service.seats.record import WITHOUT_RECORD, parse_record
from tests.faults.deployment import REQUEST_TIMEOUT_S
from tests.faults.evidence import Evidence, Violation
from tests.faults.history import Kind
from tests.faults.level_checkers import LEVEL_CHECKERS
from tests.faults.order_checkers import ORDER_CHECKERS
from tests.faults.seen import Row
from tests.support.books import seats_taken

ENDS = {"release", "expire", "refund"}
ENDED = {state.value for state in State if state.is_ended}
EXPIRY_LATE_MAX_MS = 1_000
ANSWER_MAX_MS = 1000 * REQUEST_TIMEOUT_S + 500
"""When a request must have been answered, but for what a busy machine adds."""
UNHINDERED_MAX_MS = 1_000
"""What a call takes at most that no fault concerns, but for what a busy machine adds."""

EXPECTED_REFUSALS = {
    "reserve": {"sold-out", "session-conflict", "idempotency-key-reused"},
    "probe": set[str](),
    "release": {"already-confirmed", "payment-in-progress"},
    "checkout": {"reservation-ended", "already-confirmed"},
    "change": {"sold-out", "reservation-ended", "payment-in-progress", "change-in-progress"},
    "refund": {
        "not-confirmed",
        "reservation-ended",
        "refund-used",
        "payment-in-progress",
        "change-in-progress",
    },
    "look": set[str](),
    "pay": set[str](),
    "join": {"seats-on-sale", "already-listed", "session-conflict"},
    "entry": set[str](),
    "leave": {"already-confirmed", "payment-in-progress"},
}


def check(evidence: Evidence) -> list[Violation]:
    """Return every violation; fills `evidence.lost`."""
    return [violation for checker in CHECKERS for violation in checker(evidence)]


def never_oversold(evidence: Evidence) -> Iterator[Violation]:
    """P1, a counter: bookings never exceed the capacity, and are counted right."""
    seen = evidence.seen
    booked = Counter(_quota(item) for item in seen.items if item["active"])
    for quota, row in seen.quotas.items():
        if booked[quota] > row["capacity"] or row["confirmed"] > row["capacity"]:
            told = f"{quota}: {booked[quota]} booked, {row['confirmed']} counted"
            yield Violation("P1", f"{told}, {row['capacity']} seats")
        if booked[quota] != row["confirmed"]:
            yield Violation("P1", f"{quota}: {booked[quota]} booked but {row['confirmed']} counted")


def callbacks_kept(evidence: Evidence) -> Iterator[Violation]:
    """P2, a set: what a callback was answered is in Postgres."""
    seen = evidence.seen
    for call in evidence.of("pay", Kind.OK):
        event, told = call.args["event"], call.answer.body["outcome"]
        row = seen.events.get(event)
        if row is None or row["outcome"] != told:
            stands = row and row["outcome"]
            yield Violation("P2", f"{event} was answered {told}, postgres has {stands}")
        elif told == "confirmed":
            booking = seen.bookings.get(call.args["reservation"])
            if booking is None or booking["event"] != event:
                yield Violation("P2", f"{event} was answered confirmed and is not booked")


def payments_end(evidence: Evidence) -> Iterator[Violation]:
    """P6, a bank: every captured payment is a booking or due back, and the sums agree."""
    seen = evidence.seen
    told = {call.args["event"] for call in evidence.of("pay", Kind.OK)}
    for call in evidence.of("pay", *Kind):
        if call.args["event"] not in told and not call.args.get("aborted"):
            told.add(call.args["event"])
            yield Violation("P6", f"{call.args['event']} was never answered 200, also not at last")
    booked_by = {booking["event"] for booking in seen.bookings.values()}
    captured = {name: row for name, row in seen.events.items() if row["status"] == "captured"}
    for name, row in captured.items():
        ends = (row["outcome"] == "confirmed" and name in booked_by) or name in seen.due
        if not ends:
            yield Violation("P6", f"{name} is {row['outcome']}, neither booked nor due back")
    money = sum(row["amount"] for row in captured.values())
    kept = sum(b["amount"] for b in seen.bookings.values() if b["state"] == "confirmed")
    back = sum(row["amount"] for row in seen.due.values())
    if money != kept + back:
        yield Violation("P6", f"{money} captured, {kept} booked and {back} due back")
    confirmed = Counter(
        row["reservation"] for row in captured.values() if row["outcome"] == "confirmed"
    )
    for reservation, times in confirmed.items():
        if times > 1:
            yield Violation("P6", f"{reservation} was confirmed by {times} payments")


def ends_once(evidence: Evidence) -> Iterator[Violation]:
    """P3: no reservation ends twice without having lived again in between."""
    last: dict[str, tuple[int, str]] = {}
    gaps = [(gap["from_version"], gap["to_version"]) for gap in evidence.seen.gaps]
    for row in evidence.seen.journal:
        serial, verb, version = row["subject"], row["verb"], row["version"]
        if verb in WITHOUT_RECORD:
            continue
        state = parse_record(evidence.seen.exam, serial, row["body"]).state.value
        since, before = last.get(serial, (0, ""))
        last[serial] = version, state
        if verb not in ENDS or before not in ENDED:
            continue
        if any(since < end and start < version for start, end in gaps):
            continue  # it may have lived in steps that Postgres lost
        # Its payment may have taken it back in steps that Redis lost; then it was booked.
        was_booked = f"{evidence.seen.exam}.0.{serial}" in evidence.seen.bookings
        if not (evidence.may_lose and verb == "refund" and was_booked):
            at = f"{row['epoch']}-{row['version']}"
            yield Violation("P3", f"{serial} was {before} and ends again by {verb} at {at}")


def repeats_alike(evidence: Evidence) -> Iterator[Violation]:
    """P4: one idempotency key, one reservation; one event, one outcome."""
    by_key: defaultdict[str, set[str]] = defaultdict(set)
    for call in [*evidence.of("reserve", Kind.OK), *evidence.of("probe", Kind.OK)]:
        # What was lost and is reserved again is the same reservation with another deadline.
        names = ("id",) if evidence.may_lose else ("id", "state", "venue", "deadline")
        by_key[call.args["key"]].add(str([call.answer.body[name] for name in names]))
    by_event: defaultdict[str, set[str]] = defaultdict(set)
    for call in evidence.of("pay", Kind.OK):
        by_event[call.args["event"]].add(call.answer.body["outcome"])
    for what, answers in [*by_key.items(), *by_event.items()]:
        if len(answers) > 1:
            yield Violation("P4", f"{what} was answered {sorted(answers)}")
    bodies: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for call in evidence.of("reserve", Kind.OK):
        body = str((call.args["subjects"], call.args["venues"]))
        bodies[call.args["key"]][body] = call.number
    for key, told in bodies.items():
        if len(told) > 1 and not evidence.may_lose:
            yield Violation("P4", f"{key} was taken with two bodies: calls {[*told.values()]}")


def expiry_in_time(evidence: Evidence) -> Iterator[Violation]:
    """P5: nothing expires before the deadline its candidate was shown."""
    shown: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for call in evidence.calls:
        body = call.answer.body
        if call.op in {"reserve", "checkout", "change", "look"} and call.answer.is_ok:
            deadline = body.get("deadline")
            if deadline and body["state"] == "held" and call.ended_ms:
                shown[body["id"]].append((call.ended_ms, _ms(deadline)))
    for row in evidence.seen.journal:
        if row["verb"] != "expire":
            continue
        record = parse_record(evidence.seen.exam, row["subject"], row["body"])
        at_ms = round(row["at"].timestamp() * 1000)
        told = [deadline for ended_ms, deadline in shown[record.id] if ended_ms <= at_ms]
        promised = max([record.deadline_ms, *told])
        if at_ms < promised:
            if evidence.may_lose:
                evidence.lost[record.id] = "expired early"
            else:
                early = f"{promised - at_ms} ms before its deadline"
                yield Violation("P5", f"{record.id} expired {early}")
        late_ms = at_ms - record.due_ms
        is_unhindered = evidence.is_calm or evidence.is_spared
        if is_unhindered and late_ms > EXPIRY_LATE_MAX_MS + evidence.machine_ms:
            yield Violation("P5", f"{record.id} expired {late_ms} ms late")


def books_balance(evidence: Evidence) -> Iterator[Violation]:
    """P7, counters: each quota's seats add up, in Redis, with its records and with Postgres."""
    seen = evidence.seen
    if seen.unquiet:
        yield Violation("P8", f"never quiet: {seen.unquiet}")
    taken = seats_taken(seen.records.values())
    for quota, row in seen.quotas.items():
        parts = {name: counted.get(quota, 0) for name, counted in seen.counters.items()}
        capacity = parts.pop("capacity")
        if sum(parts.values()) != capacity or min(parts.values()) < 0:
            yield Violation("P7", f"{quota}: {parts} of {capacity}")
        if capacity != row["capacity"]:
            yield Violation("P7", f"{quota}: redis {capacity} seats, postgres {row['capacity']}")
        if parts["confirmed"] != row["confirmed"]:
            told = f"redis {parts['confirmed']}, postgres {row['confirmed']}"
            yield Violation("P7", f"{quota} confirmed: {told}")
        for name, seats in taken.items():
            if seats[quota] != parts[name]:
                yield Violation("P7", f"{quota}: {seats[quota]} {name}, counted {parts[name]}")
    if len(seen.quarantine) != evidence.poisoned:
        told = f"{len(seen.quarantine)} entries quarantined, not {evidence.poisoned}"
        yield Violation("P7", told)


def one_a_session(evidence: Evidence) -> Iterator[Violation]:
    """P9: a candidate has one seat in a session, in Postgres and in Redis."""
    seen = evidence.seen
    booked = Counter((i["candidate"], i["session"]) for i in seen.items if i["active"])
    live = [
        (f"{record.candidate}/{session}", record.id.rpartition(".")[2])
        for record in seen.records.values()
        if not record.state.is_ended
        for session in record.sessions
    ]
    for who, seats in [*booked.items(), *Counter(claim for claim, _ in live).items()]:
        if seats > 1:
            yield Violation("P9", f"{who} has {seats} seats in one session")
    if dict(live) != seen.claims:
        differing = dict(set(live) ^ set(seen.claims.items()))
        yield Violation("P9", f"claims differ from live reservations: {differing}")


def acknowledged_kept(evidence: Evidence) -> Iterator[Violation]:
    """A set: every acknowledged reservation exists, and nothing happened that nobody asked for."""
    seen = evidence.seen
    known = seen.records.keys() | seen.drained.keys() | seen.bookings.keys()
    acknowledged = [*evidence.of("reserve", Kind.OK), *evidence.of("probe", Kind.OK)]
    missing = {call.answer.body["id"]: call.answer.body for call in acknowledged}
    served_again_ms = min((call.ended_ms or 0 for call in evidence.of("probe", Kind.OK)), default=0)
    for reservation in sorted(missing.keys() - known):
        if evidence.may_lose:
            is_over = _ms(missing[reservation]["deadline"]) <= served_again_ms
            evidence.lost[reservation] = "gone, and over before service" if is_over else "gone"
        else:
            yield Violation("lost", f"{reservation} was acknowledged and is not known")
    for call in evidence.calls:
        if call.answer.slug == "unknown-reservation":
            # A hold may be unknown for the moment between a rebuild and its being put back.
            evidence.lost.setdefault(call.args["reservation"], "unknown for a moment")
    asked = {
        "released": evidence.reservations("release", *Kind),
        "refunded": evidence.reservations("refund", *Kind),
        "confirmed": evidence.reservations("pay", *Kind),
    }
    left = {call.args["entry"] for call in evidence.of("leave", *Kind)}
    for record in seen.records.values():
        is_of_who_left = f"{seen.exam}.w.{record.request_hash}" in left  # an offer names its entry
        if record.id not in asked.get(record.state.value, {record.id}) and not is_of_who_left:
            yield Violation("lost", f"{record.id} is {record.state} and nobody asked for it")


def bookings_as_shown(evidence: Evidence) -> Iterator[Violation]:
    """A register: who was told of a booking is not shown a hold afterwards."""
    confirmed_at = _confirmed_at(evidence)
    for call in evidence.of("look", Kind.OK):
        reservation, state = call.args["reservation"], call.answer.body["state"]
        is_later = confirmed_at.get(reservation, call.invoked_ms) < call.invoked_ms
        if is_later and state in {"held", "released", "expired"}:
            told = f"{reservation} was confirmed and is shown as {state}"
            yield Violation("P2", f"{told} in call {call.number}")


def bookings_as_told(evidence: Evidence) -> Iterator[Violation]:
    """A register: a booking stands where its last change said, and a refund stays a refund."""
    seen, confirmed_at = evidence.seen, _confirmed_at(evidence)
    for reservation in evidence.reservations("refund", Kind.OK):
        if reservation not in seen.refunds:
            yield Violation("P2", f"{reservation} was refunded, postgres does not know it")
    last: dict[str, str] = {}
    perhaps: defaultdict[str, set[str]] = defaultdict(set)
    for call in evidence.of("change", Kind.OK, Kind.UNKNOWN):
        reservation = call.args["reservation"]
        if call.answer.is_unknown:
            perhaps[reservation].add(call.args["venue"])
        elif call.invoked_ms >= confirmed_at.get(reservation, call.invoked_ms + 1):
            last[reservation] = call.args["venue"]
    for reservation, venue in last.items():
        stands = seen.bookings[reservation]["venue"] if reservation in seen.bookings else None
        if stands not in {venue, *perhaps[reservation]}:
            yield Violation("P2", f"{reservation} was moved to {venue} and is at {stands}")


def _confirmed_at(evidence: Evidence) -> dict[str, int]:
    """When each reservation was first told to be confirmed, in ms."""
    first: dict[str, int] = {}
    for call in evidence.of("pay", Kind.OK):
        if call.answer.body["outcome"] == "confirmed" and call.ended_ms:
            reservation = call.args["reservation"]
            first[reservation] = min(first.get(reservation, call.ended_ms), call.ended_ms)
    return first


def answered_in_time(evidence: Evidence) -> Iterator[Violation]:
    """P8: whatever is away, no request hangs past the service's own limit."""
    for call in evidence.calls:
        took_ms = (call.ended_ms or call.invoked_ms) - call.invoked_ms
        if took_ms > ANSWER_MAX_MS + evidence.machine_ms:
            yield Violation("P8", f"call {call.number}, {call.op}, hung for {took_ms} ms")


def others_served(evidence: Evidence) -> Iterator[Violation]:
    """P8: an exam on another primary than the one that failed is served all the time."""
    if not evidence.is_spared:
        return
    limit_ms, told = UNHINDERED_MAX_MS + evidence.machine_ms, "its primary was not hit, and"
    if evidence.longest_outage_ms > limit_ms:
        yield Violation("P8", f"{told} it was not served for {evidence.longest_outage_ms} ms")
    for call in evidence.calls:
        took_ms = (call.ended_ms or call.invoked_ms) - call.invoked_ms
        if took_ms > limit_ms:
            yield Violation("P8", f"{told} call {call.number}, {call.op}, took {took_ms} ms")


def answers_expected(evidence: Evidence) -> Iterator[Violation]:
    """Every answer is one a frontend can expect; an internal error never is."""
    strange: Counter[str] = Counter()
    for call in evidence.calls:
        slug = call.answer.slug
        expected = EXPECTED_REFUSALS[call.op] | (
            {"unknown-reservation"} if evidence.may_lose else set()
        )
        is_refused = call.answer.kind is Kind.REFUSED
        if slug == "internal-error" or (is_refused and slug not in expected):
            strange[f"{call.op} was answered {call.answer.status} {slug}"] += 1
    for told, times in strange.items():
        yield Violation("answers", f"{told}, {times} times")


CHECKERS: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    never_oversold,
    callbacks_kept,
    ends_once,
    repeats_alike,
    expiry_in_time,
    payments_end,
    books_balance,
    one_a_session,
    acknowledged_kept,
    bookings_as_shown,
    bookings_as_told,
    answered_in_time,
    others_served,
    answers_expected,
    *LEVEL_CHECKERS,
    *ORDER_CHECKERS,
)


def _quota(item: Row) -> str:
    return f"{item['venue']}/{item['subject']}"


def _ms(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)
