"""Stores without the service around them."""

import dataclasses
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio

from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.errors import LedgerUnavailable
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings
from tests.support.command_line import CommandLine
from tests.support.embedded import MakeParent, MakePostgres, MakeRedis, Parent
from tests.support.ledgers import LedgerUnderTest, open_books
from tests.support.moved_definitions import exam
from tests.support.patience import PATIENT
from tests.support.processes import is_running
from tests.support.proxy import Proxy, proxied
from tests.support.seats import SeatsUnderTest, open_seats
from tests.support.servers import redis_programs
from tests.support.waiting import insisting, wait_until


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of the scripts on every server they are to work on."""
    is_of_scripts = metafunc.definition.path.name.startswith("test_seats_")
    if is_of_scripts and "redis_server" in metafunc.fixturenames:
        metafunc.parametrize("redis_server", redis_programs(), indirect=True, scope="session")


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


@pytest.fixture
async def unmigrated(postgres_server: EmbeddedPostgres) -> AsyncIterator[Settings]:
    """Settings for a database without a schema."""
    base = postgres_server.url.rpartition("/")[0]
    connection = await asyncpg.connect(f"{base}/postgres")
    await connection.execute("CREATE DATABASE quota_unmigrated")
    yield Settings(postgres_dsn=f"{base}/quota_unmigrated")
    await connection.execute("DROP DATABASE quota_unmigrated WITH (FORCE)")
    await connection.close()


@pytest.fixture
async def imported(service: Service) -> Service:
    """A service that has imported exactly the definition of `moved_definitions`."""
    await import_exam(service.stores.maintenance, exam())
    return service


@pytest.fixture
async def beside(imported: Service) -> AsyncIterator[Service]:
    """Another process on the same stores, which reads the exams only when it is told to."""
    async with open_service(imported.settings) as opened:
        await refresh_memory(opened)
        yield opened


@pytest.fixture
async def proxy(settings: Settings) -> AsyncIterator[Proxy]:
    """A proxy before the test's database."""
    async with proxied(settings.postgres_dsn) as opened:
        yield opened


@pytest.fixture
async def hasty(settings: Settings, service: Service, proxy: Proxy) -> AsyncIterator[Service]:
    """A service with short waits for a Postgres behind the proxy."""
    assert service.stores.registry.is_loaded
    changed = dataclasses.replace(
        settings,
        postgres_dsn=proxy.in_front_of(settings.postgres_dsn),
        postgres_pool_max=1,
        postgres_command_timeout_s=2,
    )
    async with open_service(changed) as opened:
        await insisting(lambda: refresh_memory(opened), LedgerUnavailable)
        yield opened


@pytest.fixture
def postgres_of(tmp_path: Path) -> Iterator[MakePostgres]:
    """Make Postgres servers, stopped after the test."""
    made: list[EmbeddedPostgres] = []

    def make(data_dir: Path | None = None, **options: Any) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(data_dir or tmp_path / "postgres", **options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def redis_of(tmp_path: Path) -> Iterator[MakeRedis]:
    """Make Redis servers, stopped after the test."""
    made: list[EmbeddedRedis] = []

    def make(data_dir: Path | None = None, **options: Any) -> EmbeddedRedis:
        made.append(EmbeddedRedis(data_dir or tmp_path / "redis", **options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def parent_of() -> Iterator[MakeParent]:
    """Make other parents of servers, killed after the test if they are still there."""
    made: list[Parent] = []

    def make(data: Path, **order: Any) -> Parent:
        made.append(Parent(data, **order))
        return made[-1]

    yield make
    for parent in made:
        if parent.process.poll() is None:
            parent.kill()
        assert wait_until(lambda: not is_running(parent.redis_pid))  # noqa: B023 - called at once
        assert wait_until(lambda: not is_running(parent.postgres_pid))  # noqa: B023 - the same


@pytest.fixture
def command_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """Commands of `quota-service` with the settings of the test."""
    return CommandLine(settings, monkeypatch, capsys)
