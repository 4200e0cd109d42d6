"""A synchronous standby: what is answered is on both, or it is not answered."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import LedgerUnavailable
from quota_service.domain.payment import PaymentOutcome
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger.migrations import migrate
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.refund import refund
from quota_service.settings import Settings
from tests.support.bookings import book, now, recover
from tests.support.exams import make_exam
from tests.support.lost_shards import recover_shards
from tests.support.pair_of_postgres import execute
from tests.support.servers import kill
from tests.support.standby import PostgresPair, postgres_pair
from tests.support.use_cases import hold, payment
from tests.support.waiting import eventually, insisting

_CANCEL = """
SELECT pg_cancel_backend(pid)
FROM   pg_stat_activity
WHERE  wait_event = 'SyncRep' AND backend_type = 'client backend'
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Secured:
    """A service on a pair of Postgres, with the test exam."""

    pair: PostgresPair
    service: Service

    async def cancel_waits(self) -> None:
        """Cancel what waits for the standby, as an operator may: it is committed then."""

        async def cancelled() -> bool:
            connection = await asyncpg.connect(self.pair.primary.url)
            try:
                return bool(await connection.fetch(_CANCEL))
            finally:
                await connection.close()

        await eventually(cancelled)


@pytest.fixture
async def secured(settings: Settings, tmp_path: Path) -> AsyncIterator[Secured]:
    async with postgres_pair(tmp_path / "pair") as pair:
        await execute(pair.primary.url, "CREATE DATABASE quota")
        changed = dataclasses.replace(
            settings, postgres_dsn=pair.dsn("quota"), postgres_command_timeout_s=1.5
        )
        async with open_service(changed) as service:
            await migrate(service.stores.ledger)
            await refresh_memory(service)
            await import_exam(service.stores.maintenance, make_exam())
            yield Secured(pair, service)


async def pay(service: Service, held: Reservation) -> PaymentOutcome:
    event = payment(held, "event-1", held.amount)
    return (await confirm(service.stores.payments, event)).outcome


async def test_without_its_standby_no_payment_is_answered_although_it_is_committed(
    secured: Secured,
) -> None:
    service = secured.service
    held = await hold(service, "first")
    secured.pair.standby.stop()

    for _ in range(3):  # the provider sends it again, and finds what was committed here alone
        with pytest.raises(LedgerUnavailable):
            await pay(service, held)
    with suppress(LedgerUnavailable):
        await recover(service)
    during = (await now(service, held)).state
    secured.pair.standby.start()
    await eventually(secured.pair.is_synchronous)

    assert during is State.CONFIRMING
    assert (
        await insisting(lambda: pay(service, held), LedgerUnavailable) is PaymentOutcome.CONFIRMED
    )
    assert (await now(service, held)).state is State.CONFIRMED


async def test_without_its_standby_no_seat_of_a_refund_is_given_back_although_it_is_committed(
    secured: Secured,
) -> None:
    service = secured.service
    booked = await book(service, "first")
    secured.pair.standby.stop()

    with pytest.raises(LedgerUnavailable):
        await refund(service.stores.payments, booked.id)
    with suppress(LedgerUnavailable):
        await recover(service)
    during = (await now(service, booked)).state
    secured.pair.standby.start()
    await eventually(secured.pair.is_synchronous)
    _, returned = await insisting(lambda: recover(service), LedgerUnavailable)

    assert (during, returned) == (State.CONFIRMED, 1)
    assert (await now(service, booked)).state is State.REFUNDED


async def test_a_wait_for_the_standby_that_an_operator_cancels_is_no_commit(
    secured: Secured,
) -> None:
    service = secured.service
    held = await hold(service, "first")
    secured.pair.standby.stop()

    paying = asyncio.create_task(pay(service, held))
    await secured.cancel_waits()  # of the payment
    await secured.cancel_waits()  # of the look whether it was committed

    with pytest.raises(LedgerUnavailable):
        await paying
    secured.pair.standby.start()


async def test_the_pool_follows_a_standby_that_was_promoted_and_no_booking_is_missing(
    secured: Secured,
) -> None:
    service = secured.service
    booked = await book(service, "before")
    held = await hold(service, "during")
    kill(secured.pair.primary)
    with pytest.raises(LedgerUnavailable):
        await pay(service, held)
    await secured.pair.promote()

    outcome = await insisting(lambda: pay(service, held), LedgerUnavailable)

    assert outcome is PaymentOutcome.CONFIRMED
    assert (await now(service, booked)).state is State.CONFIRMED
    assert await insisting(lambda: recover_shards(service), LedgerUnavailable) == 0
