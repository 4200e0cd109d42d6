"""The testbed of the bench: both stores, the service in processes of its own, and exams to load.

The service runs as in production with all its features on: one API process (`serve`), one
`worker` process that drains the journal and expires holds, a Redis with an append-only file synced
at every write, a Postgres with fsync on. The bench has a service in its own process too, with which
it prepares what the clients need, and a client of its own for Redis; they do nothing while
something is measured.
"""

import base64
import dataclasses
import itertools
import secrets
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import redis.asyncio

from loadtest.bench.echo import Echoed, write_answers
from loadtest.bench.processes import await_listening, serving
from loadtest.bench.redis_client import redis_client
from loadtest.bench.waiting import until
from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.client.webhooks import SECRET_PREFIX
from quota_service.domain.exam import Exam
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.embedded.ports import LOOPBACK, free_loopback_port
from quota_service.ledger.api_keys import Scope
from quota_service.ledger.migrations import migrate
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings, environment_of

SECRET_BYTES = 32
_LOGGING = ("api", "worker")
"""The processes of the service, by the names of their logs."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much the bench is to do."""

    rounds: int
    seconds: int
    connections: Sequence[int]
    live_holds: int
    expiring_holds: int
    watchers: int


@dataclass(frozen=True, slots=True)
class Api:
    """A running API: where it answers, and where the metrics of each of its processes are."""

    url: str
    admin_urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnStores:
    """A service of this process on a Redis and a database that nothing else uses."""

    service: Service
    redis: "redis.asyncio.Redis"


@dataclass(frozen=True, slots=True)
class Testbed:
    """What every section of the bench works with; `redis` is the bench's own client."""

    plan: Plan
    folder: Path
    postgres_url: str
    settings: Settings
    service: Service
    redis: "redis.asyncio.Redis"
    http: aiohttp.ClientSession
    frontend_key: str
    payment_secret: bytes
    api: Api
    worker: Process
    numbers: "itertools.count[int]" = dataclasses.field(default_factory=itertools.count)

    def new_name(self, kind: str) -> str:
        """Return a name that nothing else of this run has."""
        return f"{kind}-{next(self.numbers)}"

    async def add_exam(self, exam: Exam) -> None:
        """Import an exam, or what has changed of it, and wait until the API knows it so."""
        await import_exam(self.service.stores.maintenance, exam)

        async def is_known() -> bool:
            address = f"{self.api.url}/v1/exams/{exam.id}"
            # Its seats are known shortly after its definition.
            async with self.http.get(f"{address}/availability") as answer:
                if answer.status != HTTPStatus.OK:
                    return False
            async with self.http.get(address) as answer:
                return bool((await answer.json())["hold"]["ttl_s"] == exam.hold.ttl_s)

        await until(is_known, f"exam {exam.id} in the API")

    def errors_logged(self) -> list[str]:
        """Return the errors the service has logged, also those its own audit has found."""
        logs = (self.folder / f"{name}.log" for name in _LOGGING)
        lines = (line for log in logs for line in log.read_text("utf-8").splitlines())
        return [line for line in lines if '"level":"error"' in line]

    @contextmanager
    def worker_stopped(self) -> Iterator[None]:
        """Hold the worker process still, as if it were away."""
        self.worker.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.worker.send_signal(signal.SIGCONT)

    @asynccontextmanager
    async def baseline(
        self, module: str, answers: Sequence[Echoed], *arguments: str
    ) -> AsyncIterator[str]:
        """Run a baseline with these answers; lends its base URL."""
        file = self.folder / f"{self.new_name(module)}.json"
        write_answers(file, list(answers))
        port = free_loopback_port()
        command = (f"loadtest.bench.{module}", "--port", str(port), "--answers", str(file))
        async with serving(*command, *arguments, port=port, log=file.with_suffix(".log")):
            yield f"http://{LOOPBACK}:{port}"

    async def new_database(self, name: str) -> str:
        """Make an empty database in the Postgres of the testbed and return its DSN."""
        connection = await asyncpg.connect(self.postgres_url)
        try:
            await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()
        return urlsplit(self.postgres_url)._replace(path=f"/{name}").geturl()

    @asynccontextmanager
    async def own_stores(self, exam: Exam) -> AsyncIterator[OwnStores]:
        """Lend a service of this process on a Redis and a database of its own, with one exam."""
        name = self.new_name("stores")
        dsn = await self.new_database(name)
        with EmbeddedRedis(self.folder / name) as server:
            settings = dataclasses.replace(
                self.settings, redis_url=server.url, postgres_dsn=dsn, journal_backlog_max=10**9
            )
            async with open_service(settings) as service, redis_client(server.url) as client:
                await migrate(service.stores.ledger)
                await refresh_memory(service)
                await import_exam(service.stores.maintenance, exam)
                yield OwnStores(service, client)


@asynccontextmanager
async def serving_api(
    settings: Settings, folder: Path, name: str, processes: int = 1
) -> AsyncIterator[Api]:
    """Run `quota-service serve` with so many processes."""
    port, admin_port = free_loopback_port(), free_loopback_port(processes)
    own = dataclasses.replace(settings, port=port, admin_port=admin_port)
    command = ("quota_service.cli", "serve", "--workers", str(processes))
    log = folder / f"{name}.log"
    environment = environment_of(own)
    async with serving(*command, port=port, log=log, environment=environment) as process:
        for n in range(processes):
            await await_listening(process, admin_port + n, log)
        admin_urls = [f"http://{LOOPBACK}:{admin_port + n}" for n in range(processes)]
        yield Api(f"http://{LOOPBACK}:{port}", tuple(admin_urls))


@asynccontextmanager
async def open_testbed(plan: Plan, folder: Path) -> AsyncIterator[Testbed]:
    """Start everything, and stop it in the opposite order."""
    secret = secrets.token_bytes(SECRET_BYTES)
    with (
        EmbeddedPostgres(folder / "postgres") as postgres,
        EmbeddedRedis(folder / "redis") as server,
    ):
        settings = stage_settings(server.url, postgres.url, secret)
        async with stage_on(settings, plan, folder, secret) as testbed:
            yield testbed


def stage_settings(redis_url: str, postgres_dsn: str, secret: bytes) -> Settings:
    """Return the settings of the service on a testbed; `secret` signs payments."""
    return Settings(
        redis_url=redis_url,
        postgres_dsn=postgres_dsn,
        payment_secrets=SECRET_PREFIX + base64.b64encode(secret).decode(),
        log_level="warning",
        webhook_private_addresses=True,  # receivers are on loopback
    )


@asynccontextmanager
async def stage_on(
    settings: Settings, plan: Plan, folder: Path, secret: bytes, *, redis_url: str = ""
) -> AsyncIterator[Testbed]:
    """Start the processes of the service on stores that run already.

    `redis_url` is for the bench's own client, where the settings name a Cluster.
    """
    async with (
        open_service(settings) as service,
        redis_client(redis_url or settings.redis_url) as client,
        aiohttp.ClientSession() as http,
    ):
        await service.stores.runners.check()  # reads the map of a Cluster
        await migrate(service.stores.ledger)
        await refresh_memory(service)
        key = await service.key_ledger.create("bench", frozenset({Scope.FRONTEND}))
        admin_port, (api_name, worker_name) = free_loopback_port(), _LOGGING
        worker = serving(
            *("quota_service.cli", "worker"),
            port=admin_port,
            log=folder / f"{worker_name}.log",
            environment=environment_of(dataclasses.replace(settings, admin_port=admin_port)),
        )
        async with serving_api(settings, folder, api_name) as api, worker as worker_process:
            yield Testbed(
                plan=plan,
                folder=folder,
                postgres_url=settings.postgres_dsn,
                settings=settings,
                service=service,
                redis=client,
                http=http,
                frontend_key=key,
                payment_secret=secret,
                api=api,
                worker=worker_process,
            )
