"""The audit of a waiting list: that Redis keeps seats for exactly those who wait, in their order.

What is under way explains differences for a moment: an entry between the stores, an offer that is
being made. The audit looks several times, and reports what stays.
"""

from collections import Counter
from collections.abc import Iterable

from quota_service.domain.exam import Exam, ReturnRule
from quota_service.registration.deal_round import is_stopped
from quota_service.registration.level_list import UNTOLD_AGE_S, waiting_entries
from quota_service.registration.stores import MaintenanceStores
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.lists import wish_of
from quota_service.slices import in_slices
from quota_service.waiting_list.entry import Entry

Found = tuple[str, str, str]
"""A place, what was expected there and what was found."""

_SETTLED_MS = 60_000
"""How long an entry waits before it counts as passed over: many rounds of the dealing."""


async def audit_list(stores: MaintenanceStores, exam: Exam, shard: Shard) -> set[Found]:
    """Return what is not in order with the waiting list of an exam.

    Every entry that waits by Postgres waits in Redis, and no other that has a number; what is
    wanted there is what they want; each offer has its hold; and no entry that wants one seat waits
    while it is on open sale.
    """
    if exam.returned.rule is ReturnRule.AT_ONCE:
        return set()
    waiting = await waiting_entries(stores.list_ledger, exam.id, exam)
    listed = {each.serial: each async for each in stores.lists.listed(shard)}
    numbered = {serial for serial, each in listed.items() if each.number is not None}
    found: set[Found] = set()
    if lacking := waiting.keys() - listed.keys():
        found.add(("waiting list", "every entry in Redis", f"{len(lacking)} not there"))
    if beyond := numbered - waiting.keys():
        found.add(("waiting list", "no other entry in Redis", f"{len(beyond)} do not wait"))
    # After a subject was moved, the next dealing has the entries want its session of now.
    if {serial: each.wish for serial, each in listed.items()} == {
        serial: wish_of(entry) for serial, entry in waiting.items()
    }:
        found |= await _wanted(stores, shard, waiting.values())
    found |= await _without_hold(stores, exam, shard)
    if exam.returned.rule is ReturnRule.LIST_FIRST:
        found |= await _passed_over(stores, exam, shard, waiting.values())
    return found


async def _wanted(stores: MaintenanceStores, shard: Shard, entries: Iterable[Entry]) -> set[Found]:
    """Compare what Redis counts as wanted with what the entries want."""
    expected: Counter[str] = Counter()
    async for entry in in_slices(entries):
        for venue in entry.venues:
            expected.update(f"{venue}/{subject}" for subject in entry.subjects)
            expected.update(f"{venue}//{session}" for session in {*entry.sessions} - {""})
    wanted = await stores.lists.wanted(shard)
    return {
        (f"{field} wanted", f"by {expected[field]} entries", f"by {wanted.get(field, 0)}")
        for field in expected.keys() | wanted.keys()
        if expected[field] != wanted.get(field, 0)
    }


async def _without_hold(stores: MaintenanceStores, exam: Exam, shard: Shard) -> set[Found]:
    """Look for offers whose hold neither Redis nor the journal has."""
    found: set[Found] = set()
    for entry in await stores.deals.untold(exam.id, UNTOLD_AGE_S):
        serial = (entry.reservation or "").rpartition(".")[2]
        if (await stores.seats.recall(shard, serial)).code is Code.UNKNOWN:
            found.add((f"entry {entry.id}", f"the hold {entry.reservation}", "none"))
    return found


async def _passed_over(
    stores: MaintenanceStores, exam: Exam, shard: Shard, entries: Iterable[Entry]
) -> set[Found]:
    """Look for entries that want one seat which is on open sale, while nothing is paused."""
    status = await stores.list_ledger.status(exam.id)
    if status is None or status.is_paused or exam.pauses:
        return set()
    settled_ms = await stores.seats.clock_ms(shard) - _SETTLED_MS
    singles = [e for e in entries if len(e.subjects) == 1 and e.joined_ms < settled_ms]
    places = {
        f"{venue}/{entry.subjects[0]}": f"{venue}/{entry.sessions[0]}"
        for entry in singles
        for venue in entry.venues
        if not is_stopped(exam, f"{venue}/{entry.subjects[0]}")
    }
    remaining = await stores.dealing.counts(shard, "remaining", list(places))
    left = await stores.dealing.counts(shard, "ceiling_left", list(set(places.values())))
    return {
        (f"{quota} on open sale", "no seat while an entry waits for it", f"{seats} seats")
        for quota, seats in remaining.items()
        if seats > 0 and left.get(places[quota], 1) > 0
    }
