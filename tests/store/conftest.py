"""Stores without the service around them."""

from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from quota_service.embedded import EmbeddedRedis
from quota_service.settings import Settings
from tests.support.ledgers import LedgerUnderTest, open_books
from tests.support.patience import PATIENT
from tests.support.seats import SeatsUnderTest, open_seats


@pytest.fixture
async def redis_settings(redis_server: EmbeddedRedis) -> Settings:
    """Settings for an empty Redis, with long limits."""
    client = redis.asyncio.Redis.from_url(redis_server.url)
    await client.flushall()
    await client.aclose()
    return Settings(redis_url=redis_server.url, **PATIENT)


@pytest.fixture
async def seats(redis_settings: Settings) -> AsyncIterator[SeatsUnderTest]:
    """An open shard of the test exam; after each test its books must balance."""
    async with open_seats(redis_settings) as opened:
        yield opened
        await opened.check_books()


@pytest.fixture
async def books(settings: Settings) -> AsyncIterator[LedgerUnderTest]:
    """The ledger of the test exam; after each test its books must balance."""
    async with open_books(settings) as opened:
        yield opened
        await opened.check_books()
