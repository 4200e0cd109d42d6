"""Rebuild: puts a shard that Redis has lost, or may have lost in part, together again.

A shard is rebuilt when Redis does not have it under the epoch Postgres knows: Redis is empty, was
started again, was replaced by a replica, or is older than the journal that was drained from it.
Until it is done, everything about it is answered 503 and no seat is given.

    1. fence in Postgres: the shard gets a new epoch; nothing is committed under the old one
    2. close in Redis: no script runs under the old one
    3. drain what is left of the journal: steps that were acknowledged and survived
    4. remove everything of the shard from Redis, then write bookings, holds, session claims and
       what ended lately, from Postgres
    5. open in Redis, then in Postgres                                          <- the decision

A process that dies anywhere before the end of 5 leaves the shard fenced in Postgres, where the next
round of any worker finds it and begins again under another epoch. One that goes on after it has
lost its lock is held back in Redis by the epoch it builds under.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from quota_service.domain.errors import NotReady
from quota_service.domain.reservation import ReservationId
from quota_service.ledger.rebuilding import Records
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.registry import UsedShard
from quota_service.registration.stores import Stores
from quota_service.seats.keys import Shard

log = logging.getLogger(__name__)

_PAGE_MAX = 2000
_DRAIN_MAX = 1000
_TRIES_MAX = 3
_DRAIN_LIMIT_S = 600
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild wrote.

    `recovered` is the last step before it that is known, as epoch and version. `left_out` are holds
    whose seats or session went to a booking.
    """

    epoch: int
    recovered: tuple[int, int]
    bookings: int
    holds: int
    left_out: int
    seconds: float


async def rebuild_if_lost(stores: Stores, used: UsedShard) -> Rebuilt | None:
    """Rebuild a shard if Redis has lost it, or if a rebuild of it was left unfinished."""
    if await _loss(stores, used) is None:
        return None
    async with stores.rebuilding.alone(used.shard.exam) as alone:
        if not alone:
            return None
        # Whoever was at it before us may have finished.
        await stores.registry.refresh()
        used = stores.registry.used_shard(used.shard.exam, used.shard.number)
        reason = await _loss(stores, used)
        return None if reason is None else await _rebuild(stores, used.shard, reason)


async def _loss(stores: Stores, used: UsedShard) -> str | None:
    """Return how a shard was lost, or None when it is what Postgres knows."""
    if not used.is_open:
        return "a rebuild was not finished"
    shard = used.shard
    standing = await stores.builder.standing(shard)
    if standing.epoch is None:
        return "redis does not have it, or was started again"
    if standing.epoch != shard.epoch:
        return f"redis has it under epoch {standing.epoch}"
    if not standing.is_of_this_run:
        return "redis is another one than the shard was opened in"
    drained = await stores.rebuilding.position(shard.exam, shard.number)
    if drained > (standing.epoch, standing.version):
        return f"redis is at version {standing.version}, and {drained[1]} was drained from it"
    return None


async def rebuild_shard(stores: Stores, used: UsedShard, reason: str) -> Rebuilt | None:
    """Rebuild a shard whatever it is like; None when another rebuild or an import is at work."""
    async with stores.rebuilding.alone(used.shard.exam) as alone:
        return await _rebuild(stores, used.shard, reason) if alone else None


async def _rebuild(stores: Stores, shard: Shard, reason: str) -> Rebuilt | None:
    started = time.monotonic()
    epoch = await stores.rebuilding.fence(shard.exam, shard.number, reason)
    if epoch is None:
        return None
    log.warning("rebuilding", extra={"shard": shard.tag, "epoch": epoch, "cause": reason})
    stores.reached("rebuild: fenced")
    anew = Shard(shard.exam, shard.number, epoch)
    await stores.builder.close(anew)
    recovered = await _drain(stores, shard)
    stores.reached("rebuild: drained")
    async with stores.ledger.connection() as connection:
        capacity = await stores.exams.capacity(connection, shard.exam)
    await stores.builder.begin(anew, capacity)
    pages = stores.rebuilding
    bookings, _ = await _load(stores, anew, pages.bookings(shard.exam, shard.number, _PAGE_MAX))
    stores.reached("rebuild: bookings written")
    holds, left_out = await _load(stores, anew, pages.holds(shard.exam, shard.number, _PAGE_MAX))
    await _load(stores, anew, pages.ended(shard.exam, shard.number, _PAGE_MAX))
    await stores.builder.open(anew)
    stores.reached("rebuild: open in redis")
    if not await stores.rebuilding.open(shard.exam, shard.number, epoch):
        raise NotReady(f"another rebuild of shard {shard.tag} has taken over")
    rebuilt = Rebuilt(
        epoch,
        recovered,
        bookings,
        holds - left_out,
        left_out,
        time.monotonic() - started,
    )
    await stores.rebuilding.finish(
        shard.exam,
        shard.number,
        epoch,
        recovered=recovered,
        bookings=bookings,
        holds=rebuilt.holds,
        left_out=left_out,
    )
    stores.metrics.rebuilds.labels(exam=shard.exam).inc()
    log.warning(
        "rebuilt",
        extra={
            "shard": shard.tag,
            "epoch": epoch,
            "bookings": bookings,
            "holds": rebuilt.holds,
            "left_out": left_out,
            "seconds": round(rebuilt.seconds, 1),
        },
    )
    await stores.registry.refresh()
    return rebuilt


async def _drain(stores: Stores, shard: Shard) -> tuple[int, int]:
    """Drain what is left of the old journal; return epoch and version of the last step known."""
    async with asyncio.timeout(_DRAIN_LIMIT_S):
        while True:
            drained = await drain_journal(stores, shard, _DRAIN_MAX, _TRIES_MAX)
            if drained.is_idle:
                return await stores.rebuilding.position(shard.exam, shard.number)
            if drained.is_busy:
                await asyncio.sleep(_PAUSE_S)


async def _load(stores: Stores, shard: Shard, pages: AsyncIterator[Records]) -> tuple[int, int]:
    """Write pages of records; return how many there were, and how many did not fit any more."""
    count = left_out = 0
    async for page in _ahead(pages):
        records = []
        for reservation, record in page:
            parts = ReservationId.parse(reservation)
            if parts is None:
                raise AssertionError(f"{reservation!r} is no reservation id")
            records.append((parts.serial, record))
        not_fitting = await stores.builder.load(shard, records, stores.payment_retry_grace_ms)
        count += len(records)
        left_out += len(not_fitting)
        await asyncio.sleep(0)  # let the rest of the process have its turn
    return count, left_out


async def _ahead(pages: AsyncIterator[Records]) -> AsyncIterator[Records]:
    """Yield pages, the next being read while one is at work."""
    coming = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await coming) is not None:
            coming = asyncio.ensure_future(anext(pages, None))
            yield page
    finally:
        coming.cancel()
