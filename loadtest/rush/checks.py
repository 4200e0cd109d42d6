"""The promises, checked at the end of a rush from what it knows and what the service says.

Each check counts what it looked at and yields what is broken. A check that found nothing to look at
is broken too: a rehearsal that never saw a repeat cannot say that repeats have one effect. Nothing
here knows locust, the stores or the processes, so the checks can be fed with made-up evidence and
seen to fail.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.rush.evidence import (
    Attempt,
    Call,
    Delivered,
    Document,
    Done,
    Evidence,
    Facts,
    Held,
    LeftList,
    Listed,
    Looked,
    Repeated,
    Sent,
    Shown,
)
from loadtest.rush.exam import seconds
from loadtest.rush.fairness import fair_order, fair_ranks

BOOKED = frozenset({"confirmed", "changing_venue"})
ENDED = frozenset({"released", "expired", "refunded"})
ENDS = frozenset({"release", "expire", "refund"})
EXPIRY_LATE_MAX_S = 1.0
MACHINE_LATE_MAX_S = 1.5
"""What a machine that carries stores, service and crowd may add to the time of an expiry."""

EVIDENCE_MAX = 5
"""Lines of evidence that are shown for one promise."""

_BUSY = frozenset({"overloaded", "not-ready", "rate-limited", "paused"})
_SERVER_FAULT = 500
_UNAVAILABLE = 503
_OK = 200


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise: how much was looked at, and what was found broken."""

    promise: str
    meaning: str
    looked_at: int
    broken: tuple[str, ...]

    @property
    def is_kept(self) -> bool:
        """Whether it was put to the test and nothing broke."""
        return self.looked_at > 0 and not self.broken

    @property
    def lines(self) -> tuple[str, ...]:
        """The evidence to show, cut to a few lines."""
        if self.looked_at == 0:
            return ("nothing was seen that could show it", *self.broken[:EVIDENCE_MAX])
        more = len(self.broken) - EVIDENCE_MAX
        return (*self.broken[:EVIDENCE_MAX], *((f"and {more} more",) if more > 0 else ()))


Findings = Iterator[str | None]
"""None for each thing looked at and found right, else what is wrong with it."""


def check(evidence: Evidence, facts: Facts) -> list[Verdict]:
    """Return the verdict on every promise; those of the waiting room only where there is one."""
    found = []
    for promise, meaning, checker in CHECKERS:
        if facts.room is None and checker in _OF_THE_ROOM:
            continue
        if checker is served_in_order and not evidence.of(Listed):
            continue
        findings = list(checker(evidence, facts))
        broken = tuple(finding for finding in findings if finding is not None)
        found.append(Verdict(promise, meaning, len(findings), broken))
    return found


def never_oversold(evidence: Evidence, facts: Facts) -> Findings:
    """P1: bookings never exceed the capacity, and no more seats are left than there are."""
    booked = _booked(facts)
    for quota, capacity in _capacities(facts).items():
        at = f"{'/'.join(quota)}: {booked[quota]} booked of {capacity}"
        yield at if booked[quota] > capacity else None
    for looked in evidence.of(Looked):
        wrong = not 0 <= looked.remaining <= looked.capacity
        yield f"{looked.remaining} of {looked.capacity} seats left" if wrong else None
    yield from _audited(facts, "P1")


def never_lost(evidence: Evidence, facts: Facts) -> Findings:
    """P2: what a callback was answered is in the bookings or in the refunds due."""
    booked = {row["event"]: row["reservation"] for row in facts.bookings}
    due = {row["event"] for row in facts.refunds_due}
    sent = {payment.event: payment for payment in evidence.of(Sent)}
    for told in _answered(evidence):
        if told.outcome == "confirmed":
            stands = booked.get(told.event)
            wrong = stands != sent[told.event].reservation
            yield f"{told.event} was confirmed, and its booking is {stands}" if wrong else None
        elif told.outcome == "refund_due":
            yield None if told.event in due else f"{told.event} is due back and is not listed"


def one_end(evidence: Evidence, facts: Facts) -> Findings:
    """P3: no reservation ends twice without having lived again; what was given back is ended."""
    states = {}
    for reservation in _reservations(facts):
        states[reservation["id"]] = reservation["state"]
        before = ""
        for step in reservation["history"]:
            wrong = step["step"] in ENDS and before in ENDED
            before = step["state"]
            yield f"{reservation['id']} was ended twice, by {step['step']}" if wrong else None
    paid = {sent.reservation for sent in evidence.of(Sent)}
    for done in evidence.of(Done):
        if done.verb != "change" and done.reservation not in (paid - _refunded(evidence)):
            state = states.get(done.reservation)
            wrong = state not in ENDED
            yield f"{done.reservation}: {done.verb} was answered, it is {state}" if wrong else None
    yield from _audited(facts, "P3")


def one_effect(evidence: Evidence, facts: Facts) -> Findings:
    """P4: a repeated key or event has one effect and the same answer."""
    answers: defaultdict[str, list[Document]] = defaultdict(list)
    keys: defaultdict[str, set[str]] = defaultdict(set)
    for held in evidence.of(Held):
        answers[held.key].append(held.reservation)
        keys[held.reservation["id"]].add(held.key)
    for key, told in answers.items():
        for again in told[1:]:
            differ = [name for name in again if again[name] != told[0].get(name)]
            yield f"{key} was answered with another {', '.join(differ)}" if differ else None
    for reservation, made_by in keys.items():
        if len(made_by) > 1:
            yield f"{reservation} was made by {len(made_by)} keys"
    for repeated in evidence.of(Repeated):
        yield None if repeated.is_same else f"{repeated.what} was answered differently"
    yield from _paid_once(evidence, facts)


def _paid_once(evidence: Evidence, facts: Facts) -> Findings:
    booked = Counter(row["reservation"] for row in facts.bookings)
    for reservation, times in booked.items():
        if times > 1:
            yield f"{reservation} is booked {times} times"
    outcomes: defaultdict[str, list[str]] = defaultdict(list)
    for delivered in _answered(evidence):
        outcomes[delivered.event].append(delivered.outcome)
    for event, heard in outcomes.items():
        for outcome in heard[1:]:
            differ = outcome != heard[0]
            yield f"{event} was answered {heard[0]}, then {outcome}" if differ else None


def expiry_in_time(evidence: Evidence, facts: Facts) -> Findings:
    """P5: an unpaid hold ends after the deadline that was shown, and soon after it."""
    shown: defaultdict[str, float] = defaultdict(float)
    for told in evidence.of(Shown):
        shown[told.reservation] = max(shown[told.reservation], seconds(told.deadline))
    slack_s = facts.exam["hold"]["expiry_slack_s"]
    late_max_s = slack_s + EXPIRY_LATE_MAX_S + MACHINE_LATE_MAX_S
    for reservation in _reservations(facts):
        name, deadline = reservation["id"], reservation["deadline"]
        promised_s = max(shown[name], seconds(deadline) if deadline else 0.0)
        steps = [step["step"] for step in reservation["history"]]
        # A payment that could not be recorded keeps its hold longer, for the provider to try again.
        bound_s = float("inf") if "unpin" in steps else late_max_s
        if reservation["state"] == "held" and facts.at_s > promised_s + bound_s:
            yield f"{name} is held {facts.at_s - promised_s:.1f} s after its deadline"
        for step in reservation["history"]:
            if step["step"] == "expire" and promised_s:
                late_s = seconds(step["at"]) - promised_s
                wrong = f"{name} expired {late_s:+.3f} s after its deadline ({', '.join(steps)})"
                yield None if 0 <= late_s <= bound_s else wrong


def payments_end(evidence: Evidence, facts: Facts) -> Findings:
    """P6: every captured payment is booked or due back, and the money adds up."""
    outcomes = {delivered.event: delivered.outcome for delivered in _answered(evidence)}
    captured = [sent for sent in evidence.of(Sent) if sent.status == "captured"]
    for sent in captured:
        end = outcomes.get(sent.event)
        wrong = end not in {"confirmed", "refund_due"}
        yield f"{sent.event} ended as {end}" if wrong else None
    money = sum(sent.amount for sent in captured)
    kept = sum(int(row["amount"]) for row in facts.bookings if row["state"] in BOOKED)
    back = sum(row["amount"] for row in own_refunds_due(evidence, facts))
    if money != kept + back:
        yield f"{money} captured, but {kept} booked and {back} due back"
    yield from _audited(facts, "P6")


def books_balance(_evidence: Evidence, facts: Facts) -> Findings:
    """P7: what is left is what is neither booked nor held, and both stores agree."""
    taken = _booked(facts)
    for reservation in _reservations(facts):
        if reservation["state"] in {"held", "confirming"}:
            taken.update((reservation["venue"], subject) for subject in reservation["subjects"])
    left = {(q["venue"], q["subject"]): q["remaining"] for q in facts.availability["quotas"]}
    for quota, capacity in _capacities(facts).items():
        expected = capacity - taken[quota]
        told = f"{'/'.join(quota)}: {left.get(quota)} left, {expected} expected"
        yield told if left.get(quota) != expected else None
    yield from _audited(facts, "P7")


def still_standing(evidence: Evidence, facts: Facts) -> Findings:
    """P8: ready and serving at the end; on the way only faults that say when to come back."""
    yield None if facts.ready_status == _OK else f"/readyz answers {facts.ready_status}"
    wrong = facts.probe_status not in {200, 201}
    yield f"a repeated order is answered {facts.probe_status}" if wrong else None
    for call in evidence.of(Call):
        busy = call.status == _UNAVAILABLE and call.slug in _BUSY
        wrong = call.status >= _SERVER_FAULT and not busy
        yield f"{call.step} was answered {call.status} {call.slug}" if wrong else None


def one_a_session(_evidence: Evidence, facts: Facts) -> Findings:
    """P9: a candidate has one subject in a session, across all venues."""
    session_of = {subject["id"]: subject["session"] for subject in facts.exam["subjects"]}
    booked: Counter[tuple[str, str]] = Counter()
    for row in facts.bookings:
        if row["state"] in BOOKED:
            booked.update((row["candidate"], session_of[s]) for s in row["subjects"].split())
    live: Counter[tuple[str, str]] = Counter()
    for reservation in _reservations(facts):
        if reservation["state"] not in ENDED:
            who = reservation["candidate"]
            live.update((who, session_of[s]) for s in reservation["subjects"])
    for where, seats in (("booked", booked), ("live", live)):
        for (who, session), count in seats.items():
            yield f"{who} has {count} subjects {where} in {session}" if count > 1 else None
    yield from _audited(facts, "P9")


def served_in_order(evidence: Evidence, facts: Facts) -> Findings:
    """P10: nobody in the list is offered seats before somebody who could have used them in full.

    Holds that no order of a candidate made are offers; they were made when they were created.
    """
    ordered = {held.reservation["id"] for held in evidence.of(Held)}
    left_s = {left.entry: left.at_s for left in evidence.of(LeftList)}
    entries = {listed.entry["id"]: listed.entry for listed in evidence.of(Listed)}
    offers = {
        entry["id"]: reservation
        for entry in entries.values()
        for reservation in facts.views[entry["candidate"]]["reservations"]
        if reservation["id"] not in ordered
    }
    for served, offer in offers.items():
        at_s, seats = seconds(offer["created_at"]), set(offer["subjects"])
        passed = [
            entry["number"]
            for name, entry in entries.items()
            if entry["number"] < entries[served]["number"]
            and offer["venue"] in entry["venues"]
            and seats.issuperset(entry["subjects"])
            and not (name in offers and seconds(offers[name]["created_at"]) <= at_s)
            and left_s.get(name, float("inf")) > at_s + MACHINE_LATE_MAX_S
        ]
        told = f"number {entries[served]['number']} was offered seats before numbers {passed}"
        yield told if passed else None


def refused_as_told(evidence: Evidence, _facts: Facts) -> Findings:
    """Hold each thing that must be refused against the name it was refused by."""
    for attempt in evidence.of(Attempt):
        right = attempt.slug in (*attempt.expected, *_BUSY) or attempt.status == 0
        told = f"{attempt.what} was answered {attempt.status} {attempt.slug}"
        yield None if right else told


def _answered(evidence: Evidence) -> list[Delivered]:
    return [delivered for delivered in evidence.of(Delivered) if delivered.status == _OK]


def own_refunds_due(evidence: Evidence, facts: Facts) -> list[Document]:
    """Return the money due back for payments of this rehearsal; a used service has others too."""
    own = {sent.event for sent in evidence.of(Sent)}
    return [row for row in facts.refunds_due if row["event"] in own]


def _refunded(evidence: Evidence) -> set[str]:
    return {done.reservation for done in evidence.of(Done) if done.verb == "refund"}


def _reservations(facts: Facts) -> Iterable[Document]:
    return [r for view in facts.views.values() for r in view["reservations"]]


def _booked(facts: Facts) -> Counter[tuple[str, str]]:
    booked: Counter[tuple[str, str]] = Counter()
    for row in facts.bookings:
        if row["state"] in BOOKED:
            booked.update((row["venue"], subject) for subject in row["subjects"].split())
    return booked


def _capacities(facts: Facts) -> Mapping[tuple[str, str], int]:
    return {
        (venue, subject): seats
        for venue, by_subject in facts.exam["seats"].items()
        for subject, seats in by_subject.items()
    }


def _audited(facts: Facts, promise: str) -> Findings:
    """Yield what the service's own audit says of a promise."""
    if promise not in facts.audit["checked"]:
        yield f"the audit did not check {promise}"
    for found in facts.audit["differences"]:
        if found["promise"] == promise:
            yield f"audit: {found['place']}: expected {found['expected']}, found {found['found']}"


Checker = Callable[[Evidence, Facts], Iterator[Any]]
_OF_THE_ROOM: Sequence[Checker] = (fair_order, fair_ranks)
CHECKERS: Sequence[tuple[str, str, Checker]] = (
    ("P1", "never oversold", never_oversold),
    ("P2", "no answered payment is lost", never_lost),
    ("P3", "each hold ends once", one_end),
    ("P4", "repeats have one effect", one_effect),
    ("P5", "unpaid holds end in time", expiry_in_time),
    ("P6", "every payment ends", payments_end),
    ("P7", "the books balance", books_balance),
    ("P8", "it stands at the end", still_standing),
    ("P9", "one subject a session", one_a_session),
    ("P10", "the list is served in order", served_in_order),
    ("refusals", "what must be refused is", refused_as_told),
    ("order", "nobody is called before those in front", fair_order),
    ("draw", "ranks are as the seed says", fair_ranks),
)
