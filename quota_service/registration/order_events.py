"""Order events: gives numbers to the events that can be told.

    1. where it is not known which step of its exam an event comes after: ask Redis for the last one
    2. number what can be told                                                     <- the decision

An event is written in the transaction of its fact, so no line lies between the two where a process
could die. A death before 2 leaves events that the next round of any worker numbers; the numbers and
what is to be done with them are in one transaction.

A payment may be due back because of a step that the journal does not tell of yet, such as the end
of its hold. The last step in Redis, read after the event is seen, is behind all that led to it:
once the journal is drained up to there the event follows it. A server that is away keeps back only
such events of its own exams.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from quota_service.registration.stores import MaintenanceStores


@dataclass(frozen=True, slots=True)
class Ordered:
    """How many events were placed behind a step, and how many were numbered."""

    placed: int = 0
    numbered: int = 0


async def order_events(stores: MaintenanceStores, limit: int) -> Ordered:
    """Place and number at most `limit` events each; nothing where another process numbers them.

    Raises LedgerUnavailable; SeatsUnavailable where no server answers, after the rest is done.
    """
    work = await stores.events.work()
    stores.metrics.events_waiting_oldest.set(work.oldest_s or 0)
    placed = 0
    try:
        if work.to_place:
            placed = await _place(stores, limit)
    finally:
        stores.failpoint("order events: placed")
        numbered = await stores.events.order(limit) if work.oldest_s is not None else 0
    return Ordered(placed, numbered or 0)


async def _place(stores: MaintenanceStores, limit: int) -> int:
    """Place events behind the last step of their exams."""
    exam_of = await stores.events.to_place(limit)
    steps = await _last_steps(stores, set(exam_of.values()))
    versions = {event: steps[exam] for event, exam in exam_of.items() if exam in steps}
    if versions:
        await stores.events.place(versions)
    return len(versions)


async def _last_steps(stores: MaintenanceStores, exams: Collection[str]) -> Mapping[str, int]:
    """Return the versions of the shards of exams; 0 for those that are archived.

    Without those that are not open now: what they have may be older than what they had.
    """
    registry = stores.registry
    steps = {exam: 0 for exam in exams if registry.is_archived(exam)}
    used = [registry.used_shard(exam).shard for exam in exams if registry.is_known(exam)]
    looks = await stores.recovery.statuses(used) if used else []
    for shard, status in zip(used, looks, strict=True):
        if status is not None and (status.is_open or registry.is_new(shard.exam)):
            steps[shard.exam] = status.version
    return steps
