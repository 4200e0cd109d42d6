"""The whole service as production runs it, in processes of its own, with its stores behind proxies.

One Redis (append-only file, synced at every write), one Postgres, two `quota-service serve` and two
`quota-service worker`, each with the smallest pool of connections there may be. The service reaches
the stores through the harness' proxies; the harness reaches them directly. Intervals are shorter
than production's where a round would wait for them.

A fault may put another server in the place of Redis. The one before it goes on until the round is
over: `redis` is the one the service is led to.
"""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import redis.asyncio

from quota_service.app.opening import open_service
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.ledger.api_keys import Scope
from quota_service.ledger.migrations import migrate
from quota_service.settings import Settings
from tests.faults.breaks import BREAKS, BreakError
from tests.faults.processes import ServiceProcess
from tests.support.client import PAYMENT_SECRETS
from tests.support.proxy import LOOPBACK, Proxy
from tests.support.servers import kill
from tests.support.waiting import eventually

APPEND_ONLY_DIR = "appendonlydir"
KEPT_TABLES = {"api_keys", "migrations", "schema_migrations"}
TRUNCATE_LIMIT_S = 30
REPLICA_LIMIT_S = 20
_PAUSE_LIMIT_MS = 10_000
OVERSELL_CHECK = "quotas_never_oversold"
REQUEST_TIMEOUT_S = 3
SYNCED_ALWAYS = "always"
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


class Cluster:
    """The servers, the proxies before them and the processes of the service.

    `breaks` are guards to take out: those of `breaks.BREAKS`, and `check`, the constraint that no
    quota is oversold.
    """

    def __init__(self, folder: Path, results: Path, breaks: frozenset[str]) -> None:
        self._folder = folder
        self._results = results
        self._breaks = breaks
        self._numbers = itertools.count()
        self._redis_dirs: dict[EmbeddedRedis, Path] = {}
        self.redis = self._new_redis()
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.redis_proxy = Proxy(0)
        self.postgres_proxy = Proxy(0)
        self._postgres_ports: dict[ServiceProcess, int] = {}
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
        self.redis_proxy.lead_to(self.redis.url)
        self.postgres_proxy.lead_to(self.postgres.url)
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
            "QUOTA_REDIS_URL": self.redis_proxy.in_front_of(self.redis.url),
            "QUOTA_PAYMENT_SECRETS": PAYMENT_SECRETS,
            "FAULTS_BREAK": ",".join(sorted(self._breaks & BREAKS.keys())),
        }
        for kind, processes in (("serve", self.apis), ("worker", self.workers)):
            for number in range(2):
                port = await self.postgres_proxy.add_port()
                dsn = {
                    "QUOTA_POSTGRES_DSN": self.postgres_proxy.in_front_of(self.postgres.url, port)
                }
                name = f"{kind}-{number}"
                told = {**environment, **dsn, "FAULTS_FOLDER": str(self._folder / name)}
                process = ServiceProcess(kind, name, told, self._results)
                processes.append(process)
                self._postgres_ports[process] = port
        await asyncio.gather(*(process.start() for process in self.processes))

    async def stop(self) -> None:
        for process in self.processes:
            process.resume()
            await process.kill()
        self.redis_proxy.close()
        self.postgres_proxy.close()
        for server in (*self._redis_dirs, self.postgres):
            await asyncio.to_thread(server.stop)

    async def make_whole(self) -> None:
        """Start whatever does not run and let everything pass, also after a fault that failed."""
        for server in (self.redis, self.postgres):
            if server.pid is None:
                await asyncio.to_thread(server.start)
        for proxy in (self.redis_proxy, self.postgres_proxy):
            proxy.delay_s = 0.0
            proxy.request_delays.clear()
            proxy.drops_answers = proxy.freezes_new = False
        async with self.seats() as seats:
            await seats.config_set("appendfsync", SYNCED_ALWAYS)
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

    @asynccontextmanager
    async def seats(
        self, server: EmbeddedRedis | None = None
    ) -> "AsyncIterator[redis.asyncio.Redis]":
        """Lend a client of Redis, or of another server of ours."""
        client = redis.asyncio.Redis.from_url(
            (server or self.redis).url,
            decode_responses=True,
            socket_timeout=10,
            socket_connect_timeout=10,
        )
        try:
            yield client
        finally:
            await client.aclose()

    async def copy_append_only_files(self) -> Path:
        """Copy the append-only directory as it is now, while the server writes to it."""
        copy = self._folder / f"older-copy-{next(self._numbers)}"
        await asyncio.to_thread(shutil.copytree, self._append_only_dir, copy)
        return copy

    async def restart_redis_from(self, copy: Path) -> None:
        """Kill the server and start it with a copy in the place of its append-only directory."""
        await asyncio.to_thread(kill, self.redis)
        shutil.rmtree(self._append_only_dir)
        shutil.move(copy, self._append_only_dir)
        await asyncio.to_thread(self.redis.start)

    async def add_replica(self, through: Proxy | None = None) -> EmbeddedRedis:
        """Start another server that follows Redis; returns when it is in step."""
        replica = self._new_redis()
        await asyncio.to_thread(replica.start)
        await self.follow(replica, through)
        return replica

    async def follow(self, replica: EmbeddedRedis, through: Proxy | None = None) -> None:
        """Let a server follow Redis, perhaps through a proxy; returns when it is in step."""
        port = port_of(self.redis.url)
        if through is not None:
            through.target_port, port = port, through.port
        async with self.seats(replica) as seats:
            await seats.replicaof(LOOPBACK, port)

            async def is_in_step() -> bool:
                told = await seats.info("replication")
                return bool(told["master_link_status"] == "up")

            await eventually(is_in_step, within_s=REPLICA_LIMIT_S)

    async def promote(self, replica: EmbeddedRedis) -> None:
        """Make a server the Redis of the service, and cut every connection to the one before."""
        async with self.seats(replica) as seats:
            await seats.replicaof("NO", "ONE")
        self._lead_to(replica)
        self.redis_proxy.reset()

    async def hand_over(self, replica: EmbeddedRedis) -> None:
        """Make a replica the Redis of the service in order: nothing is lost, and nothing is cut.

        Writes wait until the replica has every one of them. The server before follows it, and the
        connections to it stay open.
        """
        async with self.seats() as former, self.seats(replica) as seats:
            await former.client_pause(_PAUSE_LIMIT_MS, all=False)

            async def has_all() -> bool:
                told, heard = await former.info("replication"), await seats.info("replication")
                return bool(told["master_repl_offset"] == heard["master_repl_offset"])

            await eventually(has_all, within_s=REPLICA_LIMIT_S)
            await seats.replicaof("NO", "ONE")
            self._lead_to(replica)
            await former.replicaof(LOOPBACK, port_of(replica.url))
            await former.client_unpause()

    async def retire_servers(self) -> None:
        """Stop every Redis that is not the service's any more."""
        for server in [*self._redis_dirs]:
            if server is not self.redis:
                await asyncio.to_thread(server.stop)
                shutil.rmtree(self._redis_dirs.pop(server))

    def slow_postgres(self, process: ServiceProcess, delay_s: float, asking: bytes = b"") -> None:
        """Hold back what one process asks Postgres, or only what contains a word."""
        self.postgres_proxy.request_delays[self._postgres_ports[process]] = (delay_s, asking)

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    @property
    def _append_only_dir(self) -> Path:
        return self._redis_dirs[self.redis] / APPEND_ONLY_DIR

    def _lead_to(self, server: EmbeddedRedis) -> None:
        """Let new connections of the service go to a server; open ones stay where they are."""
        self.redis = server
        self.redis_proxy.lead_to(server.url)

    def _new_redis(self) -> EmbeddedRedis:
        folder = self._folder / f"redis-{next(self._numbers)}"
        server = EmbeddedRedis(folder)
        self._redis_dirs[server] = folder
        return server


def port_of(url: str) -> int:
    """The port in a URL of a server of ours."""
    port = urlsplit(url).port
    if port is None:
        raise ValueError(f"{url} has no port")
    return port
