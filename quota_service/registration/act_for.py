"""Ops act for a candidate: each act is the use case that a frontend or the provider calls.

    1. note in Postgres who does what to which reservation, and why
    2. the use case itself, which the journal notes under the same key and request

A crash between the two leaves a note of what was not done; one later leaves what the use case
leaves. Doing it again is noted again, and is answered as the use case answers a repeat.
"""

import hashlib

import orjson

from quota_service.domain.errors import AlreadyConfirmed, ReservationEnded
from quota_service.domain.payment import PaymentEvent, PaymentResult, PaymentStatus
from quota_service.domain.reservation import Reservation, State
from quota_service.observability.caller import caller
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.release import release
from quota_service.registration.stores import ExamStores, PaymentStores
from quota_service.registration.view import read_reservation

MANUAL = "manual:"
"""What the event ids of payments begin with that ops have marked."""


async def mark_paid(
    stores: PaymentStores, reservation_id: str, reference: str, reason: str
) -> PaymentResult:
    """Record that a reservation was paid in full, under the reference of the payment.

    It is a payment event as any other: of a hold that has expired it ends as a late payment does,
    and when the provider reports the same reference later, it is the same payment. Raises
    AlreadyConfirmed and ReservationEnded, where it would be due back at once, and EventIdReused.
    """
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
        if found.state in {State.RELEASED, State.REFUNDED}:
            raise ReservationEnded(found.state)
    await _note(stores, reservation_id, "mark-paid", reason, {"reference": reference})
    return await confirm(stores, event)


async def release_for(stores: ExamStores, reservation_id: str, reason: str) -> Reservation:
    """Give back a hold of a candidate, as `release` does."""
    await _note(stores, reservation_id, "release", reason, {})
    return await release(stores, reservation_id)


async def move(stores: PaymentStores, reservation_id: str, venue: str, reason: str) -> Reservation:
    """Change the venue as `change_venue` does, outside of the window too, and without limits."""
    await _note(stores, reservation_id, "move", reason, {"venue": venue})
    return await change_venue(stores, reservation_id, venue, by_ops=True)


async def _note(
    stores: ExamStores, reservation_id: str, action: str, reason: str, detail: dict[str, object]
) -> None:
    """Note an act for a reservation, whose exam must be known."""
    shard, _ = stores.registry.locate(reservation_id)
    async with stores.ledger.transaction() as connection:
        await stores.exams.note_action(
            connection, shard.exam, caller(), action, reservation_id, reason, detail
        )
    stores.failpoint("act: after note")
