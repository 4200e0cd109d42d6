"""The whole service as production runs it, in processes of its own, with its stores behind proxies.

One Redis (append-only file, synced at every write), one Postgres, two `quota-service serve` and two
`quota-service worker`. The service reaches the stores through the harness' proxies; the harness
reaches them directly. Intervals are shorter than production's where a round would wait for them.
"""

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import redis.asyncio

from quota_service.app import open_service
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.ledger.api_keys import Scope
from quota_service.ledger.migrations import migrate
from quota_service.settings import Settings
from tests.faults.processes import ServiceProcess
from tests.faults.proxy import LOOPBACK, FaultyProxy
from tests.support.client import PAYMENT_SECRET
from tests.support.waiting import eventually

APPEND_ONLY_DIR = "appendonlydir"
KEPT_TABLES = {"api_keys", "migrations", "schema_migrations"}
TRUNCATE_LIMIT_S = 30
OVERSELL_CHECK = "quotas_never_oversold"
REQUEST_TIMEOUT_S = 3
INTERVALS = {
    "QUOTA_REGISTRY_REFRESH_S": "0.2",
    "QUOTA_RECOVERY_AGE_S": "1",
    "QUOTA_RECOVERY_INTERVAL_S": "0.3",
    "QUOTA_PAYMENT_RETRY_GRACE_S": "3",
    "QUOTA_REQUEST_TIMEOUT_S": str(REQUEST_TIMEOUT_S),
    "QUOTA_REDIS_COMMAND_TIMEOUT_S": "1",
    "QUOTA_POSTGRES_COMMAND_TIMEOUT_S": "2",
    "QUOTA_SHUTDOWN_DRAIN_S": "4",
}


class Cluster:
    """The servers, the proxies before them and the processes of the service.

    `breaks` are guards to take out: `fence` and `release` (see `entry`), and `check`, the
    constraint that no quota is oversold.
    """

    def __init__(self, folder: Path, results: Path, breaks: frozenset[str]) -> None:
        self._folder = folder
        self._results = results
        self._breaks = breaks
        self._servers = 0
        self.redis = self._new_redis()
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.redis_proxy = FaultyProxy(0)
        self.postgres_proxy = FaultyProxy(0)
        self.apis: list[ServiceProcess] = []
        self.workers: list[ServiceProcess] = []
        self.frontend_key = ""
        self.ops_key = ""

    @property
    def processes(self) -> list[ServiceProcess]:
        return [*self.apis, *self.workers]

    async def start(self) -> None:
        await asyncio.gather(
            asyncio.to_thread(self.redis.start), asyncio.to_thread(self.postgres.start)
        )
        await self.redis_proxy.open()
        await self.postgres_proxy.open()
        self.redis_proxy.target_port = port_of(self.redis.url)
        self.postgres_proxy.target_port = port_of(self.postgres.url)
        settings = Settings(redis_url=self.redis.url, postgres_dsn=self.postgres.url)
        async with open_service(settings) as service:
            await migrate(service.stores.ledger)
            create = service.key_ledger.create
            self.frontend_key = await create("frontend", frozenset({Scope.FRONTEND}))
            self.ops_key = await create("ops", frozenset({Scope.OPS}))
        if "check" in self._breaks:
            await self.execute(f"ALTER TABLE quotas DROP CONSTRAINT {OVERSELL_CHECK}")
        environment = {
            **INTERVALS,
            "QUOTA_REDIS_URL": self.redis_proxy.url(self.redis.url),
            "QUOTA_POSTGRES_DSN": self.postgres_proxy.url(self.postgres.url),
            "QUOTA_PAYMENT_SECRETS": "whsec_" + base64.b64encode(PAYMENT_SECRET).decode(),
            "FAULTS_BREAK": ",".join(sorted(self._breaks - {"check"})),
        }
        for kind, processes in (("serve", self.apis), ("worker", self.workers)):
            for number in range(2):
                process = ServiceProcess(kind, f"{kind}-{number}", environment, self._results)
                processes.append(process)
        await asyncio.gather(*(process.start() for process in self.processes))

    async def stop(self) -> None:
        for process in self.processes:
            process.resume()
            await process.kill()
        self.redis_proxy.close()
        self.postgres_proxy.close()
        for server in (self.redis, self.postgres):
            await asyncio.to_thread(server.stop)
        await asyncio.to_thread(self.postgres.remove_data)

    async def make_whole(self) -> None:
        """Start whatever does not run and let everything pass, also after a fault that failed."""
        for server in (self.redis, self.postgres):
            if server.pid is None:
                await asyncio.to_thread(server.start)
        for proxy in (self.redis_proxy, self.postgres_proxy):
            proxy.delay_s = 0.0
            proxy.drops_answers = proxy.freezes_new = False
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
        async with self.seats() as seats:
            await seats.flushall()

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

    @asynccontextmanager
    async def seats(self) -> "AsyncIterator[redis.asyncio.Redis]":
        client = redis.asyncio.Redis.from_url(
            self.redis.url, decode_responses=True, socket_timeout=10, socket_connect_timeout=10
        )
        try:
            yield client
        finally:
            await client.aclose()

    async def copy_append_only_files(self) -> Path:
        """Copy the append-only directory as it is now, while the server writes to it."""
        copy = self._folder / "older-copy"
        shutil.rmtree(copy, ignore_errors=True)
        await asyncio.to_thread(shutil.copytree, self._redis_dir / APPEND_ONLY_DIR, copy)
        return copy

    async def restart_redis_from(self, copy: Path) -> None:
        """Put a copy of the append-only directory in the place of a killed server's, and start."""
        place = self._redis_dir / APPEND_ONLY_DIR
        shutil.rmtree(place)
        shutil.copytree(copy, place)
        await asyncio.to_thread(self.redis.start)

    async def add_replica(self, through: FaultyProxy) -> EmbeddedRedis:
        """Start a replica of Redis that hears it through a proxy; returns when it is in step."""
        through.target_port = port_of(self.redis.url)
        self._servers += 1
        replica = self._new_redis("--replicaof", LOOPBACK, str(through.port))
        await asyncio.to_thread(replica.start)

        async def is_in_step() -> bool:
            client = redis.asyncio.Redis.from_url(replica.url)
            try:
                found = await client.info("replication")
            finally:
                await client.aclose()
            return bool(found["master_link_status"] == "up")

        await eventually(is_in_step, within_s=20)
        return replica

    async def promote(self, replica: EmbeddedRedis) -> None:
        """Make a replica the Redis of the service; the one before it is dead."""
        self.redis = replica
        async with self.seats() as seats:
            await seats.replicaof("NO", "ONE")
        self.redis_proxy.target_port = port_of(replica.url)
        self.redis_proxy.reset()

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    @property
    def _redis_dir(self) -> Path:
        return self._folder / f"redis-{self._servers}"

    def _new_redis(self, *arguments: str) -> EmbeddedRedis:
        fast = ("--repl-diskless-sync-delay", "0")
        return EmbeddedRedis(self._redis_dir, extra_args=(*fast, *arguments))


def port_of(url: str) -> int:
    """The port in a URL of a server of ours."""
    port = urlsplit(url).port
    if port is None:
        raise ValueError(f"{url} has no port")
    return port
