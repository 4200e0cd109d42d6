"""The whole service as production runs it, in processes of its own, with its stores.

Two `quota-service serve` and two `quota-service worker`, each with the smallest pool of connections
there may be. The harness reaches the stores directly. Intervals are shorter than production's where
a round would wait for them.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg

from quota_service.app.opening import open_service
from quota_service.ledger.api_keys import Scope
from quota_service.ledger.migrations import migrate
from quota_service.settings import Settings
from tests.faults.breaks import BREAKS, BreakError
from tests.faults.postgres_servers import OnePostgres, PairOfPostgres, PostgresServers
from tests.faults.processes import ServiceProcess
from tests.faults.redis_servers import ClusterRedis, OneRedis, RedisServers, SentinelRedis
from tests.support.client import PAYMENT_SECRETS
from tests.support.waiting import eventually

KEPT_TABLES = {"api_keys", "migrations", "schema_migrations"}
TRUNCATE_LIMIT_S = 30
OVERSELL_CHECK = "quotas_never_oversold"
REQUEST_TIMEOUT_S = 3
SETTINGS = {
    "QUOTA_POSTGRES_POOL_MAX": "4",
    "QUOTA_REGISTRY_REFRESH_S": "0.2",
    "QUOTA_RECOVERY_AGE_S": "1",
    "QUOTA_PAYMENT_RETRY_GRACE_S": "3",
    "QUOTA_REQUEST_TIMEOUT_S": str(REQUEST_TIMEOUT_S),
    "QUOTA_REDIS_COMMAND_TIMEOUT_S": "1",
    "QUOTA_POSTGRES_COMMAND_TIMEOUT_S": "2",
    "QUOTA_SHUTDOWN_DRAIN_S": "4",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Which stores a deployment has, each given a folder, and what its settings are beside."""

    redis: Callable[[Path], RedisServers] = OneRedis
    postgres: Callable[[Path], PostgresServers] = OnePostgres
    settings: Mapping[str, str] = field(default_factory=dict)


LAYOUTS: Mapping[str, Layout] = {
    "one": Layout(),
    "cluster": Layout(redis=ClusterRedis),
    "waiting cluster": Layout(redis=ClusterRedis, settings={"QUOTA_REDIS_WAIT_REPLICAS": "1"}),
    "sentinels": Layout(redis=SentinelRedis),
    "pair": Layout(postgres=PairOfPostgres),
}
"""The layouts by name."""


class Deployment:
    """The stores of a layout and the processes of the service.

    `breaks` are guards to take out: those of `breaks.BREAKS`, and `check`, the constraint that no
    quota is oversold.
    """

    def __init__(self, layout: str, results: Path, breaks: frozenset[str]) -> None:
        self.layout = layout
        self._temporary = tempfile.TemporaryDirectory(prefix="quota-faults-")
        self._folder = folder = Path(self._temporary.name)
        self._results = results
        self._breaks = breaks
        self.redis = LAYOUTS[layout].redis(folder)
        self.postgres = LAYOUTS[layout].postgres(folder)
        self.apis: list[ServiceProcess] = []
        self.workers: list[ServiceProcess] = []
        self.frontend_key = ""
        self.ops_key = ""

    @property
    def processes(self) -> list[ServiceProcess]:
        return [*self.apis, *self.workers]

    @property
    def is_spent(self) -> bool:
        """Whether the next round needs other stores."""
        return self.postgres.is_spent

    async def start(self) -> None:
        await asyncio.gather(self.redis.start(), self.postgres.start())
        settings = Settings(redis_url=self.redis.url, postgres_dsn=self.postgres.url)
        async with open_service(settings) as service:
            await migrate(service.stores.ledger)
            create = service.key_ledger.create
            self.frontend_key = await create("frontend", frozenset({Scope.FRONTEND, Scope.REFUNDS}))
            self.ops_key = await create("ops", frozenset({Scope.OPS}))
        if "check" in self._breaks:
            await self._let_oversell()
        environment = {
            **SETTINGS,
            **LAYOUTS[self.layout].settings,
            "QUOTA_REDIS_URL": self.redis.url,
            "QUOTA_PAYMENT_SECRETS": PAYMENT_SECRETS,
            "FAULTS_BREAK": ",".join(sorted(self._breaks & BREAKS.keys())),
        }
        for kind, processes in (("serve", self.apis), ("worker", self.workers)):
            for number in range(2):
                name = f"{kind}-{number}"
                told = {
                    **environment,
                    "QUOTA_POSTGRES_DSN": await self.postgres.dsn(name),
                    "FAULTS_FOLDER": str(self._folder / name),
                }
                processes.append(ServiceProcess(kind, name, told, self._results))
        await asyncio.gather(*(process.start() for process in self.processes))

    async def stop(self) -> None:
        for process in self.processes:
            process.resume()
            await process.kill()
        await self.redis.stop()
        await self.postgres.stop()
        self._temporary.cleanup()

    async def make_whole(self) -> None:
        """Start whatever does not run and let everything pass, also after a fault that failed."""
        await self.redis.make_whole()
        await self.postgres.make_whole()
        for process in self.processes:
            process.resume()
            if not process.is_running:
                await process.start()

    async def forget_exams(self) -> None:
        """Empty both stores, so that the next round begins like the first."""
        async with self.ledger() as ledger:
            tables = await ledger.fetch(
                "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
            )
            names = sorted({table["name"] for table in tables} - KEPT_TABLES)

            async def is_empty() -> bool:
                # The workers lock the same tables in another order: one of us gives way.
                try:
                    await ledger.execute(f"TRUNCATE {', '.join(names)} CASCADE")
                except (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError):
                    return False
                return True

            await ledger.execute("SET lock_timeout = '300ms'")
            await eventually(is_empty, within_s=TRUNCATE_LIMIT_S)
        await self.redis.empty()

    async def _let_oversell(self) -> None:
        """Take away what keeps a quota from being oversold: constraint, and look before it."""
        async with self.ledger() as ledger:
            await ledger.execute(f"ALTER TABLE quotas DROP CONSTRAINT {OVERSELL_CHECK}")
            known = await ledger.fetchval("SELECT pg_get_functiondef('settle_payments'::regproc)")
            blind = known.replace("t.capacity - t.confirmed AS room", "1000000 AS room")
            if blind == known:
                raise BreakError("settle_payments does not look for room as it did")
            await ledger.execute(blind)

    async def execute(self, statement: str) -> None:
        async with self.ledger() as ledger:
            await ledger.execute(statement)

    @asynccontextmanager
    async def ledger(self) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        connection = await asyncpg.connect(self.postgres.url, timeout=10, command_timeout=30)
        try:
            yield connection
        finally:
            await connection.close()

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
