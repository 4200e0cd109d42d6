"""Import: brings an exam's definition into both stores; the same definition changes nothing.

    0. refuse to remove a waiting room or list in which candidates wait, unless forced
    1. lock the exam in Postgres, plan the change against what is stored and what is taken
    2. write definition, under a new revision, capacities, ceilings and set-asides in Postgres; not
       visible yet
    3. put the new definition in force in Redis: until 5 no seat can be taken by either
    4. look again at what is taken, where the change hangs on it; take back in Redis the seats that
       are fewer, in quotas and under ceilings, which refuses below what is taken, and those that
       are set aside; a refusal undoes 3
    5. commit                                                                   <- the decision
    6. open the shard in Redis if it is new
    7. give Redis the definition, the capacities, the ceilings and the set-asides Postgres has; then
       the seat releases of a time that is past, which have happened in 2, are applied
       (`release_seats`)

An exam that is retired has left Redis but for its counters (`retain`). A change of its definition
fences it in 2, and a worker brings it back whole; until then it is answered 503.

What a crash leaves behind:

    before 3   the old definition in both stores
    3 to 5     Postgres has the old definition, and Redis has the new one in force, perhaps with
               fewer seats; a process refused for its stale definition puts the old one in force
               again (`catch_up`), as do a worker and the next import
    in 5       Postgres has all of it or nothing; the same
    5 to 7     the new definition in both stores, in Redis with fewer seats than there are

A process that fails and lives does what the worker would at once. A worker, or importing the same
file again, does 6 and 7 again, which finishes what was left. Of a large exam 3, 4 and 7 take
seconds, in which the transaction is kept alive. Seats are given after the commit and taken before
it, so Redis never has more seats than Postgres.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from quota_service.domain.changes import (
    Change,
    ChangePlan,
    find_problems,
    list_problems,
    plan_changes,
)
from quota_service.domain.definition import Problem
from quota_service.domain.errors import (
    CandidatesWaiting,
    DefinitionRefused,
    ImportUnfinished,
    QuotaError,
    Unavailable,
    UnknownExam,
)
from quota_service.domain.exam import Ceiling, Exam, Quota, ReturnRule
from quota_service.domain.seat_release import ReleaseChanges, Released
from quota_service.domain.timetable import contradictions, warnings
from quota_service.ledger.exams import ShardState, StoredExam
from quota_service.ledger.set_asides import StoredSetAside
from quota_service.observability.caller import caller
from quota_service.registration.change_source import joined_without_source, source_problems
from quota_service.registration.level_ceilings import put_ceilings, put_level
from quota_service.registration.level_set_asides import (
    put_set_asides,
    set_aside_problems,
    take_for_set_asides,
)
from quota_service.registration.release_seats import mark_applied
from quota_service.registration.stores import ExamStores, MaintenanceStores
from quota_service.registration.sync_shard import define, set_capacity, shard_of, sync_shard
from quota_service.slices import in_slices
from quota_service.waiting_list.entry import EntryState
from quota_service.waiting_room.status import Phase

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: `created`, or the changes it made, or neither.

    `warnings` tell what may be meant, and should be looked at. Of an import that was only checked
    it is what it would do, and `problems` are the reasons against it.
    """

    created: bool
    changes: tuple[Change, ...]
    warnings: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()


async def check_import(stores: MaintenanceStores, exam: Exam, *, force: bool = False) -> Imported:
    """Return what importing a definition would do, and all reasons against it; change nothing."""
    waiting = []
    try:
        await _check_waiting(stores, exam, force=force)
    except CandidatesWaiting as refusal:
        waiting = [Problem(refusal.table, str(refusal))]
    async with stores.ledger.transaction() as connection:
        old, plan = await _plan(stores, connection, exam)
    problems = (*waiting, *plan.problems)
    told = (*warnings(exam), *_at_once(await _past(stores, plan.releases)))
    return Imported(old is None, plan.changes, told, problems)


async def import_exam(stores: MaintenanceStores, exam: Exam, *, force: bool = False) -> Imported:
    """Store a definition; DefinitionRefused, with every reason, leaves all as it was.

    So does CandidatesWaiting, unless the import is forced, and any other failure before the commit,
    as soon as Redis answers. One after it is raised as ImportUnfinished: the definition is stored,
    and what is left is done by a worker.
    """
    await _check_waiting(stores, exam, force=force)
    try:
        stored = await _store(stores, exam)
    except DefinitionRefused:
        raise
    except QuotaError:
        with suppress(QuotaError):  # a worker does it when this fails
            await sync_shard(stores, exam.id)
        raise
    stores.failpoint("import: after commit")
    imported, released = stored.imported, stored.released
    if imported.created or imported.changes:
        extra = {"exam": exam.id, "is_new": imported.created, "changes": len(imported.changes)}
        log.info("definition imported", extra=extra)
    try:
        if not stored.comes_back:
            await sync_shard(stores, exam.id)
            await mark_applied(stores, exam, released)
        await stores.registry.refresh()
        await stores.rooms.refresh()
    except Unavailable as error:
        raise ImportUnfinished(exam.id, str(error)) from error
    return replace(imported, warnings=(*warnings(exam), *_at_once(released)))


@dataclass(frozen=True, slots=True)
class _Stored:
    """What was decided: of releases, those that happened at once.

    `comes_back` where a worker brings the exam back into Redis.
    """

    imported: Imported
    comes_back: bool = False
    released: tuple[str, ...] = ()


async def _store(stores: MaintenanceStores, exam: Exam) -> _Stored:
    """Decide; return what was done."""
    async with stores.ledger.transaction() as connection:
        old, plan = await _plan(stores, connection, exam)
        _refuse(plan.problems)
        if old is None:
            await stores.exams.insert(connection, exam)
            await stores.exams.note_import(connection, exam.id, caller(), [])
            await stores.exams.set_capacity(connection, exam.id, exam.seats)
            if exam.ceilings:
                await stores.exams.set_ceilings(connection, exam)
            if exam.set_asides:
                await stores.set_asides.put(connection, exam)
            await _ensure_rows(stores, connection, exam)
            past = await _release(stores, connection, exam, plan.releases)
            return _Stored(Imported(created=True, changes=()), released=past)
        if not plan.changes:
            return _Stored(Imported(created=False, changes=()))
        has_ceilings = bool(exam.ceilings or old.exam.ceilings)
        if has_ceilings:
            await stores.exams.lock_quotas(connection, exam.id)
        await stores.exams.set_capacity(connection, exam.id, plan.capacity)
        if has_ceilings:
            await stores.exams.set_ceilings(connection, exam)
        kept_before = await stores.set_asides.all(connection, exam.id)
        if exam.set_asides != old.exam.set_asides:
            await stores.set_asides.put(connection, exam)
        kept = await stores.set_asides.all(connection, exam.id)
        new = await stores.exams.update(connection, exam)
        await stores.exams.note_import(connection, exam.id, caller(), plan.changes)
        await _ensure_rows(stores, connection, exam)
        past = await _release(stores, connection, exam, plan.releases)
        if old.is_retired:
            await _bring_back(stores, connection, exam.id)
        stores.failpoint("import: before redis")
        async with stores.ledger.kept_alive(connection):
            await _put_in_force(stores, old, new, plan, (kept_before, kept))
        stores.failpoint("import: before commit")
        return _Stored(Imported(created=False, changes=plan.changes), old.is_retired, past)


async def _plan(
    stores: MaintenanceStores, connection: "Connection", exam: Exam
) -> tuple[StoredExam | None, ChangePlan]:
    """Lock an exam; return it as it is stored, and what the definition would change in it."""
    old = await stores.exams.lock(connection, exam.id)
    if old is None:
        new = ReleaseChanges(exam.releases)
        return None, ChangePlan((), {}, tuple(contradictions(exam)), new)
    confirmed = await stores.exams.confirmed(connection, exam.id)
    kept = await stores.set_asides.all(connection, exam.id)
    released = await _released(stores, connection, exam.id)
    async with stores.ledger.kept_alive(connection):
        shard = None if old.state is ShardState.NEW else shard_of(old)
        of_kept = await set_aside_problems(stores, shard, old.exam, exam, kept)
        taken = await _taken(stores, old, confirmed)
        # Of a large exam it takes a second, in which requests have to be answered.
        plan = await asyncio.to_thread(plan_changes, old.exam, exam, taken, released)
    stand = contradictions(old.exam)
    more = [problem for problem in contradictions(exam) if problem not in stand]
    more += await source_problems(stores, connection, old, exam)
    more += list_problems(old.exam, exam, await _waiting(stores, old.exam))
    return old, replace(plan, problems=(*plan.problems, *more, *of_kept))


async def _waiting(stores: MaintenanceStores, exam: Exam) -> int:
    """Return how many entries wait on the waiting list of an exam."""
    if exam.waiting_list is None:
        return 0
    return (await stores.list_ledger.counts(exam.id)).by_state.get(EntryState.WAITING, 0)


async def _released(stores: ExamStores, connection: "Connection", exam_id: str) -> Released:
    """Return the seat releases of an exam, and the seats that came by them."""
    releases = await stores.seat_releases.of_exam(connection, exam_id)
    return Released(releases, await stores.seat_releases.released(connection, exam_id))


async def _release(
    stores: ExamStores, connection: "Connection", exam: Exam, changes: ReleaseChanges
) -> tuple[str, ...]:
    """Plan and cancel seat releases of a definition; return those that have happened at once."""
    for release in changes.planned:
        await stores.seat_releases.plan(connection, exam.id, release, caller())
    await stores.seat_releases.cancel(connection, exam.id, changes.cancelled)
    past = await _past(stores, changes)
    await stores.seat_releases.execute(connection, exam.id, past)
    return past


def _at_once(releases: Sequence[str]) -> list[Problem]:
    """Return the warnings of releases whose time is past."""
    return [Problem(f"releases.{each}.at", "is past: it happens at once") for each in releases]


async def _past(stores: ExamStores, changes: ReleaseChanges) -> tuple[str, ...]:
    """Return the ids of the releases that are planned for a time that is past."""
    if not changes.planned:
        return ()
    now_ms = await stores.seats.clock_ms()
    return tuple(release.id for release in changes.planned if release.at_ms <= now_ms)


async def _check_waiting(stores: MaintenanceStores, exam: Exam, *, force: bool) -> None:
    """Raise CandidatesWaiting when a definition ends what candidates wait in: a room or a list."""
    if force or (exam.waiting_room is not None and exam.waiting_list is not None):
        return
    await stores.registry.refresh()
    try:
        old = stores.registry.find(exam.id)
    except UnknownExam:
        return
    if old.waiting_room is not None and exam.waiting_room is None:
        await stores.rooms.refresh()
        status = stores.rooms.current(exam.id).status
        if status.waiting and status.phase(stores.rooms.now_ms()) is not Phase.CLOSED:
            raise CandidatesWaiting(status.waiting)
    if exam.waiting_list is None and (waiting := await _waiting(stores, old)):
        raise CandidatesWaiting(waiting, "waiting list")


def _refuse(problems: Sequence[Problem]) -> None:
    """Raise DefinitionRefused with the problems, if there are any."""
    if problems:
        raise DefinitionRefused([(problem.where, problem.detail) for problem in problems])


async def _bring_back(stores: ExamStores, connection: "Connection", exam_id: str) -> None:
    """Let a retired exam come back whole."""
    reason = "the definition of a retired exam has changed"
    await stores.recoveries.fence_in(connection, exam_id, reason, retired=False)


async def _ensure_rows(stores: MaintenanceStores, connection: "Connection", exam: Exam) -> None:
    """Make the waiting room and the waiting list that a definition needs; they are kept for good.

    Seats that wait to be dealt need the row of a list, where nobody can join it too. Where there
    is no list any more the entries of those who wait end.
    """
    rules = exam.waiting_room
    if rules is not None:
        opens_at_ms = exam.registration.opens_at_ms
        await stores.waiting_rooms.ensure(connection, exam.id, rules, opens_at_ms)
    if exam.waiting_list is not None or exam.returned.rule is not ReturnRule.AT_ONCE:
        await stores.list_ledger.ensure(connection, exam.id)
    if exam.waiting_list is None:
        await stores.list_ledger.end_waiting(connection, exam.id)


async def _taken(
    stores: ExamStores, old: StoredExam, confirmed: Mapping[Quota, int]
) -> dict[Quota, int]:
    """Return the seats of each quota that are not free, the larger count of both stores."""
    if old.state is ShardState.NEW:
        return dict(confirmed)
    snapshot = await stores.seats.snapshot(shard_of(old))
    return {
        quota: max(
            seats - snapshot.remaining[quota] - snapshot.returned[quota], confirmed.get(quota, 0)
        )
        async for quota, seats in in_slices(snapshot.capacity.items())
    }


async def _put_in_force(
    stores: MaintenanceStores,
    old: StoredExam,
    new: Exam,
    plan: ChangePlan,
    set_asides: tuple[Sequence[StoredSetAside], Sequence[StoredSetAside]],
) -> None:
    """Put a definition in force in Redis, and take the seats that it does not have any more.

    `set_asides` are those before and after it. A refusal leaves all as it was.
    """
    kept_before, kept = set_asides
    if old.state is ShardState.NEW:
        return
    shard = shard_of(old)
    # Up to now seats could be taken, so the checks that depend on taken seats are made again.
    released = plan.released
    before = {
        quota: seats + released.seats.get(quota, 0) for quota, seats in old.exam.seats.items()
    }
    hangs_on_taken = bool(find_problems(old.exam, new, before, released))
    await define(stores, shard, new)
    fewer = {quota: n for quota, n in plan.capacity.items() if n < before.get(quota, 0)}
    lower = [room for room in new.rooms if _is_lower(room, old.exam)]
    try:
        if hangs_on_taken:
            _refuse(find_problems(old.exam, new, await _taken(stores, old, {}), released))
        _refuse(await joined_without_source(stores, old, new))
        if fewer:
            await set_capacity(stores, shard, fewer)
        if lower:
            await put_ceilings(stores, shard, lower)
        await take_for_set_asides(stores, shard, old.exam, new, kept)
    except DefinitionRefused:
        await define(stores, shard, old.exam)
        await set_capacity(stores, shard, {quota: before[quota] for quota in fewer})
        if lower:
            await put_level(stores, shard, old.exam.rooms)
        await put_set_asides(stores, shard, kept_before, {})
        raise


def _is_lower(room: Ceiling, old: Exam) -> bool:
    before = old.ceilings.get((room.venue, room.session))
    return before is None or room.seats < before
