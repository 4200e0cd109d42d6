"""Recovery: brings a shard that may have lost something level with Postgres, and opens it again.

A shard is recovered when Redis does not have it open under the epoch Postgres knows, in the run the
server is in: the server was started again, a replica has taken its place, it is older than the
journal that was drained from it, or it is empty. Until it is done, everything about it is answered
503 and no seat is given.

    1. fence in Postgres: the shard gets a new epoch; nothing is committed under the old one any
       more, and nothing is drained
    2. claim in Redis: only scripts of this recovery run; Redis answers its last step, the
       origin, which is kept until 5
    3. drain what Redis has and Postgres has not
    4. bring Redis level: write what Postgres knows of steps after the origin, and what was between
       the stores; or write everything, where there is nothing to go on from
    5. put the definition that Postgres has in force, and let the entries of the waiting list wait;
       open in Redis, then in Postgres, together with the report                    <- the decision

A process that dies anywhere before the end of 5 leaves the shard fenced in Postgres, where the next
round of any worker finds it and begins again under another epoch, from the same origin: 4 writes
states, not steps, so it may be done twice. One that goes on after it has lost its lock is held back
in Redis by the epoch in its fence.

What 4 costs follows what was lost. A server that came back with all it had, as one with
`appendfsync always` does, has nothing to be written but the payments that were between the stores.
Its result is compared with Postgres, quota by quota, before it is opened. Where it contradicts (a
hold has a seat that was sold meanwhile, a step is in no store), where Redis went another
way than the ledger, or has nothing, the shard is rebuilt: removed, and written from Postgres.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from quota_service.domain.errors import NotReady, Unavailable
from quota_service.ledger.recoveries import Fenced, Step
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.level_list import level_list
from quota_service.registration.level_shard import ContradictionError, rebuild, reconcile
from quota_service.registration.registry import UsedShard
from quota_service.registration.stores import MaintenanceStores
from quota_service.registration.sync_shard import define
from quota_service.seats.keys import Shard
from quota_service.seats.recovery import ShardStatus

log = logging.getLogger(__name__)

_LOOKS_MAX = 500
"""Shards that are looked at in one batch."""
_DRAIN_MAX = 1000
_TRIES_MAX = 3
_DRAIN_LIMIT_S = 600
_PAUSE_S = 0.05


class Way(StrEnum):
    """How a shard was recovered."""

    REOPENED = "reopened"
    """Redis had all that Postgres knows."""
    RECONCILED = "reconciled"
    """What was missing was written."""
    REBUILT = "rebuilt"
    """Everything was written."""


@dataclass(slots=True)
class Recovery:
    """What a recovery wrote; `left_out` are holds whose seats or session went to a booking.

    `recovered` is the last step before it that is known, as epoch and version.
    """

    epoch: int
    way: Way = Way.REOPENED
    recovered: Step = (0, 0)
    bookings: int = 0
    holds: int = 0
    left_out: int = 0
    seconds: float = 0.0


async def lost_shards(stores: MaintenanceStores, used: Sequence[UsedShard]) -> list[UsedShard]:
    """Return those of the shards that may have lost something, or whose recovery did not end.

    One question to Postgres and one batch to Redis for all of them: it is asked all the time.
    Exams that go on come first. What a server that is away has is looked at when it is back; raises
    Unavailable where none answers.
    """
    exams = {each.shard.exam for each in used}
    drained = await stores.recoveries.positions(exams) if used else {}
    lost = []
    for start in range(0, len(used), _LOOKS_MAX):
        page = used[start : start + _LOOKS_MAX]
        looks = await stores.recovery.statuses([each.shard for each in page])
        lost += [
            each
            for each, status in zip(page, looks, strict=True)
            if status is not None and _problem(each, drained.get(each.shard.exam, 0), status)
        ]
    if not lost:
        return []
    ends_ms = {exam.id: exam.ends_at_ms for exam in stores.registry.all()}
    return sorted(lost, key=lambda each: -ends_ms.get(each.shard.exam, 0))


async def recover_if_lost(stores: MaintenanceStores, exam: str) -> Recovery | None:
    """Recover a shard if it may have lost something, or if a recovery of it was not finished."""
    async with stores.recoveries.alone(exam) as alone:
        if not alone:
            return None
        # Another recovery may have finished before this one, on a server that took over since.
        await stores.registry.refresh()
        used = stores.registry.used_shard(exam)
        await stores.recovery.find(used.shard)
        _, drained = await stores.recoveries.position(exam)
        status = await stores.recovery.status(used.shard)
        reason = _problem(used, drained, status)
        return await _recover(stores, used.shard, status, reason) if reason else None


async def rebuild_shard(
    stores: MaintenanceStores, exam: str, reason: str, *, retired: bool | None = None
) -> Recovery | None:
    """Rebuild a shard in any state; None when another recovery or an import is running.

    With `retired` it leaves Redis but for its counters from now on, or comes back whole.
    """
    async with stores.recoveries.alone(exam) as alone:
        if not alone:
            return None
        shard = stores.registry.used_shard(exam).shard
        await stores.recovery.find(shard)
        status = await stores.recovery.status(shard)
        return await _recover(stores, shard, status, reason, anew=True, retired=retired)


def _problem(used: UsedShard, drained: int, status: ShardStatus) -> str:
    """Return how a shard may have lost something; "" when it is what Postgres knows.

    `drained` was read before `status`: a drain between the two readings
    only moves Redis ahead.
    """
    if not used.is_open:
        return "a recovery was not finished"
    if not status.is_open:
        return f"redis has it under {status.fence!r}" if status.fence else "redis lacks it"
    if status.version < drained:
        return f"redis is at version {status.version}, and {drained} was drained from it"
    return ""


async def _recover(
    stores: MaintenanceStores,
    shard: Shard,
    status: ShardStatus,
    reason: str,
    *,
    anew: bool = False,
    retired: bool | None = None,
) -> Recovery:
    started, recoveries = time.monotonic(), stores.recoveries
    is_planned = retired is not None
    level = logging.INFO if is_planned else logging.WARNING
    await stores.registry.refresh()  # no import is running: the stored definition stays
    fenced = await recoveries.fence(shard.exam, reason, beyond=status.epoch, retired=retired)
    begun = {"shard": shard.tag, "epoch": fenced.epoch, "cause": reason}
    log.log(level, "recovering", extra=begun)
    stores.failpoint("recover: fenced")
    claimed, origin = await _claim(stores, shard, fenced)
    stores.failpoint("recover: claimed")
    recovery = Recovery(fenced.epoch)
    try:
        await _go_on(
            stores, claimed, fenced, origin, recovery=recovery, wanted_anew=reason if anew else ""
        )
    except (Unavailable, TimeoutError):
        raise
    except Exception as error:  # noqa: BLE001  whatever Redis has, Postgres has what it takes
        problem = str(error) if isinstance(error, ContradictionError) else repr(error)
        log.log(level, "rebuilding", extra={"shard": shard.tag, "cause": problem})
        if origin is not None and not anew:
            # The steps that were tried are not to be mixed up with those of the rebuild.
            fenced = await recoveries.fence(shard.exam, problem)
            claimed, _ = await _claim(stores, shard, fenced)
        recovery = Recovery(fenced.epoch, Way.REBUILT)
        recovery.recovered = await recoveries.position(shard.exam)
        counts = await rebuild(stores, claimed, fenced, recovery.recovered)
        recovery.bookings, recovery.holds, recovery.left_out = counts
    await _open(stores, claimed, recovery)
    recovery.seconds = time.monotonic() - started
    _tell(shard, recovery, level)
    if not is_planned:
        _count(stores, shard, recovery)
    await stores.registry.refresh()
    return recovery


async def _claim(
    stores: MaintenanceStores, shard: Shard, fenced: Fenced
) -> tuple[Shard, Step | None]:
    """Claim a shard under its new epoch; return it, and the step to go on from."""
    claimed = Shard(shard.exam, fenced.epoch, is_recovered=True)
    return claimed, await stores.recovery.claim(claimed)


async def _go_on(
    stores: MaintenanceStores,
    shard: Shard,
    fenced: Fenced,
    origin: Step | None,
    *,
    recovery: Recovery,
    wanted_anew: str,
) -> None:
    """Drain Redis and bring it level from its last step; ContradictionError if impossible."""
    if origin is None:
        raise ContradictionError("redis has no state to continue from")
    branch = await stores.recoveries.branch(shard.exam, origin[0])
    if branch is not None and origin > branch:
        raise ContradictionError(f"redis is at {origin}, the ledger continued from {branch}")
    await _drain(stores, shard)
    recovery.recovered = await stores.recoveries.position(shard.exam)
    stores.failpoint("recover: drained")
    if wanted_anew:
        raise ContradictionError(wanted_anew)
    counts = await reconcile(stores, shard, fenced, origin, recovery.recovered)
    recovery.bookings, recovery.holds = counts
    if any(counts):
        recovery.way = Way.RECONCILED


async def _drain(stores: MaintenanceStores, shard: Shard) -> None:
    """Drain what Redis has and Postgres has not."""
    async with asyncio.timeout(_DRAIN_LIMIT_S):
        while not (drained := await drain_journal(stores, shard, _DRAIN_MAX, _TRIES_MAX)).is_idle:
            if drained.is_busy:
                await asyncio.sleep(_PAUSE_S)


async def _open(stores: MaintenanceStores, shard: Shard, recovery: Recovery) -> None:
    is_loaded = shard.exam not in stores.registry.not_loaded()
    exam = stores.registry.find(shard.exam) if is_loaded else None
    if exam is not None:
        await define(stores, shard, exam)
        await _close_draw(stores, shard)
    stores.failpoint("recover: defined")
    await level_list(stores.lists, stores.list_ledger, shard, exam)
    await stores.recovery.reopen(shard)
    stores.failpoint("recover: open in redis")
    opened = await stores.recoveries.reopen(
        shard.exam,
        recovery.epoch,
        way=recovery.way,
        recovered=recovery.recovered,
        bookings=recovery.bookings,
        holds=recovery.holds,
        left_out=recovery.left_out,
    )
    if not opened:
        raise NotReady(f"another recovery of shard {shard.tag} has taken over")


async def _close_draw(stores: MaintenanceStores, shard: Shard) -> None:
    """Close the draw of a waiting room whose seed may have been shown: Redis may have forgotten."""
    room = (await stores.waiting_rooms.all([shard.exam])).get(shard.exam)
    if room is not None and room.is_draw_closed:
        await stores.room_store.counts(shard, is_draw_closed=True)


def _count(stores: MaintenanceStores, shard: Shard, recovery: Recovery) -> None:
    """Count a recovery that a loss made necessary; an exam that leaves Redis has lost nothing."""
    stores.metrics.recovered_shards.labels(exam=shard.exam, way=recovery.way).inc()
    if recovery.way is Way.REBUILT:
        stores.metrics.rebuilds.labels(exam=shard.exam).inc()


def _tell(shard: Shard, recovery: Recovery, level: int) -> None:
    log.log(
        level,
        "recovered",
        extra={
            "shard": shard.tag,
            "epoch": recovery.epoch,
            "way": recovery.way,
            "bookings": recovery.bookings,
            "holds": recovery.holds,
            "left_out": recovery.left_out,
            "seconds": round(recovery.seconds, 2),
        },
    )
