"""Archive: takes an exam that is over, with all money settled, out of everything but Postgres.

    1. check that it is over, and that nothing of it is held, paid for or due back
    2. retire it: its journal is drained, and it leaves Redis but for definition and counters
    3. one transaction, with imports and recoveries kept out: money due once more, the shard fenced
       under a new epoch, the exam marked                                          <- the decision
    4. remove what Redis has of it
    5. write down that Redis has nothing any more

What a crash leaves behind:

    before 2   the exam as it was
    2 to 3     a retired exam, which is served as before; archiving it again goes on from there
    in 3       Postgres has all of it or nothing
    3 to 5     an archived exam of which Redis has a few unused keys: the retention
               worker does 4 and 5

From 3 on no process knows the exam as one that is served, and nothing can be committed under the
epoch it had. Its bookings, payments and refunds are read from Postgres.
"""

import logging

from quota_service.domain.errors import ExamNotOver, ExamUnfinished, NotReady
from quota_service.domain.exam import Exam
from quota_service.registration.recover_shard import rebuild_shard
from quota_service.registration.stores import MaintenanceStores
from quota_service.seats.keys import Shard

log = logging.getLogger(__name__)


async def archive_exam(stores: MaintenanceStores, exam_id: str) -> int:
    """Archive an exam; return since when it is (ms). Doing it again changes nothing.

    Raises UnknownExam, ExamNotOver, ExamUnfinished and Unavailable.
    """
    if stores.registry.is_archived(exam_id):
        archived_at = await stores.archive.archived_at(exam_id)
        if archived_at is not None:
            return archived_at
    exam = stores.registry.find(exam_id)
    await _check(stores, exam)
    is_in_redis = not (stores.registry.is_retired(exam_id) or stores.registry.is_new(exam_id))
    why = "the exam is archived"
    if is_in_redis and await rebuild_shard(stores, exam_id, why, retired=True) is None:
        raise NotReady(f"an import or a recovery of exam {exam_id} is running")
    stores.failpoint("archive: retired")
    async with stores.recoveries.alone(exam_id) as alone:
        if not alone:
            raise NotReady(f"an import or a recovery of exam {exam_id} is running")
        if await stores.archive.is_money_due(exam_id):
            raise ExamUnfinished(("refunds_due",))
        async with stores.ledger.transaction() as connection:
            fenced = await stores.recoveries.fence_in(connection, exam_id, why)
            archived_at = await stores.archive.archive(connection, exam_id)
        stores.failpoint("archive: marked")
        await stores.registry.refresh()
        await _forget(stores, exam_id, fenced.epoch)
    log.info("archived", extra={"exam": exam_id})
    return archived_at


async def forget_archived(stores: MaintenanceStores) -> int:
    """Remove from Redis what the death of a process has left of archived exams; return how many."""
    left = await stores.archive.to_forget()
    for exam_id, epoch in left:
        await _forget(stores, exam_id, epoch)
    return len(left)


async def _check(stores: MaintenanceStores, exam: Exam) -> None:
    """Raise ExamNotOver, or ExamUnfinished with what is left."""
    if await stores.seats.clock_ms() < exam.ends_at_ms:
        raise ExamNotOver(exam.ends_at_ms)
    left = []
    if not stores.registry.is_new(exam.id):
        totals = await stores.seats.totals(stores.registry.shard(exam.id))
        left += ["holds"] if totals.live_holds else []
        left += ["payments"] if totals.attempts else []
    left += ["refunds_due"] if await stores.archive.is_money_due(exam.id) else []
    left += await stores.retention.unfinished(exam.id)
    if left:
        raise ExamUnfinished(tuple(left))


async def _forget(stores: MaintenanceStores, exam_id: str, epoch: int) -> None:
    claimed = Shard(exam_id, epoch, is_recovered=True)
    await stores.recovery.claim(claimed)
    await stores.recovery.forget(claimed)
    stores.failpoint("archive: forgotten")
    await stores.archive.mark_forgotten(exam_id, epoch)
