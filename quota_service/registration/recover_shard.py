"""Recovery: brings a shard that may have lost something level with Postgres, and opens it again.

A shard is recovered when Redis does not have it open under the epoch Postgres knows, in the run the
server is in: the server was started again, a replica has taken its place, it is older than the
journal that was drained from it, or it is empty. Until it is done, everything about it is answered
503 and no seat is given.

    1. fence in Postgres: the shard gets a new epoch; nothing is committed under the old one any
       more, and nothing is drained
    2. claim in Redis: no script runs but those of this recovery; Redis tells its last step, the
       origin, which is kept until 5
    3. drain what Redis has and Postgres has not
    4. bring Redis level: write what Postgres knows of steps after the origin, and what was between
       the stores; or write everything, where there is nothing to go on from
    5. open in Redis, then in Postgres, together with the report                    <- the decision

A process that dies anywhere before the end of 5 leaves the shard fenced in Postgres, where the next
round of any worker finds it and begins again under another epoch, from the same origin: 4 writes
states, not steps, so it may be done twice. One that goes on after it has lost its lock is held back
in Redis by the epoch in its fence.

What 4 costs follows what was lost. A server that came back with all it had, as one with
`appendfsync always` does, has nothing to be written but the payments that were between the stores.
Its result is compared with Postgres, quota by quota, before it is opened. Where it contradicts (a
hold stands on a seat that was sold meanwhile, a step is in no store), where Redis went another
way than the ledger, or has nothing, the shard is rebuilt: removed, and written from Postgres.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from enum import StrEnum

from quota_service.domain.errors import DefinitionRefused, NotReady, Unavailable
from quota_service.domain.reservation import ReservationId, State
from quota_service.ledger.recoveries import Records, Step
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.import_exam import set_capacity
from quota_service.registration.registry import UsedShard
from quota_service.registration.stores import Stores
from quota_service.seats.keys import Shard
from quota_service.seats.record import record_text
from quota_service.seats.recovery import Standing

log = logging.getLogger(__name__)

_PAGE_MAX = 2000
_DRAIN_MAX = 1000
_TRIES_MAX = 3
_DRAIN_LIMIT_S = 600
_PAUSE_S = 0.05
_BETWEEN = (State.CONFIRMING, State.CHANGING_VENUE)
"""The states of what is between the stores."""


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


class ContradictionError(Exception):
    """Redis cannot be brought level from where it stands."""


async def lost_shards(stores: Stores) -> list[UsedShard]:
    """Return the shards that may have lost something, or whose recovery was not finished.

    One question to Postgres and one batch to Redis for all of them: it is asked all the time. One
    whose keys cannot be read is among them, and keeps no other waiting. Raises Unavailable.
    """
    used = stores.registry.used_shards()
    drained = await stores.recoveries.positions() if used else {}
    looks = (stores.recovery.standing(each.shard) for each in used)
    lost = []
    for each, found in zip(used, await asyncio.gather(*looks, return_exceptions=True), strict=True):
        if isinstance(found, Unavailable):
            raise found
        position = drained.get((each.shard.exam, each.shard.number), 0)
        if isinstance(found, BaseException) or _problem(each, position, found):
            lost.append(each)
    return lost


async def recover_if_lost(stores: Stores, used: UsedShard) -> Recovery | None:
    """Recover a shard if it may have lost something, or if a recovery of it was not finished."""
    async with stores.recoveries.alone(used.shard.exam) as alone:
        if not alone:
            return None
        # Whoever was at it before us may have finished.
        await stores.registry.refresh()
        used = stores.registry.used_shard(used.shard.exam, used.shard.number)
        _, drained = await stores.recoveries.position(used.shard.exam, used.shard.number)
        reason = _problem(used, drained, await stores.recovery.standing(used.shard))
        return await _recover(stores, used, reason) if reason else None


async def rebuild_shard(
    stores: Stores, used: UsedShard, reason: str, *, retired: bool | None = None
) -> Recovery | None:
    """Rebuild a shard whatever it is like; None when another recovery or an import is at work.

    With `retired` it leaves Redis but for its counters from now on, or comes back whole.
    """
    async with stores.recoveries.alone(used.shard.exam) as alone:
        if not alone:
            return None
        if retired is not None:
            await stores.recoveries.retire(used.shard.exam, used.shard.number, retired=retired)
            used = replace(used, is_retired=retired)
        return await _recover(stores, used, reason, anew=True)


def _problem(used: UsedShard, drained: int, standing: Standing) -> str:
    """Return how a shard may have lost something; "" when it is what Postgres knows.

    What was `drained` was read before how Redis is `standing`: a drain between the two readings
    only moves Redis ahead.
    """
    if not used.is_open:
        return "a recovery was not finished"
    if not standing.is_open:
        return f"redis has it under {standing.fence!r}" if standing.fence else "redis lacks it"
    if standing.version < drained:
        return f"redis is at version {standing.version}, and {drained} was drained from it"
    return ""


async def _recover(
    stores: Stores, used: UsedShard, reason: str, *, anew: bool = False
) -> Recovery | None:
    started, shard = time.monotonic(), used.shard
    recoveries = stores.recoveries
    epoch = await recoveries.fence(shard.exam, shard.number, reason)
    if epoch is None:
        return None
    log.warning("recovering", extra={"shard": shard.tag, "epoch": epoch, "cause": reason})
    stores.reached("recover: fenced")
    claimed = Shard(shard.exam, shard.number, epoch, is_recovered=True)
    origin = await stores.recovery.claim(claimed)
    stores.reached("recover: claimed")
    recovery, problem = Recovery(epoch), "redis has nothing to go on from"
    if origin is not None:
        wanted_anew = reason if anew or used.is_retired else ""
        problem = await _go_on(stores, claimed, origin, recovery, wanted_anew)
    if problem:
        log.warning("rebuilding", extra={"shard": shard.tag, "epoch": epoch, "cause": problem})
        recovery = Recovery(epoch, Way.REBUILT)
        recovery.recovered = await recoveries.position(shard.exam, shard.number)
        await _rebuild(stores, claimed, recovery, is_retired=used.is_retired)
    await stores.recovery.reopen(claimed)
    stores.reached("recover: open in redis")
    opened = await recoveries.reopen(
        shard.exam,
        shard.number,
        epoch,
        way=recovery.way,
        recovered=recovery.recovered,
        bookings=recovery.bookings,
        holds=recovery.holds,
        left_out=recovery.left_out,
    )
    if not opened:
        raise NotReady(f"another recovery of shard {shard.tag} has taken over")
    recovery.seconds = time.monotonic() - started
    _tell(stores, shard, recovery)
    await stores.registry.refresh()
    return recovery


async def _go_on(
    stores: Stores, shard: Shard, origin: Step, recovery: Recovery, wanted_anew: str
) -> str:
    """Drain Redis and bring it level from where it stands; return what is against it, else ""."""
    try:
        await _check_history(stores, shard, origin)
        await _drain(stores, shard)
        recovery.recovered = await stores.recoveries.position(shard.exam, shard.number)
        stores.reached("recover: drained")
        if not wanted_anew:
            await _reconcile(stores, shard, origin, recovery)
    except ContradictionError as error:
        return str(error)
    return wanted_anew


async def _check_history(stores: Stores, shard: Shard, origin: Step) -> None:
    """Raise ContradictionError when Redis has steps that the ledger's history does not have."""
    branch = await stores.recoveries.branch(shard.exam, shard.number, origin[0])
    if branch is not None and origin > branch:
        raise ContradictionError(f"redis is at {origin}, and the ledger went on from {branch}")


async def _drain(stores: Stores, shard: Shard) -> None:
    """Drain what Redis has and Postgres has not."""
    async with asyncio.timeout(_DRAIN_LIMIT_S):
        while not (drained := await drain_journal(stores, shard, _DRAIN_MAX, _TRIES_MAX)).is_idle:
            if drained.is_busy:
                await asyncio.sleep(_PAUSE_S)


async def _reconcile(stores: Stores, shard: Shard, origin: Step, recovery: Recovery) -> None:
    """Write what Postgres knows of steps after the origin, and what was between the stores.

    Bookings, changes and refunds are the ledger's; holds are as the journal last told of them.
    """
    recoveries, exam, number = stores.recoveries, shard.exam, shard.number
    known = recovery.recovered
    if known > origin:
        entries = await recoveries.entries_between(exam, number, origin, known)
        if entries != known[1] - origin[1]:
            raise ContradictionError(f"the journal between {origin} and {known} is not whole")
    await stores.recovery.seed(shard, known[1])
    put = _Put(stores, shard, fit=False)
    if known > origin:
        await put.all(recoveries.holds_after(exam, number, origin, _PAGE_MAX))
        recovery.holds = put.count
    stores.reached("recover: holds written")
    await put.all(recoveries.bookings_after(exam, number, origin, _PAGE_MAX))
    await put.all(recoveries.refunds_after(exam, number, origin, _PAGE_MAX))
    recovery.bookings = put.count - recovery.holds
    await _end_attempts(stores, shard)
    await _level_capacity(stores, shard)
    await _verify(stores, shard)
    if put.count:
        recovery.way = Way.RECONCILED


async def _end_attempts(stores: Stores, shard: Shard) -> None:
    """End what was between the stores as Postgres has it.

    No transaction can book or move under the old epoch any more.
    """
    put = _Put(stores, shard, fit=False)
    while serials := await stores.seats.pinned(shard, _PAGE_MAX):
        found = await stores.seats.read_many(shard, serials)
        ids = {r.id: r for r in found if r and r.state in _BETWEEN}
        if len(ids) < len(serials):
            raise ContradictionError("a payment is being recorded for no such record")
        booked = await stores.recoveries.booked(list(ids))
        for reservation in ids.values():
            is_changing = reservation.state is State.CHANGING_VENUE
            if reservation.id not in booked and is_changing:
                raise ContradictionError(f"{reservation.id} changes its venue and is not booked")
        await put.page([(id_, booked.get(id_) or record_text(r)) for id_, r in ids.items()])


async def _level_capacity(stores: Stores, shard: Shard) -> None:
    async with stores.ledger.connection() as connection:
        capacity = await stores.exams.capacity(connection, shard.exam)
    try:
        await set_capacity(stores, shard, capacity)
    except DefinitionRefused as error:
        raise ContradictionError(str(error)) from error


async def _verify(stores: Stores, shard: Shard) -> None:
    """Raise ContradictionError unless the books balance and Postgres has the same bookings."""
    seen = await stores.seats.snapshot(shard)
    async with stores.ledger.connection() as connection:
        booked = await stores.exams.confirmed(connection, shard.exam)
    taken = 0
    for quota, capacity in seen.capacity.items():
        parts = [
            counter.get(quota, 0)
            for counter in (seen.remaining, seen.held, seen.confirming, seen.confirmed)
        ]
        taken += sum(parts[1:])
        if sum(parts) != capacity or min(parts) < 0:
            raise ContradictionError(f"{quota}: {parts} of {capacity} seats")
        if parts[-1] != booked.get(quota, 0):
            told = f"{parts[-1]} booked in redis, {booked.get(quota, 0)} in postgres"
            raise ContradictionError(f"{quota}: {told}")
    if seen.claims != taken:
        raise ContradictionError(f"{seen.claims} sessions are taken by {taken} seats")


async def _rebuild(stores: Stores, shard: Shard, recovery: Recovery, *, is_retired: bool) -> None:
    """Remove everything and write it anew: bookings, then holds, then what ended lately.

    Of an exam that is retired only the counters are written.
    """
    recoveries, exam, number = stores.recoveries, shard.exam, shard.number
    async with stores.ledger.connection() as connection:
        capacity = await stores.exams.capacity(connection, exam)
        booked = await stores.exams.confirmed(connection, exam) if is_retired else {}
    await stores.recovery.clear(shard)
    await stores.recovery.seed(shard, recovery.recovered[1], capacity, booked)
    if is_retired:
        await stores.recovery.forget_room(shard)
        return
    bookings = _Put(stores, shard, fit=True)
    await bookings.all(recoveries.bookings(exam, number, _PAGE_MAX))
    stores.reached("recover: bookings written")
    holds = _Put(stores, shard, fit=True)
    await holds.all(recoveries.holds(exam, number, _PAGE_MAX))
    await _Put(stores, shard, fit=True).all(recoveries.ended(exam, number, _PAGE_MAX))
    recovery.bookings = bookings.count
    recovery.holds, recovery.left_out = holds.count - holds.left_out, holds.left_out


class _Put:
    """Writes pages of records; counts them, and those that did not fit any more."""

    def __init__(self, stores: Stores, shard: Shard, *, fit: bool) -> None:
        self._stores = stores
        self._shard = shard
        self._fit = fit
        self.count = 0
        self.left_out = 0

    async def all(self, pages: AsyncIterator[Records]) -> None:
        """Write all pages."""
        async for page in _ahead(pages):
            await self.page(page)
            await asyncio.sleep(0)  # let the rest of the process have its turn

    async def page(self, page: Records) -> None:
        """Write one page."""
        records = []
        for reservation, record in page:
            parts = ReservationId.parse(reservation)
            if parts is None:
                raise AssertionError(f"{reservation!r} is no reservation id")
            records.append((parts.serial, record))
        grace_ms = self._stores.payment_retry_grace_ms
        left_out = await self._stores.recovery.put(self._shard, records, grace_ms, fit=self._fit)
        self.count += len(records)
        self.left_out += len(left_out)


async def _ahead(pages: AsyncIterator[Records]) -> AsyncIterator[Records]:
    """Yield pages, the next being read while one is at work."""
    coming = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await coming) is not None:
            coming = asyncio.ensure_future(anext(pages, None))
            yield page
    finally:
        coming.cancel()


def _tell(stores: Stores, shard: Shard, recovery: Recovery) -> None:
    stores.metrics.recovered_shards.labels(exam=shard.exam, way=recovery.way).inc()
    if recovery.way is Way.REBUILT:
        stores.metrics.rebuilds.labels(exam=shard.exam).inc()
    log.warning(
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
