"""What happens to a Redis: a crash, a restart from older data, another server in its place."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import redis.asyncio

from quota_service.embedded import EmbeddedRedis
from tests.support.servers import kill, paused
from tests.support.waiting import eventually

LOG_DIR = "appendonlydir"


@asynccontextmanager
async def client_of(server: EmbeddedRedis) -> AsyncIterator["redis.asyncio.Redis"]:
    """Lend a client of a server, apart from the service's."""
    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


def restart(server: EmbeddedRedis) -> None:
    """Let a server crash and come back with what its log has."""
    kill(server)
    server.start()


def copy_log(server: EmbeddedRedis, data_dir: Path, copy: Path) -> None:
    """Copy the log of a server; every write that was answered is in it, synced."""
    with paused(server):
        shutil.copytree(data_dir / LOG_DIR, copy)


def restart_from(server: EmbeddedRedis, data_dir: Path, copy: Path) -> None:
    """Let a server crash and come back with an older copy of its log."""
    kill(server)
    shutil.rmtree(data_dir / LOG_DIR)
    shutil.copytree(copy, data_dir / LOG_DIR)
    server.start()


async def follow(replica: EmbeddedRedis, master: EmbeddedRedis) -> None:
    """Let a server be the replica of another, and return when it has everything."""
    async with client_of(replica) as client, client_of(master) as leader:
        host, _, port = master.url.removeprefix("redis://").removesuffix("/0").partition(":")
        await client.execute_command("REPLICAOF", host, port)

        async def is_level() -> bool:
            ours, theirs = await client.info("replication"), await leader.info("replication")
            if ours["master_link_status"] != "up":
                return False
            return bool(ours["slave_repl_offset"] == theirs["master_repl_offset"])

        await eventually(is_level)


async def cut_off(replica: EmbeddedRedis) -> None:
    """Let a replica hear no more of its master, while it stays a replica."""
    async with client_of(replica) as client:
        await client.execute_command("REPLICAOF", "127.0.0.1", "1")


async def promote(replica: EmbeddedRedis, fallen: EmbeddedRedis) -> None:
    """Let a replica be master in the place of a server that is dead: on its port."""
    _, _, port = fallen.url.removesuffix("/0").rpartition(":")
    async with client_of(replica) as client:
        await client.execute_command("REPLICAOF", "NO", "ONE")
        await client.config_set("port", port)
