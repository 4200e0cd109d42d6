"""What tests over HTTP share: a look into both stores, and proof that nothing changed there."""

import dataclasses
import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import redis.asyncio

from quota_service.observability.logs import configure_logging
from quota_service.settings import Settings
from tests.conftest import Running
from tests.support.contract import Contract
from tests.support.evidence import Evidence
from tests.support.rooms import open_room

NothingChanges = Callable[[], AbstractAsyncContextManager[None]]


def pytest_configure(config: pytest.Config) -> None:
    text = "settings(*limits, **changes): other limits and settings for this test"
    config.addinivalue_line("markers", text)


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """The settings of every test, changed as the test's marker says."""
    marker = request.node.get_closest_marker("settings")
    if marker is None:
        return settings
    return dataclasses.replace(settings, **marker.kwargs).with_limits(*marker.args)


@pytest.fixture(scope="session")
def contract() -> Contract:
    """The OpenAPI document, which answers are held to."""
    return Contract()


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
async def drawing(running: Running) -> Running:
    """A service whose exam has a waiting room and opens in an hour."""
    await open_room(running.service)
    return running


@pytest.fixture
async def queueing(running: Running) -> Running:
    """A service whose exam has a waiting room that was switched on after the opening."""
    await open_room(running.service, opens_in_s=-3600)
    return running


@pytest.fixture
async def redis_client(settings: Settings) -> AsyncIterator["redis.asyncio.Redis"]:
    async with redis.asyncio.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    """Everything the service logs, from debug up, as it would go to standard error."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    access = logging.getLogger("aiohttp.access")
    access_level = access.level
    stream = io.StringIO()
    configure_logging("debug", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    access.setLevel(access_level)
