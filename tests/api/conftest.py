"""What tests over HTTP share: a look into both stores, and proof that nothing changed there."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import redis.asyncio

from quota_service.settings import Settings
from tests.support.evidence import Evidence

NothingChanges = Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture
def evidence(settings: Settings) -> Evidence:
    return Evidence(settings)


@pytest.fixture
def nothing_changes(evidence: Evidence) -> NothingChanges:
    """A block after which both stores must hold what they held before it."""

    @asynccontextmanager
    async def block() -> AsyncIterator[None]:
        before = await evidence.fingerprint()
        assert before
        yield
        assert await evidence.fingerprint() == before

    return block


@pytest.fixture
async def redis_client(settings: Settings) -> AsyncIterator["redis.asyncio.Redis"]:
    async with redis.asyncio.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        yield client
