"""Lets as many seats wait for the next allocation in Redis as Postgres knows of.

A script that changes how many seats wait says in its journal entry how many do then, and the drain
keeps that. So a recovery puts each quota where the last known step has left it, as far as its seats
are free: they can have been offered and booked since. Where the rule of an exam is that seats go on
open sale at once, none waits. The journal tells of both.
"""

from collections.abc import Mapping

from quota_service.domain.exam import Exam, ReturnRule
from quota_service.registration.stores import ExamStores
from quota_service.seats.keys import Shard


async def level_returned(stores: ExamStores, shard: Shard) -> int:
    """Set how many seats of each quota wait; return how many quotas were changed."""
    is_loaded = shard.exam not in stores.registry.not_loaded()
    known = await stores.recoveries.returned_seats(shard.exam)
    if is_loaded and stores.registry.find(shard.exam).returned.rule is ReturnRule.AT_ONCE:
        return await _level(stores, shard, dict.fromkeys(known, 0), is_known=False)
    return await _level(stores, shard, known)


async def open_what_waits(stores: ExamStores, shard: Shard, exam: Exam) -> int:
    """Put seats that wait on open sale where that is the rule now; return of how many quotas."""
    if exam.returned.rule is not ReturnRule.AT_ONCE:
        return 0
    return await _level(stores, shard, {})


async def _level(
    stores: ExamStores, shard: Shard, seats: Mapping[str, int], *, is_known: bool = True
) -> int:
    """Let so many seats wait; `is_known` unless Postgres has another count of those quotas."""
    found = await stores.returned.read(shard)
    wanted = {
        quota: seats.get(quota, 0)
        for quota in found.keys() | seats.keys()
        if not is_known or seats.get(quota, 0) != found.get(quota, 0)
    }
    if not wanted:
        return 0
    async with stores.ledger.connection() as connection:
        ceilings = await stores.exams.ceilings(connection, shard.exam)
    places = {
        f"{ceiling.venue}/{subject}": str(ceiling)
        for ceiling in ceilings
        for subject in ceiling.subjects
    }
    return await stores.returned.level(shard, wanted, places)
