"""Confirm what costs nothing: the call that reserves it books it, and is answered after that.

    1. the hold that reserving has made, or that a repeat of the request has found
    2. confirm it, by a payment event of our own whose id and reference name the reservation

A process that dies in 2 leaves what `confirm` says. Such a hold is never paid: it expires, or
the frontend repeats the request with the same key, which does 2 again and ends the same.
"""

from quota_service.domain.errors import ReservationEnded
from quota_service.domain.payment import PaymentEvent, PaymentOutcome, PaymentStatus
from quota_service.domain.reservation import Reservation
from quota_service.observability.logs import REQUEST_ID
from quota_service.registration.confirm import confirm
from quota_service.registration.stores import PaymentStores
from quota_service.registration.view import read_reservation

_FREE = "free:"
"""Begins the event ids and references of what costs nothing."""


async def confirm_free(stores: PaymentStores, held: Reservation) -> None:
    """Book a reservation whose amount is 0; return once that is committed, now or before.

    Raises ReservationEnded when it ended before it could be booked, and Unavailable.
    """
    name = f"{_FREE}{held.id}"
    event = PaymentEvent(
        event=name,
        reservation=held.id,
        status=PaymentStatus.CAPTURED,
        amount=0,
        currency=held.currency,
        paid_at_ms=held.created_ms,
        provider_reference=name,
        body_hash=_FREE,
        request=REQUEST_ID.get(),
    )
    result = await confirm(stores, event)
    if result.outcome is not PaymentOutcome.CONFIRMED:
        raise ReservationEnded((await read_reservation(stores, held.id)).state)
