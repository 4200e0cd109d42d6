"""Release and checkout: the two things a candidate can do to a hold of its own.

Each is one script call, so a process that dies leaves the hold as it was before or after it.
Repeating either is answered the same and changes nothing.
"""

from quota_service.domain.errors import (
    AlreadyConfirmed,
    PaymentInProgress,
    ReservationEnded,
    UnknownReservation,
)
from quota_service.domain.reservation import Reservation
from quota_service.registration.stores import ExamStores
from quota_service.registration.view import forgotten_reservation
from quota_service.seats.codes import Code
from quota_service.seats.replies import ScriptReply


async def release(stores: ExamStores, reservation_id: str) -> Reservation:
    """Give a hold back; one that has ended is returned as it ended.

    Raises AlreadyConfirmed, PaymentInProgress and UnknownReservation.
    """
    shard, serial = stores.registry.locate(reservation_id)
    answer = await stores.seats.release(shard, serial)
    if answer.code is Code.DONE:
        stores.metrics.reservations.labels(exam=shard.exam, outcome="released").inc()
        stores.metrics.holds_ended_unpaid.labels(exam=shard.exam, end="released").inc()
    reservation = await _after_step(stores, reservation_id, answer)
    if reservation.state.is_booked:
        raise AlreadyConfirmed
    return reservation


async def checkout(stores: ExamStores, reservation_id: str) -> Reservation:
    """Begin the payment: the deadline moves out by the exam's checkout grace, the first time.

    Raises ReservationEnded, AlreadyConfirmed and UnknownReservation.
    """
    shard, serial = stores.registry.locate(reservation_id)
    grace_ms = stores.registry.find(shard.exam).hold.checkout_grace_s * 1000
    answer = await stores.seats.checkout(shard, serial, grace_ms)
    reservation = await _after_step(stores, reservation_id, answer)
    if reservation.state.is_booked:
        raise AlreadyConfirmed
    if reservation.state.is_ended:
        raise ReservationEnded(reservation.state)
    return reservation


async def _after_step(stores: ExamStores, reservation_id: str, answer: ScriptReply) -> Reservation:
    """Return the reservation a script answered with, or the one Redis has forgotten by now."""
    match answer:
        case ScriptReply(Code.DONE | Code.DONE_BEFORE | Code.ENDED, Reservation() as reservation):
            return reservation
        case ScriptReply(Code.ALREADY_CONFIRMED):
            raise AlreadyConfirmed
        case ScriptReply(Code.IN_PROGRESS):
            raise PaymentInProgress
        case ScriptReply(Code.UNKNOWN):
            older = await forgotten_reservation(stores, reservation_id)
            if older is None:
                raise UnknownReservation
            return older
        case _:
            raise AssertionError(f"the script answered {answer}")
