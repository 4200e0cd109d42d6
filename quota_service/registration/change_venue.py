"""Change of venue: takes the new seats before the old ones are given back.

    1. one script call: a hold moves there at once and is done; a booking takes the new seats and is
       changing, with the old seats still its own
    2. one transaction: attempt decided, booking and items at the new venue, quotas <- the decision
    3. finish in Redis: the old seats go back

What a crash leaves behind:

    before 1   the booking where it was
    1 to 2     changing in Redis, with seats at both venues; recovery decides the attempt in
               Postgres, finds the booking where it was and gives the new seats back
    in 2       Postgres has all of it or nothing; recovery waits for its end at the attempt's row
    2 to 3     moved; recovery finds the attempt on the booking and gives the old seats back

It works with every seat of the old venue sold: nothing there is asked for.
"""

import asyncio
import logging
import secrets
from collections.abc import Collection, Sequence

from quota_service.domain.errors import (
    ChangeInProgress,
    KeyShareUsed,
    LedgerUnavailable,
    NotReady,
    Paused,
    PaymentInProgress,
    QuotaError,
    Refused,
    RegistrationClosed,
    ReservationEnded,
    SeatsLeft,
    SoldOut,
    StaleDefinition,
    Unavailable,
    UnknownReservation,
    UnknownVenue,
    VenueChangesUsed,
    VenueClosed,
)
from quota_service.domain.exam import Exam
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger.changes import ChangeEnd, VenueChange
from quota_service.ledger.errors import Oversold
from quota_service.ledger.fence import attempt_clock_s
from quota_service.registration.catch_up import catch_up, check_in_force
from quota_service.registration.out_of_time import out_of_time
from quota_service.registration.stores import PaymentStores
from quota_service.registration.view import forgotten_reservation
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.replies import ScriptReply

log = logging.getLogger(__name__)

_ATTEMPT_BYTES = 8


async def change_venue(
    stores: PaymentStores,
    reservation_id: str,
    venue: str,
    *,
    by_ops: bool = False,
    leaving: str = "",
) -> Reservation:
    """Move a hold or a booking to another venue and return it; being there already is no error.

    Ops move it outside of the window too, and beyond the limits of fair use. One that is to move
    away from the venue `leaving` and is at another one is returned as it is.

    A refusal leaves it where it was, and so does Unavailable, unless its `applied` is None.
    """
    shard, _ = stores.registry.locate(reservation_id)
    exam = stores.registry.find(shard.exam)
    try:
        return await _change(stores, exam, reservation_id, venue, by_ops=by_ops, leaving=leaving)
    except StaleDefinition:
        await catch_up(stores, exam)
    exam = stores.registry.find(exam.id)
    return await _change(stores, exam, reservation_id, venue, by_ops=by_ops, leaving=leaving)


async def _change(
    stores: PaymentStores,
    exam: Exam,
    reservation_id: str,
    venue: str,
    *,
    by_ops: bool,
    leaving: str,
) -> Reservation:
    """Move by a definition; StaleDefinition when another one is in force."""
    shard, serial = stores.registry.locate(reservation_id)
    if venue not in exam.venue_ids:
        await check_in_force(stores, shard, exam)
        raise UnknownVenue(venue)
    rules = exam.unbounded if by_ops else exam
    if (refusal := await _refusal(stores, shard, rules, serial, venue)) is not None:
        await check_in_force(stores, shard, exam)
        raise refusal
    stores.failpoint("change: before script")
    begun_s = attempt_clock_s()
    attempt = secrets.token_hex(_ATTEMPT_BYTES)
    answer = await stores.seats.change(shard, rules, serial, venue, attempt, leaving=leaving)
    stores.failpoint("change: after script")
    reservation = await _taken(stores, exam, venue, reservation_id, answer)
    if reservation.state is State.CHANGING_VENUE:
        epoch = (shard.exam, shard.epoch)
        change = VenueChange(reservation, epoch, answer.detail[0], begun_s)
        reservation = await _decide(stores, shard, serial, change)
    if answer.code is Code.DONE:
        stores.metrics.changes.labels(exam=shard.exam).inc()
    return reservation


async def _refusal(
    stores: PaymentStores, shard: Shard, exam: Exam, serial: str, venue: str
) -> Refused | None:
    """Return why a reservation cannot go to a venue: it is closed for sale, or changes paused."""

    def refusal(subjects: Collection[str]) -> Refused | None:
        if exam.is_closed(venue, subjects):
            return VenueClosed((venue,))
        pause = exam.pause_of(venue, subjects, for_change=True)
        return None if pause is None else Paused(pause)

    if refusal(exam.session_of.keys()) is None:
        return None
    found = await stores.seats.read(shard, serial)
    if found is None or found.venue == venue or found.state.is_ended:
        return None
    return refusal(found.subjects)


async def _taken(
    stores: PaymentStores, exam: Exam, venue: str, reservation_id: str, answer: ScriptReply
) -> Reservation:
    """Turn the script's answer into a reservation, or raise its refusal."""
    match answer:
        case ScriptReply(Code.DONE | Code.DONE_BEFORE, Reservation() as reservation):
            return reservation
        case ScriptReply(Code.ENDED, Reservation(state=state)):
            raise ReservationEnded(state)
        case ScriptReply(Code.IN_PROGRESS, Reservation(state=State.CONFIRMING)):
            raise PaymentInProgress
        case ScriptReply(Code.IN_PROGRESS):
            raise ChangeInProgress
        case ScriptReply(
            Code.NOT_OPEN | Code.CLOSED | Code.SESSION_STARTED as code, reservation=found
        ):
            raise out_of_time(exam, found.subjects if found else (), code)
        case ScriptReply(Code.CHANGES_USED):
            raise VenueChangesUsed(exam.fair_use.venue_changes_max)
        case ScriptReply(Code.SHARE_USED):
            raise KeyShareUsed(exam.fair_use.key_share_max_percent)
        case ScriptReply(Code.SOLD_OUT, detail=(subjects, *left)):
            quotas = [(venue, subject) for subject in subjects.split(",")]
            raise SoldOut.of(exam, quotas, left)
        case ScriptReply(Code.UNKNOWN):
            raise await _unknown(stores, exam, reservation_id)
        case _:
            raise AssertionError(f"the script answered {answer}")


async def _unknown(stores: PaymentStores, exam: Exam, reservation_id: str) -> QuotaError:
    """Return what is wrong with a reservation that Redis has no record of."""
    older = await forgotten_reservation(stores, reservation_id)
    if older is None:
        return UnknownReservation()
    if older.state.is_ended:
        return ReservationEnded(older.state)
    closes_at_ms = exam.registration.closes_at_ms
    if await stores.seats.clock_ms() >= closes_at_ms:
        return RegistrationClosed(closes_at_ms)  # Redis forgets bookings of an exam that is over
    return NotReady("redis has no record of a booking")


async def _decide(
    stores: PaymentStores, shard: Shard, serial: str, change: VenueChange
) -> Reservation:
    """Let Postgres decide a change of a booking, and tell Redis."""
    changing = change.reservation
    try:
        end = await stores.changes.change(change)
    except Oversold:
        # Redis had a seat that Postgres has not: it had lost a booking.
        await finish_changes(stores, shard, [changing])
        left = tuple(SeatsLeft(changing.to_venue, subject, 0) for subject in changing.subjects)
        raise SoldOut(left) from None
    except Unavailable as error:
        if error.applied is False:
            # No other process books under this attempt: the change has certainly not happened.
            await stores.seats.finish_change(shard, serial, changing.attempt, has_moved=False)
        raise
    stores.failpoint("change: after commit")
    if end is ChangeEnd.MOVED:
        moved = await _finish(stores, shard, serial, changing)
        stores.failpoint("change: after finish")
        return moved
    if end is ChangeEnd.FENCED:
        raise NotReady("the shard is being recovered")
    await finish_changes(stores, shard, [changing])
    # A refund that came meanwhile has finished the change.
    seen = await stores.seats.read(shard, serial)
    if end is ChangeEnd.NOT_BOOKED or (seen is not None and seen.state is State.REFUNDED):
        raise ReservationEnded(State.REFUNDED)
    raise LedgerUnavailable("recovery abandoned the change; repeat the request")


async def _finish(
    stores: PaymentStores, shard: Shard, serial: str, changing: Reservation
) -> Reservation:
    """Tell Redis of a committed change. It is safe in Postgres: a fault here is recovery's."""
    try:
        answer = await stores.seats.finish_change(shard, serial, changing.attempt, has_moved=True)
    except Unavailable as error:
        log.warning("venue changed in postgres, redis not updated yet", extra={"cause": str(error)})
    else:
        if answer.reservation is not None:
            return answer.reservation
        log.error("venue changed in postgres, redis disagrees", extra={"code": answer.code.name})
    return changing.as_moved()


async def finish_changes(
    stores: PaymentStores, shard: Shard, changing: Sequence[Reservation]
) -> tuple[int, int]:
    """Finish changes in Postgres, then in Redis as Postgres has them.

    Safe at any moment, from any number of processes. Returns how many moved and how many stayed.
    """
    moved = await stores.changes.finish(changing)

    async def follow(reservation: Reservation) -> None:
        _, serial = stores.registry.locate(reservation.id)
        has_moved = moved[reservation.id]
        await stores.seats.finish_change(shard, serial, reservation.attempt, has_moved=has_moved)

    # All of them are tried, so that one lost answer does not keep the others changing.
    decided = [reservation for reservation in changing if reservation.id in moved]
    ends = await asyncio.gather(*map(follow, decided), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    count = sum(moved.values())
    return count, len(moved) - count
