"""Retention: what is not needed any more goes, by rules that are counted from the end of the exam.

    decided attempts          a day later: no attempt can name them any more
    refusals                  a day later; what a rush left, within hours of that
    revocations of tokens     when the tokens have ended by themselves
    events                    30 days after their facts, once they were told
    an exam in Redis          a week after it is over: its records, claims and waiting room go, its
                              counters stay. Bookings are read from Postgres then
    the journal of an exam    when its retention is over, with its records of holds; bookings,
                              payments and refunds stay for good

An exam leaves Redis as a rebuild that writes nothing but counters: the statement that fences it
says so, and the next recovery reads that. One whose definition is changed comes back whole
(`import_exam`). One that is archived goes from Redis altogether (`archive`).
"""

import datetime as dt
import logging

from quota_service.domain.exam import Exam
from quota_service.registration.recover_shard import rebuild_shard
from quota_service.registration.stores import MaintenanceStores

log = logging.getLogger(__name__)

_RETIRED_AFTER_MS = round(dt.timedelta(days=7).total_seconds() * 1000)
_DAY_MS = 86_400_000


async def retire_exam(stores: MaintenanceStores, exam: Exam) -> bool:
    """Let an exam that is over leave Redis; True if it did."""
    registry = stores.registry
    if registry.is_new(exam.id) or registry.is_retired(exam.id):
        return False
    now_ms = await stores.seats.clock_ms()
    if now_ms < exam.ends_at_ms + _RETIRED_AFTER_MS or not await _is_finished(stores, exam.id):
        return False
    done = await rebuild_shard(stores, exam.id, "the exam is over", retired=True)
    if done is not None:
        log.info("exam removed from redis", extra={"exam": exam.id})
    return done is not None


async def _is_finished(stores: MaintenanceStores, exam: str) -> bool:
    """Return whether nothing of an exam is held, paid for, drained or returned any more."""
    seen = await stores.seats.totals(stores.registry.shard(exam))
    is_quiet = not (seen.live_holds or seen.attempts or seen.journal_entries)
    return is_quiet and await stores.retention.is_finished(exam)


async def prune_journals(stores: MaintenanceStores, retention_days: int, limit: int) -> int:
    """Remove at most `limit` entries of each journal whose retention is over; return how many."""
    if not retention_days:
        return 0
    until_ms = await stores.seats.clock_ms() - retention_days * _DAY_MS
    old = [exam.id for exam in stores.registry.all() if exam.ends_at_ms <= until_ms]
    pruned = 0
    for exam in await stores.retention.with_journal(old):
        pruned += await stores.retention.prune_journal(exam, limit)
    return pruned
