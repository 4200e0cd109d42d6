"""Redis ran a command and the connection was reset before its answer: repeats have one effect.

Whichever answer of a protocol is lost, the caller is told that it may have happened, and asking
again, with the same key or event, ends as if nothing had been lost.
"""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import RefundUsed, SeatsUnavailable
from quota_service.domain.payment import PaymentOutcome
from quota_service.domain.reservation import Reservation, State
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.refund import refund
from quota_service.registration.release import checkout, release
from quota_service.settings import Settings
from tests.support.bookings import book, check_agreement, left, now, recover
from tests.support.lost_shards import drain, rows
from tests.support.proxy import Proxy, proxied
from tests.support.use_cases import hold, payment


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[Proxy]:
    """A proxy before the test's Redis."""
    async with proxied(settings.redis_url) as opened:
        yield opened


@pytest.fixture
async def cut(settings: Settings, service: Service, proxy: Proxy) -> AsyncIterator[Service]:
    """A process whose answers from Redis can be lost; connected, its scripts loaded."""
    assert service.stores.registry.is_loaded
    async with open_service(
        dataclasses.replace(settings, redis_url=proxy.in_front_of(settings.redis_url))
    ) as opened:
        await refresh_memory(opened)
        await opened.stores.runners.check()
        yield opened


async def verbs(service: Service, reservation: Reservation) -> list[str]:
    """Return the steps of a reservation, oldest first."""
    await drain(service)
    query = "SELECT verb FROM journal WHERE subject = $1 ORDER BY version"
    return [verb for (verb,) in await rows(service, query, reservation.id.rpartition(".")[2])]


async def tried(call: Callable[[], Awaitable[Any]]) -> Any:
    """Return what a call returns, or its error; a lost answer is never told as nothing done."""
    try:
        return await call()
    except SeatsUnavailable as lost:
        return lost if lost.applied is None else AssertionError(lost)


async def test_a_reservation_whose_answer_was_cut_is_held_once(
    cut: Service, service: Service, proxy: Proxy
) -> None:
    proxy.cut_answer(1)
    first = await tried(lambda: hold(cut))
    between = await left(service, "jinan/general")
    again = await hold(cut)

    assert isinstance(first, SeatsUnavailable)
    assert (between, await left(service, "jinan/general")) == (2, 2)
    assert await verbs(service, again) == ["reserve"]
    await check_agreement(service, booked=0)


@pytest.mark.parametrize("step", [release, checkout])
async def test_a_step_of_a_hold_whose_answer_was_cut_is_taken_once(
    cut: Service,
    service: Service,
    proxy: Proxy,
    step: Callable[..., Awaitable[Reservation]],
) -> None:
    held = await hold(service)
    proxy.cut_answer(1)
    first = await tried(lambda: step(cut.stores, held.id))
    between = await now(service, held)
    again = await step(cut.stores, held.id)

    assert isinstance(first, SeatsUnavailable)
    assert between == again
    assert await verbs(service, held) == ["reserve", step.__name__]
    await check_agreement(service, booked=0)


async def test_a_move_of_a_hold_whose_answer_was_cut_is_made_once(
    cut: Service, service: Service, proxy: Proxy
) -> None:
    held = await hold(service)
    proxy.cut_answer(1)
    first = await tried(lambda: change_venue(cut.stores.payments, held.id, "tianjin"))
    again = await change_venue(cut.stores.payments, held.id, "tianjin")

    assert isinstance(first, SeatsUnavailable)
    assert (again.venue, again.state) == ("tianjin", State.HELD)
    assert (await left(service, "jinan/general"), await left(service, "tianjin/general")) == (3, 4)
    assert await verbs(service, held) == ["reserve", "change"]
    await check_agreement(service, booked=0)


@pytest.mark.parametrize("answer", [1, 2])
async def test_a_change_of_a_booking_whose_answer_was_cut_moves_it_once(
    cut: Service, service: Service, proxy: Proxy, answer: int
) -> None:
    booked = await book(service)
    proxy.cut_answer(answer)
    first = await tried(lambda: change_venue(cut.stores.payments, booked.id, "tianjin"))
    recovered, _ = await recover(service)
    again = await change_venue(cut.stores.payments, booked.id, "tianjin")

    # Lost before the decision: given up, and made by the repeat. Lost after it: finished.
    assert isinstance(first, SeatsUnavailable) is (answer == 1)
    assert (recovered.stayed, recovered.moved) == ((1, 0) if answer == 1 else (0, 0))
    assert (again.venue, again.state) == ("tianjin", State.CONFIRMED)
    assert (await left(service, "jinan/general"), await left(service, "tianjin/general")) == (3, 4)
    assert proxy.cuts == 1
    await check_agreement(service, booked=1)


@pytest.mark.parametrize("answer", [1, 2])
async def test_a_payment_whose_answer_was_cut_is_booked_once(
    cut: Service, service: Service, proxy: Proxy, answer: int
) -> None:
    held = await hold(service)
    proxy.cut_answer(answer)
    first = await tried(lambda: confirm(cut.stores.payments, payment(held)))
    again = await confirm(cut.stores.payments, payment(held))

    assert isinstance(first, SeatsUnavailable) is (answer == 1)
    assert again.outcome is PaymentOutcome.CONFIRMED
    assert await verbs(service, held) == ["reserve", "pin", "confirm"]
    assert proxy.cuts == 1
    await check_agreement(service, booked=1)


@pytest.mark.parametrize("answer", [1, 2, 3, 4])
async def test_a_refund_whose_answer_was_cut_gives_its_seats_back_once(
    cut: Service, service: Service, proxy: Proxy, answer: int
) -> None:
    booked = await book(service)
    proxy.cut_answer(answer)
    first = await tried(lambda: refund(cut.stores.payments, booked.id))
    if isinstance(first, SeatsUnavailable):
        await refund(cut.stores.payments, booked.id)
    with pytest.raises(RefundUsed):
        await refund(cut.stores.payments, booked.id)
    await recover(service)

    # Reservation, definition and clock are asked for before the decision; the seats come after it.
    assert isinstance(first, SeatsUnavailable) is (answer < 4)
    assert await left(service, "jinan/general") == 3
    assert (await verbs(service, booked))[-1] == "refund"
    assert (await verbs(service, booked)).count("refund") == 1
    assert proxy.cuts == 1
    await check_agreement(service, booked=0)
