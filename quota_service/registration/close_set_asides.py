"""Close set-asides whose time has come: what is left of them goes back by the rule of the exam.

    1. Postgres: the set-aside is over, for good; a code of it is refused from here on
    2. one script call: what is left of it goes back, and seats that are used come back by the rule
       of the exam from then on
    3. Postgres: Redis has the seats back

A process that dies between 1 and 2, or 2 and 3, leaves a set-aside that is over and not marked: the
next round of any worker does 2 again, which finds nothing left the second time. An order with a
code that was looked up before 1 is served by Redis until 2, or refused. A recovery of Redis brings
back none that is over.

Postgres's clock decides, so that all workers agree.
"""

import logging

from quota_service.domain.errors import ExamArchived, NotReady, UnknownExam
from quota_service.registration.stores import ExamStores

log = logging.getLogger(__name__)


async def close_set_asides(stores: ExamStores) -> int:
    """Close those whose time has come, and those left by a process that died; return how many.

    What is of an exam that is being recovered waits.
    """
    if not await stores.set_asides.are_due():
        return 0
    await stores.set_asides.end_due()
    stores.failpoint("close set-aside: after commit")
    closed = 0
    for exam, set_aside in await stores.set_asides.to_return():
        try:
            shard = stores.registry.shard(exam)
            kept = (await stores.set_aside_store.read(shard)).get(set_aside, {})
            seats = await stores.set_aside_store.close(shard, set_aside, list(kept))
        except (ExamArchived, UnknownExam):
            seats = 0
        except NotReady:
            continue
        stores.failpoint("close set-aside: after redis")
        await stores.set_asides.mark_returned(exam, set_aside)
        closed += 1
        log.info("set-aside closed", extra={"exam": exam, "set_aside": set_aside, "seats": seats})
    return closed
