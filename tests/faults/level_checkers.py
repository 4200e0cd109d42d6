"""Checks that the stores tell the same, and that a recovery happens when, and only when, it must.

The journal is the history of a shard: every step is in it once. What a recovery costs follows what
was lost: a healthy Redis is never recovered, and one that lost nothing is never rebuilt. And a
payment that has had its end keeps no seat, however often it is told again.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator

from quota_service.domain.reservation import Reservation, State
from quota_service.seats.record import WITHOUT_RECORD, parse_record
from tests.faults.deployment import REQUEST_TIMEOUT_S
from tests.faults.evidence import Evidence, Violation
from tests.faults.history import Call, Kind
from tests.faults.seen import Row, Seen

_EXPIRY_LATE_MAX_MS = 1_000
"""How long after its time a hold may stand at the quiet moment, but for what the machine adds."""
_REQUEST_MS = 1000 * REQUEST_TIMEOUT_S
"""How long a request whose answer nobody got may go on, but for what the machine adds."""
_EVENT_BYTES = 6
_EVENT_CHARS = 2 * _EVENT_BYTES
_LIVE = {State.HELD.value, State.CONFIRMING.value}


def stores_level(evidence: Evidence) -> Iterator[Violation]:
    """P7, a register each: of every reservation both stores tell the same state and venue."""
    seen = evidence.seen
    for record in seen.records.values():
        booking = seen.bookings.get(record.id)
        if booking is not None:
            stands, told = (record.state.value, record.venue), (booking["state"], booking["venue"])
            if stands != told:
                yield Violation("P7", f"{record.id} is {stands} in redis, booked as {told}")
        elif record.id not in seen.drained:
            yield Violation("P7", f"{record.id} is {record.state} and postgres does not know it")
        elif seen.drained[record.id]["state"] != record.state.value:
            told_state = seen.drained[record.id]["state"]
            yield Violation("P7", f"{record.id} is {record.state}, in postgres {told_state}")
    booked = {name for name, row in seen.bookings.items() if row["state"] == "confirmed"}
    held = {name for name, row in seen.drained.items() if row["state"] in _LIVE}
    for name in sorted((booked | (held - seen.bookings.keys())) - seen.records.keys()):
        how = "booked" if name in booked else "held"
        yield Violation("P7", f"{name} is {how} in postgres and redis does not know it")


def journal_whole(evidence: Evidence) -> Iterator[Violation]:
    """A log: each version of the shard is one step, in the order of the epochs, none is missing."""
    seen = evidence.seen
    steps = [(row["epoch"], row["version"]) for row in seen.journal]
    for row in seen.quarantine:
        epoch, _, version = row["entry"].partition("-")
        steps.append((int(epoch), int(version)))
    for gap in seen.gaps:
        steps += [(gap["epoch"], n) for n in range(gap["from_version"], gap["to_version"] + 1)]
    # A gap is filled under the epoch of its end; its steps may be of an earlier one.
    versions = [version for _, version in sorted(steps, key=lambda step: (step[1], step[0]))]
    for before, version in zip([0, *versions], versions, strict=False):
        if version != before + 1:
            yield Violation("journal", f"version {version} comes after {before}")
    if not seen.gaps:
        in_order = sorted(steps)
        if [version for _, version in in_order] != versions:
            yield Violation("journal", f"a later epoch has an earlier version: {in_order}")
    if bool(seen.gaps) != evidence.has_gap:
        told = f"{len(seen.gaps)} gaps, and postgres {'lost' if evidence.has_gap else 'kept'} all"
        yield Violation("journal", told)


def recovered_when_lost(evidence: Evidence) -> Iterator[Violation]:
    """P8: a healthy Redis is never recovered, and one that lost nothing is never rebuilt."""
    recoveries = evidence.seen.recoveries
    must = evidence.may_lose or evidence.restarts_redis
    if must and not recoveries:
        yield Violation("harness", "no shard was recovered: the fault did not bite")
    for row in recoveries:
        way = row["way"] or "given up"
        told = f"epoch {row['epoch']} was {way}, since {row['reason']}"
        if not must:
            yield Violation("recovery", f"redis was healthy: {told}")
        elif not evidence.may_lose and row["way"] == "rebuilt":
            yield Violation("recovery", f"redis lost nothing: {told}")


def holds_end(evidence: Evidence) -> Iterator[Violation]:
    """P5: no hold stands after its time, whatever the index of due holds says."""
    for record in evidence.seen.records.values():
        late_ms = evidence.seen.clock_ms - record.due_ms
        if record.state is State.HELD and late_ms > _EXPIRY_LATE_MAX_MS + evidence.machine_ms:
            yield Violation("P5", f"{record.id} is held {late_ms} ms after its time")


def nothing_kept(evidence: Evidence) -> Iterator[Violation]:
    """P4, P5: an event that has had its end takes no seat again, and no hold is kept for it."""
    over_ms = _events_over(evidence)
    events = {word_of(event): event for event in over_ms}
    last: dict[str, Reservation] = {}
    for row, record in _records(evidence.seen):
        before, last[record.id] = last.get(record.id), record
        if before is None:
            continue
        at_ms = round(row["at"].timestamp() * 1000)
        event = events.get((record.attempt or before.attempt)[:_EVENT_CHARS])
        if event is None:
            continue
        since_ms = at_ms - over_ms[event]
        if row["verb"] == "pin" and before.state is State.EXPIRED and since_ms > 0:
            told = f"{event} had ended {since_ms} ms before and took the seats of {record.id} again"
            yield Violation("P4", told)
        kept_ms = record.due_ms - at_ms
        is_kept = record.state is State.HELD and kept_ms > 0 and record.due_ms > before.due_ms
        if row["verb"] == "unpin" and is_kept and since_ms > evidence.machine_ms:
            told = (
                f"{event} had ended {since_ms} ms before and {record.id} is kept for {kept_ms} ms"
            )
            yield Violation("P5", told)


def _events_over(evidence: Evidence) -> dict[str, int]:
    """Return when each event had had its end, and no telling from before it could go on (ms)."""
    tellings: defaultdict[str, list[Call]] = defaultdict(list)
    for call in evidence.of("pay", *Kind):
        tellings[call.args["event"]].append(call)
    over_ms = {}
    for event, calls in tellings.items():
        answered = [call.ended_ms for call in calls if call.answer.is_ok and call.ended_ms]
        if answered:
            first_ms = min(answered)
            begun = [call for call in calls if call.invoked_ms <= first_ms]
            over_ms[event] = max(first_ms, *(_over_ms(call, evidence.machine_ms) for call in begun))
    return over_ms


def _over_ms(call: Call, machine_ms: int) -> int:
    """Return when a request was over in the service, in ms."""
    ended_ms = call.ended_ms or call.invoked_ms
    return ended_ms + (_REQUEST_MS + machine_ms if call.answer.is_unknown else 0)


def word_of(event: str) -> str:
    """Return the word by which an attempt tells its event."""
    return hashlib.blake2b(event.encode(), digest_size=_EVENT_BYTES).hexdigest()


def _records(seen: Seen) -> Iterator[tuple[Row, Reservation]]:
    """Yield the steps that tell of a reservation, and how each left it."""
    for row in seen.journal:
        if row["verb"] not in WITHOUT_RECORD:
            yield row, parse_record(seen.exam, row["subject"], row["body"])


LEVEL_CHECKERS: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    stores_level,
    journal_whole,
    recovered_when_lost,
    holds_end,
    nothing_kept,
)
