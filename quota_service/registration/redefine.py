"""What ops change of an exam beside its definition, under a revision of its own.

    1. lock the exam in Postgres
    2. write what is changed, under a new revision; not visible yet
    3. put the new revision in force in Redis: until 4 no seat can be taken by either
    4. commit                                                                   <- the decision

A process that has not heard of it is refused for its stale definition, and reads the exams first.

What a crash leaves behind:

    before 3   the exam as it was
    3 to 4     Postgres has the old revision, and Redis has the new one in force; a process refused
               for its stale definition puts the old one in force again (`catch_up`), as do a
               worker, the next import and the same call again
    in 4       Postgres has all of it or nothing; the same
    after 4    the exam as it was changed, also after a rebuild of Redis

2 may come after 3, of which it may take a time.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from quota_service.domain.errors import QuotaError, RegistrationClosed, Unavailable, UnknownExam
from quota_service.domain.exam import Exam
from quota_service.ledger.exams import ShardState, StoredExam
from quota_service.registration.stores import ExamStores
from quota_service.registration.sync_shard import define, shard_of, sync_shard

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection


@asynccontextmanager
async def redefining(
    stores: ExamStores, exam_id: str
) -> AsyncIterator[tuple["Connection", StoredExam]]:
    """Lend an exam as it is stored, and the transaction that keeps all others from changing it.

    Where a store fails in the block, what Postgres has is put in force again.
    """
    stores.registry.find(exam_id)
    try:
        async with stores.ledger.transaction() as connection:
            stored = await stores.exams.lock(connection, exam_id)
            if stored is None:
                raise UnknownExam(exam_id)
            yield connection, stored
    except Unavailable:
        with suppress(QuotaError):  # a worker does it when this fails
            await sync_shard(stores, exam_id)
        raise


def refuse_retired(stored: StoredExam) -> None:
    """Raise RegistrationClosed for an exam that has left Redis."""
    if stored.is_retired:
        raise RegistrationClosed(stored.exam.registration.closes_at_ms)


async def put_in_force(stores: ExamStores, stored: StoredExam, changed: Exam) -> None:
    """Put the exam in force as it is changed; one that Redis has never opened is opened with it."""
    if stored.state is not ShardState.NEW:
        await define(stores, shard_of(stored), changed)
