"""The Redis of a layout: one server, a Cluster, or a primary that Sentinels watch.

A fault may put another server in the place of the one before it. Which has an exam now is asked of
the servers themselves, never of the service.
"""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import redis.asyncio

from loadtest.bench.redis_cluster import RedisCluster, redis_cluster
from quota_service.embedded import EmbeddedRedis
from tests.support.mortal_redis import follow
from tests.support.proxy import LOOPBACK, Proxy
from tests.support.redis_sentinel import (
    Watched,
    configured,
    port_of,
    service_client,
    watched_redis,
)
from tests.support.servers import kill, resume
from tests.support.waiting import eventually

APPEND_ONLY_DIR = "appendonlydir"
SYNCED_ALWAYS = "always"
REPLICA_LIMIT_S = 20
_PAUSE_LIMIT_MS = 10_000


class RedisServers(Protocol):
    """What a round needs of the Redis of any layout."""

    @property
    def url(self) -> str:
        """What `QUOTA_REDIS_URL` is."""
        ...

    async def start(self) -> None:
        """Start every server."""
        ...

    async def stop(self) -> None:
        """Stop every server."""
        ...

    async def make_ready(self) -> None:
        """Return when a round can begin: every primary has its replica in step."""
        ...

    async def make_whole(self) -> None:
        """Start whatever does not run and let everything pass, also after a fault that failed."""
        ...

    async def retire_servers(self) -> None:
        """Stop what the round has left behind."""
        ...

    async def empty(self) -> None:
        """Remove everything."""
        ...

    def exams(self, names: Sequence[str]) -> list[str]:
        """Return an id for each exam, which begins with its name; they are spread over all."""
        ...

    def client(self, exam: str) -> "AbstractAsyncContextManager[redis.asyncio.Redis]":
        """Lend a client of the server that has an exam."""
        ...

    async def run(self, exam: str) -> str:
        """Return the server that has an exam, and which run of it that is."""
        ...


class OneRedis:
    """One server behind a proxy (append-only file, synced at every write).

    `server` is the one the service is led to; one before it goes on until the round is over.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._folders: dict[EmbeddedRedis, Path] = {}
        self.server = self._new_server()
        self.proxy = Proxy(0)

    @property
    def url(self) -> str:
        return self.proxy.in_front_of(self.server.url)

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)
        await self.proxy.open()
        self.proxy.lead_to(self.server.url)

    async def stop(self) -> None:
        self.proxy.close()
        for server in self._folders:
            await asyncio.to_thread(server.stop)

    async def make_ready(self) -> None:
        """It has no replica."""

    async def make_whole(self) -> None:
        if self.server.pid is None:
            await asyncio.to_thread(self.server.start)
        self.proxy.let_pass()
        async with self.client() as client:
            await client.config_set("appendfsync", SYNCED_ALWAYS)

    async def retire_servers(self) -> None:
        for server in [*self._folders]:
            if server is not self.server:
                await asyncio.to_thread(server.stop)
                shutil.rmtree(self._folders.pop(server))

    async def empty(self) -> None:
        async with self.client() as client:
            await client.flushall()

    def exams(self, names: Sequence[str]) -> list[str]:
        return list(names)

    @asynccontextmanager
    async def client(
        self, _exam: str = "", *, server: EmbeddedRedis | None = None
    ) -> "AsyncIterator[redis.asyncio.Redis]":
        """Lend a client of the server, or of another one of ours."""
        async with _client(server or self.server) as client:
            yield client

    async def run(self, _exam: str) -> str:
        async with self.client() as client:
            return await _run_of(client)

    async def copy_append_only_files(self) -> Path:
        """Copy the append-only directory as it is now, while the server writes to it."""
        copy = self._folder / f"older-copy-{next(self._numbers)}"
        await asyncio.to_thread(shutil.copytree, self._append_only_dir, copy)
        return copy

    async def restart_from(self, copy: Path) -> None:
        """Kill the server and start it with a copy in the place of its append-only directory."""
        await asyncio.to_thread(kill, self.server)
        shutil.rmtree(self._append_only_dir)
        shutil.move(copy, self._append_only_dir)
        await asyncio.to_thread(self.server.start)

    async def add_replica(self, through: Proxy | None = None) -> EmbeddedRedis:
        """Start another server that follows this one; returns when it is in step."""
        replica = self._new_server()
        await asyncio.to_thread(replica.start)
        await self.follow(replica, through)
        return replica

    async def follow(self, replica: EmbeddedRedis, through: Proxy | None = None) -> None:
        """Let a server follow this one, perhaps through a proxy; returns when it is in step."""
        port = port_of(self.server)
        if through is not None:
            through.target_port, port = port, through.port
        async with self.client(server=replica) as client:
            await client.replicaof(LOOPBACK, port)

            async def is_in_step() -> bool:
                told = await client.info("replication")
                return bool(told["master_link_status"] == "up")

            await eventually(is_in_step, within_s=REPLICA_LIMIT_S)

    async def promote(self, replica: EmbeddedRedis) -> None:
        """Make a server the Redis of the service, and cut every connection to the one before."""
        async with self.client(server=replica) as client:
            await client.replicaof("NO", "ONE")
        self._lead_to(replica)
        self.proxy.reset()

    async def hand_over(self, replica: EmbeddedRedis) -> None:
        """Make a replica the Redis of the service in order: nothing is lost, and nothing is cut.

        Writes wait until the replica has every one of them. The server before follows it, and the
        connections to it stay open.
        """
        async with self.client() as former, self.client(server=replica) as client:
            await former.client_pause(_PAUSE_LIMIT_MS, all=False)

            async def has_all() -> bool:
                told, heard = await former.info("replication"), await client.info("replication")
                return bool(told["master_repl_offset"] == heard["master_repl_offset"])

            await eventually(has_all, within_s=REPLICA_LIMIT_S)
            await client.replicaof("NO", "ONE")
            self._lead_to(replica)
            await former.replicaof(LOOPBACK, port_of(replica))
            await former.client_unpause()

    @property
    def _append_only_dir(self) -> Path:
        return self._folders[self.server] / APPEND_ONLY_DIR

    def _lead_to(self, server: EmbeddedRedis) -> None:
        """Let new connections of the service go to a server; open ones stay where they are."""
        self.server = server
        self.proxy.lead_to(server.url)

    def _new_server(self) -> EmbeddedRedis:
        folder = self._folder / f"redis-{next(self._numbers)}"
        server = EmbeddedRedis(folder)
        self._folders[server] = folder
        return server


class ClusterRedis:
    """A Cluster of three primaries with a replica each, which the service reaches directly."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "cluster"
        self._stack = AsyncExitStack()
        self.cluster: RedisCluster

    @property
    def url(self) -> str:
        return self.cluster.url

    async def start(self) -> None:
        opening = redis_cluster(self._folder, has_replicas=True)
        self.cluster = await self._stack.enter_async_context(opening)

    async def stop(self) -> None:
        await self._stack.aclose()

    async def make_ready(self) -> None:
        await self.cluster.replicated()

    async def make_whole(self) -> None:
        for node in self.cluster.nodes:
            if node.pid is None:
                await asyncio.to_thread(node.start)
            else:
                resume(node)
        await self.cluster.settled()

    async def retire_servers(self) -> None:
        """Every server goes on."""

    async def empty(self) -> None:
        for node in await self.cluster.owners():
            await node.command("FLUSHALL")

    def exams(self, names: Sequence[str]) -> list[str]:
        return [self.cluster.exam_in(place, name) for place, name in enumerate(names)]

    @asynccontextmanager
    async def client(self, exam: str) -> "AsyncIterator[redis.asyncio.Redis]":
        async with _client(await self.cluster.node_of(exam)) as client:
            yield client

    async def run(self, exam: str) -> str:
        async with self.client(exam) as client:
            return await _run_of(client)


class SentinelRedis:
    """A primary and its replica, watched by three Sentinels; the service reaches them directly."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "watched"
        self._stack = AsyncExitStack()
        self.watched: Watched

    @property
    def url(self) -> str:
        return self.watched.url

    async def start(self) -> None:
        self.watched = await self._stack.enter_async_context(watched_redis(self._folder))

    async def stop(self) -> None:
        await self._stack.aclose()

    async def make_ready(self) -> None:
        """Let a former primary follow; Sentinels would do that too, some seconds later."""
        primary = await self.primary()
        await follow(self.other(primary), primary)

    async def make_whole(self) -> None:
        for server in (self.watched.one, self.watched.two):
            if server.pid is None:
                await asyncio.to_thread(server.start)
                await configured(server)
            else:
                await self.watched.cut_off(server, is_cut=False)

    async def retire_servers(self) -> None:
        """Every server goes on."""

    async def empty(self) -> None:
        async with self.client("") as client:
            await client.flushall()

    def exams(self, names: Sequence[str]) -> list[str]:
        return list(names)

    async def primary(self) -> EmbeddedRedis:
        """Return the server that a majority of Sentinels names."""
        primary = await self.watched.primary()
        assert primary is not None, "the Sentinels know no primary"
        return primary

    def other(self, server: EmbeddedRedis) -> EmbeddedRedis:
        """Return the server beside one."""
        return self.watched.two if server is self.watched.one else self.watched.one

    @asynccontextmanager
    async def client(self, _exam: str) -> "AsyncIterator[redis.asyncio.Redis]":
        async with service_client(await self.primary()) as client:
            yield client

    async def run(self, exam: str) -> str:
        async with self.client(exam) as client:
            return await _run_of(client)


@asynccontextmanager
async def _client(server: EmbeddedRedis) -> "AsyncIterator[redis.asyncio.Redis]":
    client = redis.asyncio.Redis.from_url(
        server.url, decode_responses=True, socket_timeout=10, socket_connect_timeout=10
    )
    try:
        yield client
    finally:
        await client.aclose()


async def _run_of(client: "redis.asyncio.Redis") -> str:
    told: dict[str, Any] = {**await client.info("server"), **await client.info("replication")}
    return f"{told['tcp_port']} {told['run_id']} {told['master_replid2']}"
