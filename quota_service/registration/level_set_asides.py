"""Brings the set-asides in Redis level with those of Postgres.

Seats of a set-aside that grows are taken from those on open sale, before the commit of an import;
where the same import raises the capacity of the quota, its new seats are used first, after the
commit and in one step with the capacity, so that they are never on sale. What a set-aside loses
goes back after the commit.

Only before a commit can it be refused. After it Redis is brought as near as free and used seats let
it, and the rest follows when seats come back: the next look of a worker does that.
"""

from collections.abc import Iterable, Mapping, Sequence

from quota_service.domain.definition import Problem
from quota_service.domain.errors import DefinitionRefused
from quota_service.domain.exam import Exam, Quota
from quota_service.ledger.set_asides import StoredSetAside
from quota_service.registration.stores import ExamStores
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.set_asides import KeptSeats

Wanted = dict[Quota, dict[str, int]]
"""Seats of set-asides by quota and id."""


async def level_set_asides(stores: ExamStores, shard: Shard) -> None:
    """Give Redis the set-asides that Postgres has; those that are over go."""
    async with stores.ledger.connection() as connection:
        stored = await stores.set_asides.all(connection, shard.exam)
    await put_set_asides(stores, shard, stored, {})


async def put_set_asides(
    stores: ExamStores,
    shard: Shard,
    stored: Sequence[StoredSetAside],
    capacity: Mapping[Quota, int],
) -> bool:
    """Give Redis these set-asides, and none beside them; return whether anything changed.

    The capacity of their quotas is raised in the same step.
    """
    known = await stores.set_aside_store.read(shard)
    on = {each.id: each for each in stored if not each.is_over}
    closed = 0
    for set_aside, seats in known.items():
        if set_aside not in on:
            await stores.set_aside_store.close(shard, set_aside, list(seats))
            closed += 1
    wanted = _wanted(on.values(), known)
    if not wanted:
        return closed > 0
    ours = {quota: capacity[quota] for quota in wanted if quota in capacity}
    answer = await stores.set_aside_store.set(shard, wanted, ours, exact=False)
    return closed > 0 or answer.detail[0] > 0


async def take_for_set_asides(
    stores: ExamStores, shard: Shard, old: Exam, new: Exam, stored: Sequence[StoredSetAside]
) -> None:
    """Take the seats by which set-asides grow, before the commit; DefinitionRefused if too few."""
    known = await stores.set_aside_store.read(shard)
    wanted = growing(old, new, stored, known)
    if not wanted:
        return
    answer = await stores.set_aside_store.set(shard, wanted, {}, exact=True)
    if answer.code is Code.SOLD_OUT:
        pairs = zip(answer.detail[::2], answer.detail[1::2], strict=True)
        raise DefinitionRefused([_too_few(quota, free) for quota, free in pairs])


def growing(
    old: Exam,
    new: Exam,
    stored: Sequence[StoredSetAside],
    known: Mapping[str, Mapping[Quota, KeptSeats]],
) -> Wanted:
    """Return the set-asides that take seats from those on sale, with all the seats they then have.

    New seats of a quota are used first; not under a ceiling, whose places are taken before the
    commit.
    """
    wanted: Wanted = {}
    new_seats = {
        quota: 0
        if (quota.venue, new.session_of.get(quota.subject, "")) in new.ceilings
        else max(0, seats - old.seats.get(quota, 0))
        for quota, seats in new.seats.items()
    }
    for each in stored:
        for quota, seats in () if each.is_over else each.seats.items():
            before = known.get(each.id, {}).get(quota, KeptSeats(0, 0)).seats
            more = max(0, seats - before)
            of_new = min(more, new_seats.get(quota, 0))
            new_seats[quota] = new_seats.get(quota, 0) - of_new
            if more > of_new:
                wanted.setdefault(quota, {})[each.id] = seats - of_new
    return wanted


async def set_asides_are_level(stores: ExamStores, shard: Shard) -> bool:
    """Return whether Redis keeps the seats that Postgres says, for each set-aside that is on."""
    async with stores.ledger.connection() as connection:
        stored = await stores.set_asides.all(connection, shard.exam)
    on = {each.id: each.seats for each in stored if not each.is_over}
    found = {
        set_aside: {quota: kept.seats for quota, kept in seats.items() if kept.seats}
        for set_aside, seats in (await stores.set_aside_store.read(shard)).items()
    }
    return found == on


async def set_aside_problems(
    stores: ExamStores,
    shard: Shard | None,
    old: Exam,
    new: Exam,
    stored: Sequence[StoredSetAside],
) -> list[Problem]:
    """Return the reasons against the set-asides of a definition.

    One that is over stays as it was, none has fewer seats than are used of it, and those by which
    one grows are free. `shard` is None where Redis has never opened the exam.
    """
    if not (new.set_asides or stored):
        return []
    known = {} if shard is None else await stores.set_aside_store.read(shard)
    over = {each.id for each in stored if each.is_over}
    problems = []
    for kept in new.set_asides:
        if kept.id in over:
            if kept not in old.set_asides:
                where = f"set_asides.{kept.id}"
                problems.append(Problem(where, "is over; a new one needs another id"))
            continue
        for quota, seen in known.get(kept.id, {}).items():
            seats, used = kept.seats.get(quota, 0), seen.seats - seen.left
            if seats < used and seats < seen.seats:
                where = f"set_asides.{kept.id}.seats.{quota.venue}.{quota.subject}"
                problems.append(Problem(where, f"cannot be {seats} while {used} of them are used"))
    coming = [
        StoredSetAside(kept.id, kept.until_ms, kept.seats, is_over=kept.id in over)
        for kept in new.set_asides
    ]
    if shard is not None and (wanted := growing(old, new, coming, known)):
        free = (await stores.seats.snapshot(shard)).remaining
        none = KeptSeats(0, 0)
        for quota, by_id in wanted.items():
            before = sum(known.get(each, {}).get(quota, none).seats for each in by_id)
            if sum(by_id.values()) - before > free.get(quota, 0):
                where, detail = _too_few(str(quota), free.get(quota, 0))
                problems.append(Problem(where, detail))
    return problems


def _too_few(quota: str, free: int) -> tuple[str, str]:
    where = f"seats.{quota.replace('/', '.')}"
    return where, f"has {free} free seats, too few to set aside"


def _wanted(on: Iterable[StoredSetAside], known: Mapping[str, Mapping[Quota, KeptSeats]]) -> Wanted:
    """Return the seats that set-asides are to have; none where they have lost a quota."""
    wanted: Wanted = {}
    for each in on:
        for quota in known.get(each.id, {}):
            wanted.setdefault(quota, {})[each.id] = 0
        for quota, seats in each.seats.items():
            wanted.setdefault(quota, {})[each.id] = seats
    return wanted
