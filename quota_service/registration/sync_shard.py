"""Bringing a shard level with Postgres: its definition, its seats, its ceilings.

An import, a change by ops and a seat release decide in Postgres. The same process, or one that
finds the step unfinished, then gives Redis what Postgres has, under the lock of the exam. Repeating
it changes nothing.
"""

from collections.abc import Mapping

from quota_service.domain.errors import DefinitionRefused, UnknownExam
from quota_service.domain.exam import Exam, Quota
from quota_service.ledger.exams import ShardState, StoredExam
from quota_service.registration.level_ceilings import ceilings_are_level, put_level
from quota_service.registration.level_returned import open_what_waits
from quota_service.registration.level_set_asides import put_set_asides, set_asides_are_level
from quota_service.registration.stores import ExamStores
from quota_service.seats.codes import Code
from quota_service.seats.definition import is_in_force
from quota_service.seats.keys import Shard
from quota_service.slices import in_slices


async def sync_shard(stores: ExamStores, exam_id: str, patience_ms: int = 0) -> bool:
    """Open an exam's shard if it never was; give Redis what Postgres has of its definition.

    Returns whether set-asides have changed, which can wait for seats that come back.

    An import that is under way is waited for: so long at most, where that is not 0. LedgerLocked
    tells that it goes on.
    """
    async with stores.ledger.transaction() as connection:
        if patience_ms:
            await connection.execute(stores.ledger.query["set_lock_timeout"], str(patience_ms))
        stored = await stores.exams.lock(connection, exam_id)
        if stored is None:
            raise UnknownExam(exam_id)
        capacity = await stores.exams.capacity(connection, exam_id)
        ceilings = await stores.exams.ceilings(connection, exam_id)
        kept = await stores.set_asides.all(connection, exam_id)
        shard, is_new = shard_of(stored), stored.state is ShardState.NEW
        if is_new and not await stores.seats.open(shard):
            # Postgres was set back to before the exam was opened.
            reason = "redis has it under another epoch"
            await stores.recoveries.fence_in(connection, exam_id, reason)
            return False
        async with stores.ledger.kept_alive(connection):
            await define(stores, shard, stored.exam)
            await put_level(stores, shard, ceilings)
            # First what is kept: seats that come for a group are never on sale.
            has_changed = await put_set_asides(stores, shard, kept, capacity)
            await set_capacity(stores, shard, capacity)
            await open_what_waits(stores, shard, stored.exam)
        if is_new:
            await stores.exams.mark_open(connection, exam_id)
        return has_changed


async def finish_import(stores: ExamStores, exam_id: str) -> bool:
    """Do what an import that died left undone; return whether there was anything."""
    async with stores.ledger.connection() as connection:
        stored = await stores.exams.capacity(connection, exam_id)
    if not stores.registry.is_new(exam_id):
        shard = stores.registry.shard(exam_id)
        present = (await stores.seats.snapshot(shard)).capacity
        is_level = True
        async for quota, seats in in_slices(stored.items()):
            is_level = is_level and present.get(quota, 0) == seats
        is_level = (
            is_level
            and await definition_is_in_force(stores, exam_id)
            and await ceilings_are_level(stores, shard)
        )
        if is_level and await set_asides_are_level(stores, shard):
            return False
        if is_level:
            return await sync_shard(stores, exam_id)
    await sync_shard(stores, exam_id)
    await stores.registry.refresh()
    return True


async def definition_is_in_force(stores: ExamStores, exam_id: str) -> bool:
    """Return whether Redis has the definition of an exam in force that this process knows."""
    exam, shard = stores.registry.find(exam_id), stores.registry.shard(exam_id)
    return is_in_force(exam, await stores.seats.definition(shard))


def shard_of(stored: StoredExam) -> Shard:
    """Return the shard of an exam in any state; scripts refuse one that is fenced."""
    return Shard(stored.id, stored.epoch)


async def define(stores: ExamStores, shard: Shard, exam: Exam) -> None:
    """Put a stored definition in force in Redis, whichever was before; the exam is locked.

    StaleDefinition when another process did the same meanwhile: then our lock is lost.
    """
    found = await stores.seats.definition(shard)
    if is_in_force(exam, found):
        return
    await stores.seats.define(shard, exam, found.get("revision", ""))


async def set_capacity(stores: ExamStores, shard: Shard, capacity: Mapping[Quota, int]) -> None:
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
