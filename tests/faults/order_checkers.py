"""Checks P10: seats that come back go to those who wait for them, in order, before anybody else.

What was dealt is read from the journal, who waited from the entries in Postgres. A step of the
journal has its place in the history of the shard, so no clock is asked which offer came first.
"""

import datetime as dt
from collections.abc import Callable, Iterator

from quota_service.domain.reservation import Reservation
from quota_service.seats.record import parse_record
from tests.faults.evidence import Evidence, Violation
from tests.faults.history import Kind
from tests.faults.seen import Row

_CLOCKS_MS = 2
"""What the clocks of both stores, of one machine, may differ by when they are rounded."""

Step = tuple[int, int]


def joined_kept(evidence: Evidence) -> Iterator[Violation]:
    """P10, a set: who was answered that it waits is on the list, once for each key."""
    known = {f"{row['exam']}.w.{row['serial']}": row["number"] for row in evidence.seen.entries}
    by_key: dict[str, str] = {}
    for call in evidence.of("join", Kind.OK):
        entry, number = call.answer.body["id"], call.answer.body["number"]
        if known.get(entry) != number:
            told = f"{entry} was answered number {number}, postgres has {known.get(entry)}"
            yield Violation("P10", told)
        if by_key.setdefault(call.args["key"], entry) != entry:
            yield Violation("P4", f"{call.args['key']} made {by_key[call.args['key']]} and {entry}")


def offers_in_order(evidence: Evidence) -> Iterator[Violation]:
    """P10, an order: nobody is passed who waited before and could have used the seats in full.

    Entries with the same subjects and venues are therefore offered seats by their numbers.
    """
    if evidence.has_gap:
        return  # offers are among the steps that Postgres lost
    entries = {row["serial"]: row for row in evidence.seen.entries}
    offers = _of_journal(evidence, "offer")
    first = _first_offers(offers)
    for step, row, hold in offers:
        served = entries.get(hold.request_hash)
        if served is None or first[hold.request_hash] != step:
            continue
        for entry in entries.values():
            if entry["number"] >= served["number"] or not _could_use(entry, hold):
                continue
            if _has_ended(entry, row) or first.get(entry["serial"], step) < step:
                continue
            if evidence.may_lose and entry["offers"]:
                continue  # an offer of it, and the step that made it, may have been lost
            told = f"number {served['number']} was offered {hold.venue} {','.join(hold.subjects)}"
            yield Violation("P10", f"{told} before number {entry['number']} at {step}")


def kept_for_who_waits(evidence: Evidence) -> Iterator[Violation]:
    """P10: no seat is sold that somebody waits for who needs no other one beside it."""
    if evidence.may_lose or evidence.has_gap:
        return  # seats of holds that were lost are on sale; offers may be missing
    first = _first_offers(_of_journal(evidence, "offer"))
    alone = [row for row in evidence.seen.entries if len(row["subjects"]) == 1]
    for step, row, hold in _of_journal(evidence, "reserve"):
        for entry in alone:
            if hold.venue not in entry["venues"] or entry["subjects"][0] not in hold.subjects:
                continue
            if _ms(entry["joined_at"]) + _CLOCKS_MS >= _ms(row["at"]) or _has_ended(entry, row):
                continue
            if first.get(entry["serial"], step) < step:
                continue
            told = f"{hold.venue}/{entry['subjects'][0]} was sold at {step}"
            yield Violation("P10", f"{told} while number {entry['number']} waited for it")


ORDER_CHECKERS: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    joined_kept,
    offers_in_order,
    kept_for_who_waits,
)


def _of_journal(evidence: Evidence, verb: str) -> list[tuple[Step, Row, Reservation]]:
    """Return the steps of a verb, in order, with the holds they made."""
    seen = evidence.seen
    return [
        (
            (row["epoch"], row["version"]),
            row,
            parse_record(seen.exam, row["subject"], row["body"]),
        )
        for row in seen.journal
        if row["verb"] == verb
    ]


def _first_offers(offers: list[tuple[Step, Row, Reservation]]) -> dict[str, Step]:
    """Return the step of the first offer to each entry; the hold of an offer names its entry."""
    first: dict[str, Step] = {}
    for step, _, hold in offers:
        first.setdefault(hold.request_hash, step)
    return first


def _could_use(entry: Row, hold: Reservation) -> bool:
    """Whether the seats of a hold would have served an entry in full."""
    return hold.venue in entry["venues"] and set(entry["subjects"]) <= set(hold.subjects)


def _has_ended(entry: Row, step: Row) -> bool:
    """Whether an entry had ended before a step, without an offer of which this is known."""
    ended = entry["ended_at"]
    return ended is not None and _ms(ended) <= _ms(step["at"]) + _CLOCKS_MS


def _ms(moment: dt.datetime) -> float:
    return moment.timestamp() * 1000
