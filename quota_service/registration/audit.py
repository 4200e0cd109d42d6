"""Audit: compares both stores quota by quota on a live system, and Postgres with itself.

Requests in flight are between the stores: a payment is booked while Redis has it
`confirming`, a refund is ended while Redis has it `confirmed`. So Redis is read before and after
Postgres, requests in flight explain differences, and only one that is left unexplained several
times in a row is reported.

    P1  booked seats = active items, and neither above the capacity; under a ceiling as many as in
        its quotas, and not above it
    P3  no reservation ended twice
    P6  every captured payment is a booking or money that is due back
    P7  remaining + returned + aside + held + confirming + confirmed = capacity in Redis, and equal
        to Postgres, returned seats as far as the journal is drained; what is left under a ceiling
        is its seats without those that are not remaining
    P9  as many sessions taken as seats; by the definition that is stored every booking, and every
        hold, takes the session of its subjects, and no candidate is booked twice in one; Redis
        has that definition in force
    P10 the waiting list in Redis is the one in Postgres, each of its offers has a hold, and no
        entry is passed over (`audit_list.py`)
"""

import asyncio
import datetime as dt
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from quota_service.domain.exam import MAX_SESSIONS, Exam, Quota
from quota_service.domain.reservation import ReservationId
from quota_service.ledger.auditing import AuditedQuota
from quota_service.ledger.errors import Oversold
from quota_service.registration.audit_list import audit_list
from quota_service.registration.live_holds import live_records
from quota_service.registration.recover_shard import rebuild_shard
from quota_service.registration.stores import MaintenanceStores
from quota_service.registration.sync_shard import finish_import
from quota_service.seats.definition import is_in_force
from quota_service.seats.keys import Shard
from quota_service.seats.replies import ShardSnapshot
from quota_service.slices import in_slices

log = logging.getLogger(__name__)

_EVER = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LATELY = dt.timedelta(days=1)
_LOOKS = 4
_PAUSE_S = 0.25
_DEFINITION = "definition"
"""The place of a difference between the definitions in both stores."""
_CEILING = "ceiling "
"""How the place of a difference under a ceiling begins."""
_SET_ASIDE = "set-aside "
"""The same, of a set-aside."""


class Promise(StrEnum):
    """The promises an audit checks."""

    P1 = "P1"
    P3 = "P3"
    P6 = "P6"
    P7 = "P7"
    P9 = "P9"
    P10 = "P10"


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One thing that is not as promised: where, what was expected and what was found."""

    promise: Promise
    place: str
    expected: str
    found: str

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.promise} {self.place}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found; clean when there is no difference."""

    exam: str
    checked: tuple[Promise, ...]
    quotas: int
    differences: tuple[Difference, ...]

    @property
    def is_clean(self) -> bool:
        """Whether everything is as promised."""
        return not self.differences


async def audit(stores: MaintenanceStores, exam_id: str, *, in_full: bool = True) -> Audit:
    """Check an exam: `in_full` with P3, which reads the whole journal, every payment and hold.

    Else the payments of the last day: what was at its end before has not changed.

    Raises UnknownExam and Unavailable.
    """
    exam = stores.registry.find(exam_id)
    differences = await _compare(stores, exam.id, in_full=in_full)
    for _ in range(_LOOKS - 1):
        if not differences:
            break
        await asyncio.sleep(_PAUSE_S)
        places = {(difference.promise, difference.place) for difference in differences}
        differences = {
            difference
            for difference in await _compare(stores, exam.id, in_full=in_full)
            if (difference.promise, difference.place) in places
        }
    checked = [Promise.P1, Promise.P6, Promise.P7, Promise.P9, Promise.P10]
    after = _EVER if in_full else dt.datetime.now(dt.UTC) - _LATELY
    for event in await stores.auditing.payments_without_end(exam.id, after):
        differences.add(
            Difference(Promise.P6, f"event {event}", "a booking or a refund due", "neither")
        )
    if in_full:
        checked.insert(1, Promise.P3)
        for serial, step in await stores.auditing.ended_twice(exam.id):
            differences.add(Difference(Promise.P3, f"reservation {serial}", "one end", step))
    audited = Audit(exam.id, tuple(checked), len(exam.seats), tuple(sorted(differences)))
    for promise in checked:
        stores.metrics.audit_differences.labels(exam=exam.id, promise=promise).set(
            sum(difference.promise is promise for difference in audited.differences)
        )
    return audited


async def _compare(stores: MaintenanceStores, exam_id: str, *, in_full: bool) -> set[Difference]:
    """Compare both stores once."""
    found: set[Difference] = set()
    await stores.registry.refresh()
    shard = stores.registry.shard(exam_id)
    before = await stores.seats.snapshot(shard)
    ledger = await stores.auditing.quotas(exam_id)
    waiting = await stores.recoveries.returned_seats(exam_id)
    after = await stores.seats.snapshot(shard)
    found |= _waiting(waiting, before, after)
    async for quota, booked in in_slices(ledger.items()):
        found |= _within_postgres(quota, booked)
        found |= _between_stores(quota, booked, before, after)
    found |= await _under_ceilings(stores, shard)
    found |= await _set_aside(stores, shard, after.aside)
    exam = stores.registry.find(exam_id)
    in_force = await stores.seats.definition(shard)
    if not is_in_force(exam, in_force):
        told = ", ".join(f"{name} {value}" for name, value in in_force.items()) or "none"
        expected = f"revision {exam.revision} as Postgres has it"
        found.add(Difference(Promise.P9, _DEFINITION, expected, told))
    if in_full:
        found |= await _holds_in_their_sessions(stores, shard, exam)
    for place, expected, told in await stores.auditing.not_in_their_sessions(exam_id):
        found.add(Difference(Promise.P9, place, expected, told))
    for place, expected, told in await audit_list(stores, exam, shard):
        found.add(Difference(Promise.P10, place, expected, told))
    is_retired = stores.registry.is_retired(exam_id)
    return found | await _within_redis(after, is_retired=is_retired)


def _waiting(
    stored: Mapping[str, int], before: ShardSnapshot, after: ShardSnapshot
) -> set[Difference]:
    """Compare the seats that wait for the next allocation, once the journal is drained."""
    if before.version != after.version or after.steps or after.journal_entries:
        return set()
    seen = {str(quota): seats for quota, seats in after.returned.items() if seats}
    return {
        Difference(
            Promise.P7,
            f"{quota} returned",
            f"{stored.get(quota, 0)} in Postgres",
            f"{seen.get(quota, 0)} in Redis",
        )
        for quota in seen.keys() | stored.keys()
        if seen.get(quota, 0) != stored.get(quota, 0)
    }


async def _under_ceilings(stores: MaintenanceStores, shard: Shard) -> set[Difference]:
    """Compare what is counted under each ceiling with its quotas, in Postgres and in Redis."""
    found: set[Difference] = set()
    for booked in await stores.auditing.ceilings(shard.exam):
        if not booked.booked == booked.confirmed <= booked.seats:
            expected = f"{booked.booked} booked, at most {booked.seats}"
            told = f"{booked.confirmed} counted"
            found.add(Difference(Promise.P1, f"{_CEILING}{booked}", expected, told))
    async with stores.ledger.connection() as connection:
        ceilings = await stores.exams.ceilings(connection, shard.exam)
    for ceiling, seen in (await stores.ceilings.read(shard, ceilings)).items():
        if seen.left != ceiling.seats - seen.taken:
            expected = f"{ceiling.seats} seats less {seen.taken} taken"
            told = "none" if seen.left is None else f"{seen.left} left"
            found.add(Difference(Promise.P7, f"{_CEILING}{ceiling}", expected, told))
    return found


async def _set_aside(
    stores: MaintenanceStores, shard: Shard, aside: Mapping[Quota, int]
) -> set[Difference]:
    """Compare what Redis keeps for groups with Postgres, and what is left with `aside`."""
    found: set[Difference] = set()
    async with stores.ledger.connection() as connection:
        stored = await stores.set_asides.all(connection, shard.exam)
    wanted = {
        (each.id, quota): seats
        for each in stored
        if not each.is_over
        for quota, seats in each.seats.items()
    }
    left: Counter[Quota] = Counter()
    for set_aside, seats in (await stores.set_aside_store.read(shard)).items():
        for quota, kept in seats.items():
            left[quota] += kept.left
            expected = wanted.pop((set_aside, quota), 0)
            if kept.seats != expected or not 0 <= kept.left <= kept.seats:
                place, told = f"{_SET_ASIDE}{set_aside} {quota}", f"{kept.left} of {kept.seats}"
                found.add(Difference(Promise.P7, place, f"{expected} seats", f"{told} left"))
    for (set_aside, quota), expected in wanted.items():
        place = f"{_SET_ASIDE}{set_aside} {quota}"
        found.add(Difference(Promise.P7, place, f"{expected} seats", "none"))
    for quota in left.keys() | aside.keys():
        if left[quota] != aside.get(quota, 0):
            told = f"{aside.get(quota, 0)} aside"
            found.add(Difference(Promise.P7, f"{quota} aside", f"{left[quota]} left", told))
    return found


async def _holds_in_their_sessions(
    stores: MaintenanceStores, shard: Shard, exam: Exam
) -> set[Difference]:
    """Return the holds that take other sessions than those of their subjects.

    The count of sessions taken shows that a candidate has one hold in a session.
    """
    found: set[Difference] = set()
    async for records in live_records(stores, shard):
        for serial, text in records.items():
            _, _, _, subjects, sessions, *_ = text.split("|")
            now = ",".join(exam.session_of.get(each, "none") for each in subjects.split(","))
            if sessions != now:
                place = f"reservation {ReservationId(exam.id, serial)}"
                found.add(Difference(Promise.P9, place, now, sessions))
        await asyncio.sleep(0)  # requests of this process have their turn
    return found


def _within_postgres(quota: Quota, booked: AuditedQuota) -> set[Difference]:
    if booked.items == booked.confirmed <= booked.capacity:
        return set()
    expected = f"{booked.items} booked, at most {booked.capacity}"
    return {Difference(Promise.P1, str(quota), expected, f"{booked.confirmed} counted")}


async def _within_redis(snapshot: ShardSnapshot, *, is_retired: bool) -> set[Difference]:
    found: set[Difference] = set()
    taken = 0
    async for quota, capacity in in_slices(snapshot.capacity.items()):
        parts = snapshot.parts_of(quota)
        taken += snapshot.taken(quota)
        if sum(parts) != capacity or min(parts) < 0:
            told = " + ".join(map(str, parts))
            found.add(Difference(Promise.P7, str(quota), f"{capacity} seats", told))
    # A change of venue has seats at both venues and one session. Steps that were taken while a
    # large shard was read are in some of its quotas, and not in the count of sessions.
    meanwhile = snapshot.steps * MAX_SESSIONS
    least, most = taken - sum(snapshot.confirming.values()) - meanwhile, taken + meanwhile
    if not is_retired and not least <= snapshot.claims <= most:
        expected = f"{least} to {most} sessions"
        found.add(Difference(Promise.P9, "claims", expected, str(snapshot.claims)))
    return found


def _between_stores(
    quota: Quota, booked: AuditedQuota, before: ShardSnapshot, after: ShardSnapshot
) -> set[Difference]:
    """Compare one quota; what is in flight explains a difference as far as it goes."""
    found: set[Difference] = set()
    looks = (before, after)
    capacities = {look.capacity.get(quota, 0) for look in looks}
    if booked.capacity not in capacities:
        expected, told = f"{booked.capacity} in Postgres", f"{max(capacities)} in Redis"
        found.add(Difference(Promise.P7, f"{quota} capacity", expected, told))
    confirmed = [look.confirmed.get(quota, 0) for look in looks]
    confirming = max(look.confirming.get(quota, 0) for look in looks)
    changing = max(look.attempts for look in looks)
    least = min(confirmed) - booked.returning - changing
    most = max(confirmed) + confirming
    if not least <= booked.confirmed <= most:
        expected, told = f"{booked.confirmed} booked in Postgres", f"{confirmed[-1]} in Redis"
        found.add(Difference(Promise.P7, str(quota), expected, told))
    return found


_MENDED_IN_REDIS = (Promise.P7, Promise.P9)


async def repair(stores: MaintenanceStores, audited: Audit) -> list[str]:
    """Mend what is safe to mend, always towards a seat that is not sold twice; return what was.

    Counters in Postgres are only raised. Redis is rebuilt from Postgres as a whole. Payments
    without an end, and reservations that ended twice, are for a person.
    """
    done = []
    promises = {difference.promise for difference in audited.differences}
    if Promise.P1 in promises:
        done += await _raise_counters(stores, audited.exam)
    if any(difference.place == _DEFINITION for difference in audited.differences):
        await finish_import(stores, audited.exam)
        told = "the definition of Postgres is in force in Redis"
        await stores.auditing.note(audited.exam, Promise.P9, _DEFINITION, told)
        done.append(told)
    in_redis = [each for each in audited.differences if each.promise in _MENDED_IN_REDIS]
    for kind in (_CEILING, _SET_ASIDE):
        if any(each.place.startswith(kind) for each in in_redis):
            await finish_import(stores, audited.exam)
            told = f"Redis has each {kind.strip()} of Postgres"
            await stores.auditing.note(audited.exam, Promise.P7, kind.strip(), told)
            done.append(told)
    if any(not each.place.startswith((_DEFINITION, _CEILING, _SET_ASIDE)) for each in in_redis):
        await finish_import(stores, audited.exam)
        rebuilt = await rebuild_shard(stores, audited.exam, "an audit found a difference")
        if rebuilt is not None:
            told = f"rebuilt with {rebuilt.bookings} bookings and {rebuilt.holds} holds"
            tag = stores.registry.used_shard(audited.exam).shard.tag
            await stores.auditing.note(audited.exam, Promise.P7, tag, told)
            done.append(f"{tag} {told}")
    return done


async def _raise_counters(stores: MaintenanceStores, exam_id: str) -> list[str]:
    done = []
    shard = stores.registry.shard(exam_id)
    for quota, booked in (await stores.auditing.quotas(exam_id)).items():
        if booked.items <= booked.confirmed:
            continue
        try:
            epoch = (shard.exam, shard.epoch)
            await stores.auditing.raise_confirmed(epoch, quota, booked.items)
        except Oversold:
            log.exception("more seats booked than the capacity", extra={"quota": str(quota)})
            continue
        told = f"counted {booked.items} booked seats, not {booked.confirmed}"
        await stores.auditing.note(exam_id, Promise.P1, str(quota), told)
        done.append(f"{quota} {told}")
    for ceiling in await stores.auditing.ceilings(exam_id):
        if ceiling.booked <= ceiling.confirmed:
            continue
        try:
            await stores.auditing.raise_ceiling((shard.exam, shard.epoch), ceiling)
        except Oversold:
            log.exception("more seats booked than a ceiling has", extra={"ceiling": str(ceiling)})
            continue
        told = f"counted {ceiling.booked} booked seats, not {ceiling.confirmed}"
        await stores.auditing.note(exam_id, Promise.P1, f"{_CEILING}{ceiling}", told)
        done.append(f"{_CEILING}{ceiling} {told}")
    return done
