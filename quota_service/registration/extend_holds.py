"""Extend holds: moves their deadlines out, of an exam, a venue, a subject, or of one hold.

    1. decide in Postgres: which holds, by how much, and who asked; `as_of` is the time by Redis's
       clock. What is reserved later is not extended                            <- the decision
    2. keep others from carrying out extensions of this exam; the one decided first comes first
    3. take it up under the epoch of the shard: note in Postgres at which step it begins
    4. page by page in Redis: those that are due first come first; each hold once
    5. drain the journal up to there: Postgres has every deadline as it is now
    6. end it in Postgres, if the shard is still under the epoch of 3
    7. let Redis forget which holds were moved

No deadline is moved beyond the beginning of its first sitting, and none is made earlier. What has
ended or is booked meanwhile is left, as is what ends before its page comes.

What a crash leaves behind:

    before 1   nothing
    1 to 6     an extension that is not ended; a worker goes on with 2 within seconds. Redis knows
               which holds were moved (the hash `extended`)
    6 to 7     a few notes of an extension that is ended; the next one removes them

Redis may be lost in 4 or 5. A recovery writes holds as their last step in the journal left them,
and gives the shard a new epoch, so that 3 is done again: Redis gets back which holds were moved,
from the steps `extend` of the journal since the extension began. A step that was lost with Redis
was lost with the deadline it had moved, which is moved again. Only where steps are missing from the
middle of the journal a hold may be extended twice; none is left with less than it had before. Once
the extension is ended, all of it is in Postgres.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from quota_service.domain.errors import (
    AlreadyConfirmed,
    IdempotencyKeyReused,
    NotReady,
    PaymentInProgress,
    ReservationEnded,
    Unavailable,
    UnknownReservation,
    UnknownSubject,
    UnknownVenue,
)
from quota_service.domain.exam import Exam, Pause
from quota_service.domain.extension import Extended, Extension
from quota_service.domain.reservation import State
from quota_service.ledger.hold_extensions import Unfinished
from quota_service.observability.caller import caller
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.live_holds import live_records
from quota_service.registration.stores import MaintenanceStores
from quota_service.registration.view import read_reservation
from quota_service.seats.keys import Shard
from quota_service.seats.record import FIELDS

_NOTES_MAX = 2000
_DRAIN_MAX = 1000
_TRIES_MAX = 3
_PATIENCE_S = 20.0
"""How long a call waits for its end; then a worker goes on with it."""
_PAUSE_S = 0.05
_STATE, _VENUE, _SUBJECTS, _CREATED_MS, _DUE_MS = map(
    FIELDS.index, ("state", "venue", "subjects", "created_ms", "due_ms")
)
_LIVE = (State.HELD, State.CONFIRMING)


async def extend_holds(  # noqa: PLR0917  what is extended, by how much and why
    stores: MaintenanceStores,
    exam_id: str,
    venue: str,
    subject: str,
    reservation: str,
    seconds: int,
    reason: str,
    key: str = "",
) -> Extended:
    """Extend the live holds of an exam, those of a venue and a subject, or one; return how it went.

    A repeat under the same idempotency key is the same extension; IdempotencyKeyReused where it
    means another one. Raises UnknownVenue and UnknownSubject; of a single one UnknownReservation,
    ReservationEnded, AlreadyConfirmed, and PaymentInProgress where it had expired before.
    """
    exam, shard = stores.registry.find(exam_id), stores.registry.shard(exam_id)
    more_ms = seconds * 1000
    meant = (venue, subject, reservation, more_ms)
    if (before := await _asked_before(stores, exam_id, key, meant)) is not None:
        return replace(await carry_out(stores, exam_id, before, more_ms), is_repeat=True)
    check_scope(exam, venue, subject)
    if reservation:
        await _refuse_ended(stores, shard, reservation)
    as_of_ms = await stores.seats.clock_ms(shard)
    about = reservation or Pause.scope_of(venue, subject)
    async with stores.ledger.transaction() as connection:
        await stores.exams.lock(connection, exam_id)  # a repeat at the same time waits
        number = await _asked_before(stores, exam_id, key, meant)
        is_repeat = number is not None
        if number is None:
            action = await stores.ops_actions.note(
                connection, exam_id, caller(), "extend-holds", about, reason, {"seconds": seconds}
            )
            number = await stores.extensions.insert(
                connection, exam_id, action, *meant, as_of_ms, key
            )
        stores.failpoint("extend: before commit")
    stores.failpoint("extend: decided")
    extended = await carry_out(stores, exam_id, number, more_ms)
    if reservation and extended.is_done and not extended.extended:
        await _refuse_ended(stores, shard, reservation)
    return replace(extended, is_repeat=is_repeat)


async def carry_out(stores: MaintenanceStores, exam_id: str, number: int, more_ms: int) -> Extended:
    """Carry out an extension that is decided, or wait for who does; return how far it is.

    Where a store fails, or it takes long, a worker goes on with it.
    """
    until_s = time.monotonic() + _PATIENCE_S
    try:
        while True:
            await finish_extensions(stores, exam_id)
            count, is_done = await stores.extensions.outcome(number)
            if is_done or time.monotonic() >= until_s:
                return Extended(number, more_ms, count, is_done)
            await asyncio.sleep(_PAUSE_S)
    except Unavailable:
        return Extended(number, more_ms, 0, is_done=False)


async def finish_extensions(stores: MaintenanceStores, exam_id: str) -> int:
    """Carry out the extensions of an exam that are not ended; return how many were ended.

    None is while another process is at it. Raises Unavailable; what was done is not done again.
    """
    ended = 0
    async with stores.extensions.alone(exam_id) as alone:
        if alone:
            for unfinished in await stores.extensions.unfinished(exam_id):
                await _finish(stores, unfinished)
                ended += 1
    return ended


def check_scope(exam: Exam, venue: str, subject: str) -> None:
    """Raise UnknownVenue or UnknownSubject for what the exam does not have; "" means all."""
    if venue and venue not in exam.venue_ids:
        raise UnknownVenue(venue)
    if subject and subject not in exam.session_of:
        raise UnknownSubject(subject)


async def _asked_before(
    stores: MaintenanceStores, exam_id: str, key: str, meant: tuple[str, str, str, int]
) -> int | None:
    """Return the number of the extension that was asked for under a key; IdempotencyKeyReused."""
    before = await stores.extensions.of_key(exam_id, key) if key else None
    if before is not None and before[1] != meant:
        raise IdempotencyKeyReused
    return None if before is None else before[0]


async def _refuse_ended(stores: MaintenanceStores, shard: Shard, reservation: str) -> None:
    located, _ = stores.registry.locate(reservation)
    if located.exam != shard.exam:
        raise UnknownReservation
    found = await read_reservation(stores, reservation)
    if found.state.is_ended:
        raise ReservationEnded(found.state)
    if found.state.is_booked:
        raise AlreadyConfirmed
    if found.state is State.CONFIRMING and not found.due_ms:
        raise PaymentInProgress


async def _finish(stores: MaintenanceStores, unfinished: Unfinished) -> None:
    extension = unfinished.extension
    shard = stores.registry.shard(extension.exam)
    if unfinished.epoch != shard.epoch:
        await _take_up(stores, shard, unfinished)
    stores.failpoint("extend: taken up")
    asked: set[str] = set()
    # A payment that begins or is given up meanwhile moves a hold from one index to the other.
    while serials := [each for each in await _meant(stores, shard, extension) if each not in asked]:
        asked.update(serials)
        async for moved in stores.extending.extend(shard, extension, serials):
            stores.metrics.holds_extended.labels(exam=shard.exam).inc(moved)
            stores.failpoint("extend: after page")
    await _drain(stores, shard)
    stores.failpoint("extend: drained")
    if await stores.extensions.end(extension.number, shard.epoch) is None:
        raise NotReady(f"shard {shard.tag} was recovered while its holds were extended")
    stores.failpoint("extend: ended")
    await stores.extending.end(shard, extension.number)


async def _take_up(stores: MaintenanceStores, shard: Shard, unfinished: Unfinished) -> None:
    """Let Redis know which holds were moved under an epoch before, and no others."""
    number = unfinished.extension.number
    version = (await stores.seats.totals(shard)).version
    await stores.extending.end(shard, number - 1)
    if unfinished.began is not None:
        async for serials in stores.extensions.extended(shard.exam, unfinished.began, _NOTES_MAX):
            await stores.extending.note(shard, number, serials)
    stores.failpoint("extend: noted")
    await stores.extensions.take_up(number, shard.epoch, version)


async def _meant(stores: MaintenanceStores, shard: Shard, extension: Extension) -> Sequence[str]:
    """Return the serials of the holds that are meant, those that are due first in front."""
    if extension.reservation:
        return [extension.reservation.rpartition(".")[2]]
    due_ms: dict[str, int] = {}
    async for records in live_records(stores, shard):
        for serial, text in records.items():
            fields = text.split("|")
            if _is_meant(fields, extension):
                due_ms[serial] = int(fields[_DUE_MS])
    if not (await stores.recovery.status(shard)).is_open:
        raise NotReady(f"shard {shard.tag} is not open")
    return sorted(due_ms, key=lambda serial: (due_ms[serial], serial))


def _is_meant(fields: Sequence[str], extension: Extension) -> bool:
    """Return whether a record is worth asking Redis for, which decides."""
    return (
        fields[_STATE] in _LIVE
        and int(fields[_CREATED_MS]) <= extension.as_of_ms
        and extension.venue in ("", fields[_VENUE])
        and (not extension.subject or extension.subject in fields[_SUBJECTS].split(","))
    )


async def _drain(stores: MaintenanceStores, shard: Shard) -> None:
    """Return once every step that Redis has taken by now is in Postgres."""
    version = (await stores.seats.totals(shard)).version
    until_s = time.monotonic() + _PATIENCE_S
    while (await stores.recoveries.position(shard.exam))[1] < version:
        if time.monotonic() >= until_s:
            raise NotReady(f"the journal of shard {shard.tag} is not drained")
        drained = await drain_journal(stores, shard, _DRAIN_MAX, _TRIES_MAX)
        if drained.is_busy or drained.waits:
            await asyncio.sleep(_PAUSE_S)
