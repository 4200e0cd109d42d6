"""Catching up: what a process does when Redis has another definition in force than it knows.

Scripts that decide by the definition take its revision, and refuse any other than the one in
force. Then either an import is done, and this process has not read the exams since; or one is about
to commit, or has died on its way. In the second case the look waits for the end of the import,
which holds the lock of the exam, and puts in force what Postgres has then.
"""

from quota_service.domain.errors import StaleDefinition
from quota_service.domain.exam import Exam
from quota_service.registration.stores import ExamStores
from quota_service.registration.sync_shard import definition_is_in_force, sync_shard
from quota_service.seats.keys import Shard

_LOOKS = 2
"""A look that had begun before another definition was put in force does not tell of it."""
_PATIENCE_MS = 1000


async def catch_up(stores: ExamStores, known: Exam) -> None:
    """Learn the definition in force, where another one is than what was known of the exam.

    All who ask for it at once share one look. Raises Unavailable, also when an import takes long.
    """
    for _ in range(_LOOKS):
        await stores.registry.share_look(known.id, lambda: _look(stores, known.id))
        if stores.registry.find(known.id).revision != known.revision:
            return


async def exam_in_force(stores: ExamStores, shard: Shard) -> Exam:
    """Return the exam of a shard by the definition that is in force now; raises Unavailable."""
    exam = stores.registry.find(shard.exam)
    try:
        await check_in_force(stores, shard, exam)
    except StaleDefinition:
        await catch_up(stores, exam)
    return stores.registry.find(shard.exam)


async def check_in_force(stores: ExamStores, shard: Shard, exam: Exam) -> None:
    """Raise StaleDefinition when another definition is in force: a refusal by ours is not right."""
    if await stores.seats.revision(shard) != str(exam.revision):
        raise StaleDefinition(f"another definition of exam {exam.id} is in force now")


async def _look(stores: ExamStores, exam_id: str) -> None:
    await stores.registry.refresh()
    if not await definition_is_in_force(stores, exam_id):
        await sync_shard(stores, exam_id, patience_ms=_PATIENCE_MS)
        await stores.registry.refresh()
