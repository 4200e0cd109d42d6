"""Ops act for a candidate: each act is the use case that a frontend or the provider calls.

    1. note in Postgres who does what to which reservation or for which candidate, and why (`noted`)
    2. the use case itself, which the journal notes under the same key and request
    3. note how it ended

A crash between 1 and 2 leaves a note of what was not done; one later leaves what the use case
leaves. Doing it again is noted again, and is answered as the use case answers a repeat.

Settling a refund due (`settle_refund`), and opening it again (`reopen_refund`), is one transaction
with its note.
"""

import hashlib

import orjson

from quota_service.domain.errors import (
    AlreadyConfirmed,
    NotSettledThen,
    PaymentInProgress,
    ReservationEnded,
    UnknownRefund,
)
from quota_service.domain.payment import PaymentEvent, PaymentResult, PaymentStatus
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger.refunds_due import RefundDue
from quota_service.observability.caller import caller
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.noted import noted
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.registration.reserve import Order, Reserved, reserve
from quota_service.registration.stores import ExamStores, PaymentStores, ReservationStores
from quota_service.registration.view import read_reservation

MANUAL = "manual:"
"""What the event ids of payments begin with that ops have marked."""


async def reserve_for(
    stores: ReservationStores, exam_id: str, order: Order, key: str, reason: str
) -> Reserved:
    """Reserve as `reserve` does, outside of the window too, without limits and without a pass."""
    stores.registry.find(exam_id)
    # Ids of an order are checked by `reserve`, and may be anything before.
    detail = {"idempotency_key": key}
    async with noted(stores, exam_id, "reserve", order.candidate, reason, detail):
        return await reserve(stores, exam_id, order, key, by_ops=True)


async def mark_paid(
    stores: PaymentStores, reservation_id: str, reference: str, reason: str
) -> PaymentResult:
    """Record that a reservation was paid in full, under the reference of the payment.

    It is a payment event as any other: of a hold that has expired it ends as a late payment does,
    and when the provider reports the same reference later, it is the same payment. Raises
    AlreadyConfirmed, ReservationEnded and PaymentInProgress, where it would be due back at once,
    and EventIdReused.
    """
    exam = _exam_of(stores, reservation_id)
    found = await read_reservation(stores, reservation_id)
    content = [reservation_id, found.amount, found.currency, reference]
    event = PaymentEvent(
        event=MANUAL + reference,
        reservation=reservation_id,
        status=PaymentStatus.CAPTURED,
        amount=found.amount,
        currency=found.currency,
        paid_at_ms=await stores.seats.clock_ms(),
        provider_reference=reference,
        body_hash=hashlib.blake2b(orjson.dumps(content), digest_size=16).hexdigest(),
        request=caller().request_id,
    )
    if await stores.confirmations.recorded(event) is None:
        if found.state.is_booked:
            raise AlreadyConfirmed
        if found.state is State.CONFIRMING:
            raise PaymentInProgress
        if found.state in {State.RELEASED, State.REFUNDED}:
            raise ReservationEnded(found.state)
    async with noted(stores, exam, "mark-paid", reservation_id, reason, {"reference": reference}):
        return await confirm(stores, event, by_ops=True)


async def release_for(stores: ExamStores, reservation_id: str, reason: str) -> Reservation:
    """Give back a hold of a candidate, as `release` does."""
    exam = _exam_of(stores, reservation_id)
    async with noted(stores, exam, "release", reservation_id, reason, {}):
        return await release(stores, reservation_id)


async def move(stores: PaymentStores, reservation_id: str, venue: str, reason: str) -> Reservation:
    """Change the venue as `change_venue` does, outside of the window too, and without limits."""
    exam = _exam_of(stores, reservation_id)
    async with noted(stores, exam, "move", reservation_id, reason, {"venue": venue}):
        return await change_venue(stores, reservation_id, venue, by_ops=True)


async def refund_for(stores: PaymentStores, reservation_id: str, reason: str) -> Reservation:
    """Refund a booking as `refund` does, outside of the window too, and beside the one refund."""
    exam = _exam_of(stores, reservation_id)
    async with noted(stores, exam, "refund", reservation_id, reason, {}):
        return await refund(stores, reservation_id, by_ops=True)


async def settle_refund(
    stores: PaymentStores, exam_id: str | None, refund_id: int, reason: str
) -> RefundDue:
    """Remember that the money of a refund due was sent back; without a reason nothing is noted.

    Raises UnknownRefund.
    """
    async with stores.ledger.transaction() as connection:
        by = caller()
        due = await stores.refunds_due.settle_within(connection, exam_id, refund_id, by.key_id)
        if due is None:
            raise UnknownRefund
        if reason:
            detail = {"refund": refund_id}
            await stores.ops_actions.note(
                connection, due.exam, by, "settle-refund", due.reservation, reason, detail
            )
    return due


async def reopen_refund(
    stores: PaymentStores, exam_id: str | None, refund_id: int, settled_ms: int, reason: str
) -> RefundDue:
    """Let the money of a refund due that was settled at `settled_ms` be due again.

    The settlement is named, so that a repeat does not open what was settled since: one that is due
    is returned as it is. Raises UnknownRefund and NotSettledThen.
    """
    async with stores.ledger.transaction() as connection:
        due = await stores.refunds_due.lock(connection, exam_id, refund_id)
        if due is None:
            raise UnknownRefund
        if due.settled_ms is None:
            return due
        if due.settled_ms != settled_ms:
            raise NotSettledThen
        await stores.refunds_due.reopen(connection, refund_id)
        detail = {"refund": refund_id, "settled_ms": settled_ms}
        await stores.ops_actions.note(
            connection, due.exam, caller(), "reopen-refund", due.reservation, reason, detail
        )
        stores.failpoint("reopen: before commit")
        again = await stores.refunds_due.lock(connection, exam_id, refund_id)
    if again is None:
        raise UnknownRefund
    return again


def _exam_of(stores: ExamStores, reservation_id: str) -> str:
    """Return the exam of a reservation; raises UnknownReservation and ExamArchived."""
    shard, _ = stores.registry.locate(reservation_id)
    return shard.exam
