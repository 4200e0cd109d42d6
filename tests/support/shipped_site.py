"""The service on the stores of `deploy/`, as their users that are shipped."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from quota_service.app.opening import open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.ledger.api_keys import Scope
from quota_service.ledger.migrations import migrate
from quota_service.settings import Settings
from tests.support.client import PAYMENT_SECRETS, TOKEN_SECRETS
from tests.support.patience import PATIENT
from tests.support.serving import Serving, serving
from tests.support.shipped_stores import ShippedPostgres


class HasUrl(Protocol):
    """A Redis that is told by its URL."""

    @property
    def url(self) -> str: ...


def settings_of(redis: HasUrl, postgres: ShippedPostgres) -> Settings:
    return Settings(
        redis_url=redis.url,
        postgres_dsn=postgres.dsn,
        port=0,
        admin_port=0,
        payment_secrets=PAYMENT_SECRETS,
        candidate_token_secrets=TOKEN_SECRETS,
        availability_refresh_ms=10,
        registry_refresh_s=0.1,
        **PATIENT,
    )


@asynccontextmanager
async def site_on(redis: HasUrl, postgres: ShippedPostgres) -> AsyncIterator[Serving]:
    """The service on both stores, migrated, with its workers and new keys."""
    async with open_service(settings_of(redis, postgres)) as service:
        await migrate(service.stores.ledger)
        create = service.key_ledger.create
        frontend = await create("frontend", frozenset({Scope.FRONTEND, Scope.REFUNDS}))
        ops = await create("ops", frozenset({Scope.OPS}))
        await refresh_memory(service)
        async with serving(service, frontend, ops, workers=True) as site:
            yield site
