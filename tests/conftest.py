"""Real servers for every test that needs them: one Redis and one Postgres for the whole run.

Each test gets an empty Redis and an empty, migrated database. Where pytest-xdist shares the run
out, each of its workers has servers of its own.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache

import aiohttp
import hypothesis
import pytest
import redis.asyncio
import redis.utils

from quota_service.app.opening import Service, open_service
from quota_service.app.running import run_service
from quota_service.app.serving import Addresses
from quota_service.app.upkeep import refresh_memory
from quota_service.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedRedis
from quota_service.ledger.api_keys import Scope
from quota_service.ledger.migrations import migrate
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings
from tests.support.client import PAYMENT_SECRETS, TOKEN_SECRETS, ApiClient
from tests.support.databases import Databases, execute, hash_password_once, with_database
from tests.support.exams import make_exam
from tests.support.patience import PATIENT
from tests.support.programs import PACKAGES, find_program
from tests.support.redis_clients import close_clients
from tests.support.servers import stores_on_path

pytest_plugins = ["tests.support.xdist_reports"]

_TEMPLATE = "quota_template"

_LONGEST = (
    ("test_harness.py", "test_harness_goes_red.py"),
    ("test_first_hour.py",),
    ("test_promises_list.py", "test_promises.py"),
    ("test_bookings_csv_stream.py",),
)
"""Files whose tests take longest, the longest first; those of a group are not run side by side.

Each harness has six servers and processes at work under load.
"""


_STORES = pytest.StashKey[str]()


# The examples are the same in every run, and none is a failure for the time that it took.
hypothesis.settings.register_profile(
    "tests",
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the Redis and the Postgres that the tests and their processes start."""
    chosen = ExitStack()
    config.add_cleanup(chosen.close)
    try:
        config.stash[_STORES] = chosen.enter_context(stores_on_path())
    except EmbeddedError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> str:
    """Say at the top of a run what it runs on."""
    chromium = find_program("chromium") or (
        f"none, so no page is opened; on Debian: apt-get install {PACKAGES['chromium']}"
    )
    return f"stores: {config.stash[_STORES]}\nbrowser: {chromium}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of pages where there is no browser, and share the rest out.

    The share of each process begins with one of the longest files: no process then waits at the
    end for another. pytest-xdist gives each as many tests in a row, and takes those of a process
    that is late from the end of its row.
    """
    if find_program("chromium") is None:
        config.hook.pytest_deselected(items=[each for each in items if _opens_pages(each)])
        items[:] = [each for each in items if not _opens_pages(each)]
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    longest: dict[str, list[pytest.Item]] = {name: [] for names in _LONGEST for name in names}
    others: list[pytest.Item] = []
    for item in items:
        longest.get(item.path.name, others).append(item)
    dealt: list[pytest.Item] = []
    for process in range(processes):
        end = len(dealt) + (len(items) - len(dealt)) // (processes - process)
        names = [name for group in _LONGEST[process::processes] for name in group]
        dealt += [item for name in names for item in longest[name]]
        count = max(end - len(dealt), 0)
        dealt += others[:count]
        del others[:count]
    items[:] = dealt + others


def _opens_pages(item: pytest.Item) -> bool:
    return item.get_closest_marker("browser") is not None


@pytest.fixture(scope="session")
def redis_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedRedis]:
    """The server with the seats: the first on PATH, or the program that is the parameter."""
    binary = getattr(request, "param", None)
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), binary=binary) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def clients_look_up_their_version_once() -> Iterator[None]:
    """Every client of Redis looks for the files of its own package, to tell the server its version.

    That costs it more than the connection; a run makes thousands.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis.utils, "get_lib_version", cache(redis.utils.get_lib_version))
        yield


@pytest.fixture(scope="session")
async def migrated_template(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database that is migrated and otherwise empty."""
    await hash_password_once(postgres_server.url)
    await execute(postgres_server.url, f"CREATE DATABASE {_TEMPLATE}")
    settings = Settings(postgres_dsn=with_database(postgres_server.url, _TEMPLATE))
    async with open_service(settings) as service:
        await migrate(service.stores.ledger)
    return _TEMPLATE


@pytest.fixture(scope="session")
async def databases() -> AsyncIterator[Databases]:
    """The databases of the run; `settings` lends them to the tests."""
    lending = Databases()
    yield lending
    await lending.aclose()


@pytest.fixture
async def settings(
    redis_server: EmbeddedRedis,
    postgres_server: EmbeddedPostgres,
    migrated_template: str,
    databases: Databases,
) -> AsyncIterator[Settings]:
    """Settings for an empty Redis and an empty database, on free ports, with long limits."""
    client = redis.asyncio.Redis.from_url(redis_server.url)
    await client.flushall()
    await client.aclose()
    async with databases.lend(postgres_server.url, migrated_template) as dsn:
        yield Settings(
            redis_url=redis_server.url,
            postgres_dsn=dsn,
            port=0,
            admin_port=0,
            payment_secrets=PAYMENT_SECRETS,
            candidate_token_secrets=TOKEN_SECRETS,
            availability_refresh_ms=10,
            registry_refresh_s=0.1,
            recovery_age_s=0,
            **PATIENT,
        )
        await close_clients()


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    """An opened service with the test exam imported; no workers, they are run by the test."""
    async with open_service(settings) as opened:
        await refresh_memory(opened)
        await import_exam(opened.stores.maintenance, make_exam())
        yield opened


@dataclass(frozen=True, slots=True)
class Running:
    """A service that listens, and a client of it."""

    service: Service
    addresses: Addresses
    client: ApiClient


@pytest.fixture
async def running(service: Service) -> AsyncIterator[Running]:
    """The service listening on free ports, without workers."""
    frontend = await service.key_ledger.create(
        "frontend", frozenset({Scope.FRONTEND, Scope.REFUNDS})
    )
    ops = await service.key_ledger.create("ops", frozenset({Scope.OPS}))
    listening: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()

    async def ready(_: Service, addresses: Addresses) -> None:
        listening.set_result(addresses)

    stop = asyncio.Event()
    task = asyncio.create_task(run_service(service, stop, api=True, workers=False, ready=ready))
    await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    addresses = listening.result()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Running(service, addresses, ApiClient(session, addresses.api, frontend, ops))
    stop.set()
    await task


@pytest.fixture
def api(running: Running) -> ApiClient:
    """A client of a running service."""
    return running.client
