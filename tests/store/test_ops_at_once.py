"""What ops, the candidate and the provider do to one reservation at once ends whole.

Every pair of acts meets on a reservation of its own, held, booked or refunded. Whatever wins: both
stores agree, and what was paid is booked or due back, once.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import QuotaError
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.act_for import mark_paid, move, refund_for, release_for
from quota_service.registration.audit import audit
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.refund import refund
from quota_service.registration.release import release
from quota_service.registration.stores import PaymentStores
from tests.support.bookings import book, check_agreement, recover
from tests.support.exams import make_exam
from tests.support.lost_shards import rows
from tests.support.use_cases import hold, payment

Act = Callable[[PaymentStores, Reservation], Awaitable[object]]

ACTS: dict[str, Act] = {
    "callback": lambda stores, held: confirm(stores, payment(held, f"event-{held.id}")),
    "mark-paid": lambda stores, held: mark_paid(stores, held.id, f"provider-event-{held.id}", "x"),
    "mark-paid otherwise": lambda stores, held: mark_paid(stores, held.id, f"bank {held.id}", "x"),
    "give back": lambda stores, held: release(stores, held.id),
    "release": lambda stores, held: release_for(stores, held.id, "x"),
    "change": lambda stores, held: change_venue(stores, held.id, "tianjin"),
    "move": lambda stores, held: move(stores, held.id, "tianjin", "x"),
    "move elsewhere": lambda stores, held: move(stores, held.id, "beijing", "x"),
    "refund": lambda stores, held: refund(stores, held.id),
    "refund by ops": lambda stores, held: refund_for(stores, held.id, "x"),
}
PAIRS = tuple(itertools.combinations_with_replacement(ACTS, 2))
SEATS = {venue: {"general": len(PAIRS)} for venue in ("jinan", "tianjin", "beijing")}


async def begin(service: Service, candidate: str, state: State) -> Reservation:
    if state is State.HELD:
        return await hold(service, candidate)
    booked = await book(service, candidate)
    if state is State.REFUNDED:
        await refund(service.stores.payments, booked.id)
    return booked


@pytest.mark.parametrize("state", [State.HELD, State.CONFIRMED, State.REFUNDED])
async def test_two_acts_at_once_leave_a_reservation_whole_and_its_money_counted(
    service: Service, state: State
) -> None:
    await import_exam(service.stores.maintenance, make_exam(seats=SEATS))
    began = [await begin(service, f"c-{n}", state) for n in range(len(PAIRS))]

    async def meet(reservation: Reservation, pair: tuple[str, str]) -> None:
        acts = (ACTS[name](service.stores.payments, reservation) for name in pair)
        for name, end in zip(
            pair, await asyncio.gather(*acts, return_exceptions=True), strict=True
        ):
            assert not isinstance(end, BaseException) or isinstance(end, QuotaError), (name, end)

    await asyncio.gather(*itertools.starmap(meet, zip(began, PAIRS, strict=True)))

    await recover(service)
    ((booked,),) = await rows(service, "SELECT count(*) FROM bookings WHERE state = 'confirmed'")
    await check_agreement(service, booked=booked)
    assert (await audit(service.stores.maintenance, "exam-1")).differences == ()
    paid = "SELECT reservation, sum(amount) FROM payment_events WHERE repeats IS NULL GROUP BY 1"
    ended = (
        "SELECT reservation, sum(amount) FROM (SELECT reservation, amount FROM refunds_due "
        "UNION ALL SELECT reservation, amount FROM bookings WHERE state = 'confirmed') AS ends "
        "GROUP BY 1"
    )
    assert sorted(await rows(service, paid)) == sorted(await rows(service, ended))
