"""An act of ops that died after its note has done nothing, and is done by the same call again."""

from collections.abc import Awaitable, Callable

import pytest

from quota_service.app.opening import Service
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.act_for import mark_paid, move, release_for
from quota_service.registration.stores import PaymentStores
from tests.support.bookings import now
from tests.support.lost_shards import rows
from tests.support.use_cases import DiedError, check_both_books, dying, hold

Act = Callable[[PaymentStores, str], Awaitable[object]]
ACTS: dict[str, Act] = {
    "mark-paid": lambda stores, id_: mark_paid(stores, id_, "bank 7", "why"),
    "release": lambda stores, id_: release_for(stores, id_, "why"),
    "move": lambda stores, id_: move(stores, id_, "tianjin", "why"),
}
ENDS = {
    "mark-paid": (State.CONFIRMED, "jinan"),
    "release": (State.RELEASED, "jinan"),
    "move": (State.HELD, "tianjin"),
}


@pytest.mark.parametrize("act", ACTS)
async def test_an_act_that_died_after_its_note_is_done_once_by_the_same_call(
    service: Service, act: str
) -> None:
    held: Reservation = await hold(service)

    with pytest.raises(DiedError):
        await ACTS[act](dying(service.stores.payments, "act: after note"), held.id)
    before = await now(service, held)
    await ACTS[act](service.stores.payments, held.id)
    await ACTS[act](service.stores.payments, held.id)

    after = await now(service, held)
    assert (before.state, before.venue) == (State.HELD, "jinan")
    assert (after.state, after.venue) == ENDS[act]
    assert await rows(service, "SELECT action, subject FROM ops_actions") == [(act, held.id)] * 3
    await check_both_books(service, booked=int(act == "mark-paid"))
