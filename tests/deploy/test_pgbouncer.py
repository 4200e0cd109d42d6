"""The service behind the PgBouncer of `deploy/pgbouncer/`, which lends connections by transaction.

It has two connections of Postgres for everyone, so that each transaction gets another one.
"""

import dataclasses
from collections.abc import AsyncIterator

import pytest

from quota_service.app.opening import open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.ledger.api_keys import Scope
from quota_service.settings import Settings
from tests.support.opening_day import live_through_a_day
from tests.support.pooler import PoolerEndedError, pooled
from tests.support.serving import serving

pytestmark = pytest.mark.system


@pytest.fixture
async def behind(settings: Settings) -> AsyncIterator[Settings]:
    async with pooled(settings.postgres_dsn) as dsn:
        yield dataclasses.replace(
            settings,
            postgres_dsn=dsn,
            postgres_statement_cache=False,
            postgres_acquire_timeout_s=30,  # two connections for everyone: it may take its time
        )


async def test_every_call_of_a_day_works_behind_it(behind: Settings) -> None:
    async with open_service(behind) as service:
        create = service.key_ledger.create
        frontend = await create("frontend", frozenset({Scope.FRONTEND, Scope.REFUNDS}))
        ops = await create("ops", frozenset({Scope.OPS}))
        await refresh_memory(service)
        async with serving(service, frontend, ops, workers=True) as site:
            await live_through_a_day(site)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("pool_mode = transaction", "pool_mode = sometimes", r"pool_mode.*pgbouncer\.ini"),
        ("max_client_conn = 2000", "max_clients = 2000", r"max_clients.*pgbouncer\.ini"),
        ("auth_type = scram-sha-256", "auth_type = scam", r"auth_type.*pgbouncer\.ini"),
    ],
)
async def test_it_says_what_is_wrong_in_its_files(
    settings: Settings, before: str, after: str, told: str
) -> None:
    with pytest.raises(PoolerEndedError, match=told):
        async with pooled(settings.postgres_dsn, {before: after}):
            pass
