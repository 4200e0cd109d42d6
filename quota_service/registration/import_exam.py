"""Import: brings an exam's definition into both stores; the same definition changes nothing.

    1. lock the exam in Postgres, plan the change against what is stored and what is taken
    2. fewer seats: take them in Redis first, which refuses below what is taken
    3. store definition and capacities, commit                                  <- the decision
    4. open the shard in Redis if it is new
    5. give Redis the capacities Postgres has

An exam that is retired has left Redis but for its counters (`retain`). A change of its definition
fences it in 3, and a worker brings it back whole; until then it is answered 503.

Seats are given after the commit and taken before it, so a process that dies anywhere leaves Redis
with fewer seats than Postgres, never more. A worker, or importing the same file again, does 4 and 5
again, which finishes what was left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.domain.changes import Change, plan_changes
from quota_service.domain.errors import DefinitionRefused, UnknownExam
from quota_service.domain.exam import Exam, Quota
from quota_service.ledger.exams import ShardState, StoredExam
from quota_service.registration.stores import Stores
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection

_ONLY_SHARD = 0
"""Exams have one shard as yet."""
_HEARD_BY_ALL_MS = 10_000
"""An opening this near is not moved away from: by then some process may have shown the seed."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: `created`, or the changes it made, or neither."""

    created: bool
    changes: tuple[Change, ...]


async def import_exam(stores: Stores, exam: Exam) -> Imported:
    """Store a definition; DefinitionRefused, with every reason, leaves all as it was."""
    async with stores.ledger.transaction() as connection:
        old = await stores.exams.lock(connection, exam.id)
        if old is None:
            await stores.exams.insert(connection, exam)
            await stores.exams.set_capacity(connection, exam.id, exam.seats)
            await _ensure_waiting_room(stores, connection, exam)
            imported = Imported(created=True, changes=())
        else:
            confirmed = await stores.exams.confirmed(connection, exam.id)
            plan = plan_changes(old.exam, exam, await _taken(stores, old, confirmed))
            if plan.problems:
                raise DefinitionRefused([(p.where, p.detail) for p in plan.problems])
            if plan.changes:
                await _take_seats(stores, old, plan.capacity)
                await stores.exams.set_capacity(connection, exam.id, plan.capacity)
                await stores.exams.update(connection, exam)
                opened_ms = old.exam.registration.opens_at_ms
                if exam.registration.opens_at_ms > opened_ms:
                    # Until they hear of it, others reveal the seed by the old time.
                    opened_ms -= _HEARD_BY_ALL_MS
                await stores.waiting_rooms.note_opened(connection, exam.id, opened_ms)
                await _ensure_waiting_room(stores, connection, exam)
                if any(old.retired):
                    await _bring_back(stores, connection, exam.id)
            imported = Imported(created=False, changes=plan.changes)
    if old is None or not imported.changes or not any(old.retired):
        await sync_capacity(stores, exam.id)
    await stores.registry.refresh()
    await stores.rooms.refresh()
    return imported


async def sync_capacity(stores: Stores, exam_id: str) -> None:
    """Open an exam's shard if it never was, and give Redis the capacities Postgres has."""
    async with stores.ledger.transaction() as connection:
        stored = await stores.exams.lock(connection, exam_id)
        if stored is None:
            raise UnknownExam(exam_id)
        capacity = await stores.exams.capacity(connection, exam_id)
        shard, state = _only_shard(stored)
        if state is ShardState.NEW and not await stores.seats.open(shard):
            # Postgres was set back to before the exam was opened.
            reason = "redis has it under another epoch"
            number = shard.number
            await stores.recoveries.fence_in(connection, exam_id, number, reason)
            return
        await set_capacity(stores, shard, capacity)
        if state is ShardState.NEW:
            await stores.exams.mark_open(connection, exam_id, shard.number)


async def finish_import(stores: Stores, exam_id: str) -> bool:
    """Do what an import that died left undone; return whether there was anything."""
    async with stores.ledger.connection() as connection:
        stored = await stores.exams.capacity(connection, exam_id)
    if not stores.registry.is_new(exam_id):
        shard = stores.registry.shard(exam_id, _ONLY_SHARD)
        standing = (await stores.seats.snapshot(shard)).capacity
        if all(standing.get(quota, 0) == seats for quota, seats in stored.items()):
            return False
    await sync_capacity(stores, exam_id)
    await stores.registry.refresh()
    return True


async def _bring_back(stores: Stores, connection: "Connection", exam_id: str) -> None:
    """Let a retired exam come back whole."""
    reason = "the definition of a retired exam has changed"
    await stores.recoveries.fence_in(connection, exam_id, _ONLY_SHARD, reason, retired=False)


async def _ensure_waiting_room(stores: Stores, connection: "Connection", exam: Exam) -> None:
    """Make the waiting room of an exam that has one by its definition; it is kept for good."""
    rules = exam.waiting_room
    if rules is not None:
        opens_at_ms = exam.registration.opens_at_ms
        await stores.waiting_rooms.ensure(connection, exam.id, rules, opens_at_ms)


async def _taken(
    stores: Stores, old: StoredExam, confirmed: Mapping[Quota, int]
) -> dict[Quota, int]:
    """Return the seats of each quota that nobody else can have, by whichever store says more."""
    shard, state = _only_shard(old)
    if state is ShardState.NEW:
        return dict(confirmed)
    snapshot = await stores.seats.snapshot(shard)
    return {
        quota: max(seats - snapshot.remaining[quota], confirmed.get(quota, 0))
        for quota, seats in snapshot.capacity.items()
    }


async def _take_seats(stores: Stores, old: StoredExam, capacity: Mapping[Quota, int]) -> None:
    """Take back in Redis the seats that the new definition does not have any more."""
    shard, state = _only_shard(old)
    fewer = {quota: n for quota, n in capacity.items() if n < old.exam.seats.get(quota, 0)}
    if fewer and state is not ShardState.NEW:
        await set_capacity(stores, shard, fewer)


def _only_shard(stored: StoredExam) -> tuple[Shard, ShardState]:
    """Return the shard of an exam that has one, and its state; a fenced one answers NotReady."""
    (epoch,), (state,) = stored.epochs, stored.states
    return Shard(stored.id, _ONLY_SHARD, epoch), state


async def set_capacity(stores: Stores, shard: Shard, capacity: Mapping[Quota, int]) -> None:
    """Give Redis the capacity of quotas, all or none; DefinitionRefused below what is taken."""
    answer = await stores.seats.set_capacity(shard, capacity)
    if answer.code is Code.BELOW_TAKEN:
        pairs = zip(answer.detail[::2], answer.detail[1::2], strict=True)
        raise DefinitionRefused(
            [
                (f"seats.{quota.replace('/', '.')}", f"cannot go below the {taken} seats taken")
                for quota, taken in pairs
            ]
        )
