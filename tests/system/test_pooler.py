"""The service behind a PgBouncer in transaction mode, with the statement cache off."""

import asyncio
import dataclasses

import pytest

from quota_service.app.opening import open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.payment import PaymentOutcome
from quota_service.ledger.api_keys import Scope
from quota_service.ledger.group_commit import GroupCommitLimits
from quota_service.ledger.migrations import migrate
from quota_service.registration.confirm import confirm
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.import_exam import import_exam
from quota_service.registration.order_events import order_events
from quota_service.settings import Settings
from tests.support.exams import make_exam
from tests.support.pooler import pooled
from tests.support.use_cases import check_both_books, hold, payment

pytestmark = pytest.mark.system

CANDIDATES = 40


async def test_everything_works_while_each_transaction_gets_another_connection(
    settings: Settings,
) -> None:
    async with pooled(settings.postgres_dsn) as dsn:
        behind = dataclasses.replace(
            settings,
            postgres_dsn=dsn,
            postgres_statement_cache=False,
            postgres_acquire_timeout_s=30,  # two connections for everyone: it may take its time
        ).with_limits(GroupCommitLimits(batch_max=4))
        async with open_service(behind) as service:
            await migrate(service.stores.ledger)
            seats = {"jinan": {"general": CANDIDATES}}
            await import_exam(service.stores.maintenance, make_exam(seats=seats))
            await service.key_ledger.create("portal", frozenset({Scope.FRONTEND}))
            holds = [await hold(service, f"candidate-{n}") for n in range(CANDIDATES)]

            async def pay(number: int) -> PaymentOutcome:
                event = payment(holds[number], event=f"event-{number}")
                return (await confirm(service.stores.payments, event)).outcome

            async def look() -> None:
                await refresh_memory(service)
                await service.stores.reader.ping()
                await service.stores.reader.bookings_of_candidate("exam-1", "candidate-1")

            outcomes = await asyncio.gather(*(pay(n) for n in range(CANDIDATES)))
            await asyncio.gather(*(look() for _ in range(CANDIDATES)))
            drained = await drain_journal(
                service.stores.maintenance, service.stores.registry.shard("exam-1"), 1000, 3
            )

            numbered = await order_events(service.stores.maintenance, 1000)

            assert numbered.numbered == 2 * CANDIDATES
            assert set(outcomes) == {PaymentOutcome.CONFIRMED}
            assert drained.stored > CANDIDATES
            await check_both_books(service, booked=CANDIDATES)
