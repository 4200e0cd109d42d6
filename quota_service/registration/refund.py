"""Refund: ends a booking in Postgres, then gives its seats back in Redis.

    1. look at the reservation in Redis: is there anything to refund, is it time by the definition
       that is in force
    2. one transaction: booking ended, the one refund of this person and exam, the money due, the
       sessions free, the quotas lower                                          <- the decision
    3. give the seats back in Redis. A change of venue that is under way is finished first, as
       Postgres has decided it: after the answer the reservation is read as refunded at once

Ops refund by the same steps, whatever the window (`act_for`).

A process that dies before 2 has done nothing. After 2, the refund's row says that its seats may not
be back yet; the recovery worker does 3 again, which gives nothing back twice, and marks the row.
"""

import logging
from dataclasses import replace

from quota_service.domain.errors import (
    ChangeInProgress,
    NotConfirmed,
    NotReady,
    PaymentInProgress,
    RefundClosed,
    RefundNotOpen,
    RefundUsed,
    ReservationEnded,
    Unavailable,
)
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger.errors import RefundTaken
from quota_service.ledger.refunds import Refund, RefundEnd
from quota_service.observability.caller import caller
from quota_service.registration.catch_up import exam_in_force
from quota_service.registration.change_venue import finish_changes
from quota_service.registration.stores import PaymentStores
from quota_service.registration.view import read_reservation
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard

log = logging.getLogger(__name__)

_CHANGES_FINISHED_MAX = 3
"""Changes of venue that one refund finishes; another may begin until Redis knows of the refund."""


async def refund(
    stores: PaymentStores, reservation_id: str, *, by_ops: bool = False
) -> Reservation:
    """Refund a booking in full and return it; every refusal is raised by its name.

    Ops refund outside of the window too, until the exam leaves Redis, and beside the one refund
    that its candidate has; what is refunded already is returned as it is.
    """
    shard, serial = stores.registry.locate(reservation_id)
    booked = await read_reservation(stores, reservation_id)
    if by_ops and booked.state is State.REFUNDED:
        return booked
    _check_state(booked)
    await _check_time(stores, shard, by_ops=by_ops)
    stores.failpoint("refund: before commit")
    try:
        epoch = (shard.exam, shard.epoch)
        end = await stores.refunds.refund(Refund(reservation_id, epoch, caller(), by_ops))
    except RefundTaken:
        raise await _used(stores, booked) from None
    stores.failpoint("refund: after commit")
    if end is RefundEnd.FENCED:
        raise NotReady("the shard is being recovered")
    if end is RefundEnd.NOT_BOOKED:
        used = await _used(stores, booked)
        if not (by_ops and isinstance(used, RefundUsed) and used.reservation == booked.id):
            raise used
        return replace(booked, state=State.REFUNDED)
    refunded = await _finish(stores, shard, serial)
    stores.failpoint("refund: after finish")
    stores.metrics.refunds.labels(exam=shard.exam).inc()
    return refunded or replace(booked, state=State.REFUNDED)


def _check_state(booked: Reservation) -> None:
    """Raise the refusal that a reservation earns."""
    match booked.state:
        case State.CONFIRMED:
            pass
        case State.REFUNDED:
            raise RefundUsed(booked.id)
        case State.CHANGING_VENUE:
            raise ChangeInProgress
        case State.CONFIRMING:
            raise PaymentInProgress
        case State.HELD:
            raise NotConfirmed
        case _:
            raise ReservationEnded(booked.state)


async def _check_time(stores: PaymentStores, shard: Shard, *, by_ops: bool) -> None:
    """Raise the refusal that the time earns."""
    if by_ops:
        if stores.registry.is_retired(shard.exam):  # its seats could not go back in Redis
            raise RefundClosed(stores.registry.find(shard.exam).refund.closes_at_ms)
        return
    window = (await exam_in_force(stores, shard)).refund
    now_ms = await stores.seats.clock_ms(shard)
    if now_ms < window.opens_at_ms:
        raise RefundNotOpen(window.opens_at_ms)
    if now_ms >= window.closes_at_ms:
        raise RefundClosed(window.closes_at_ms)


async def _used(stores: PaymentStores, booked: Reservation) -> RefundUsed | NotConfirmed:
    """Return why Postgres did not refund: it has, or this person's refund of the exam was used."""
    had = await stores.refunds.of_candidate(booked.exam, booked.candidate)
    await stores.ledger.sync()
    if any(each.reservation == booked.id for each in had):
        return RefundUsed(booked.id)
    used = [each.reservation for each in had if not each.by_ops]
    return RefundUsed(used[0]) if used else NotConfirmed()


async def _finish(stores: PaymentStores, shard: Shard, serial: str) -> Reservation | None:
    """Give the seats back. The refund is safe in Postgres: a fault here is recovery's."""
    try:
        answer = await stores.seats.refund(shard, serial)
        for _ in range(_CHANGES_FINISHED_MAX):
            if answer.code is not Code.IN_PROGRESS or answer.reservation is None:
                break
            await finish_changes(stores, shard, [answer.reservation])
            answer = await stores.seats.refund(shard, serial)
    except Unavailable as error:
        log.warning("refunded in postgres, redis not updated yet", extra={"cause": str(error)})
        return None
    if answer.code < Code.DONE:
        log.warning("refunded in postgres, redis not ready", extra={"code": answer.code.name})
        return None
    return answer.reservation


async def return_seats(stores: PaymentStores, shard: Shard, limit: int) -> int:
    """Give back the seats of at most `limit` refunds whose process may have died; return how many.

    One that Redis has no record of has no seats there either. One that is still being paid or moved
    waits for that to be finished.
    """
    returned: dict[str, int] = {}
    for reservation_id in await stores.refunds.to_return(shard.exam, limit):
        _, serial = stores.registry.locate(reservation_id)
        answer = await stores.seats.refund(shard, serial)
        if answer.code is Code.ENDED:
            log.error("refunded in postgres, redis had returned the seats before")
        if answer.code is not Code.IN_PROGRESS:
            returned[reservation_id] = answer.detail[0]
    if returned:
        await stores.refunds.mark_returned(returned, shard.epoch)
    return len(returned)
