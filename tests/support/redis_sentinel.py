"""A primary, its replica, and three Sentinels that promote it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from quota_service.embedded import EmbeddedRedis
from quota_service.embedded.ports import free_loopback_port
from quota_service.embedded.programs import find_redis_binary
from tests.support.mortal_redis import client_of, follow
from tests.support.waiting import eventually

NAME = "seats"
_SERVICE, _WATCHER, _PASSWORD = "service", "watcher", "word"
_CONFIGURATION = """\
port {port}
bind 127.0.0.1
dir {folder}
logfile {folder}/log
protected-mode no
sentinel monitor {name} 127.0.0.1 {primary} 2
sentinel auth-user {name} {user}
sentinel auth-pass {name} {password}
sentinel down-after-milliseconds {name} {down_after_ms}
sentinel failover-timeout {name} 3000
"""


@dataclass
class Sentinel:
    """One process."""

    port: int
    process: "subprocess.Popen[bytes]"

    async def command(self, *words: str | int) -> Any:
        """Run one command here."""
        async with redis.asyncio.Redis(port=self.port, decode_responses=True) as client:
            return await client.execute_command(*words)  # type: ignore[no-untyped-call]

    async def primary(self) -> int:
        """Return the port of the primary, as this one knows it."""
        found = await self.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
        return 0 if found is None else int(found[1])

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True, slots=True)
class Watched:
    """The servers, and the Sentinels that watch them."""

    one: EmbeddedRedis
    two: EmbeddedRedis
    sentinels: list[Sentinel] = field(default_factory=list)

    @property
    def url(self) -> str:
        """What `QUOTA_REDIS_URL` is."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{_SERVICE}:{_PASSWORD}@{hosts}/{NAME}/0"

    async def primary(self) -> EmbeddedRedis | None:
        """Return the server that a majority of the running Sentinels name."""
        named = [await each.primary() for each in self.sentinels if each.process.returncode is None]
        for server in (self.one, self.two):
            if sum(port_of(server) == port for port in named) >= 2:
                return server
        return None

    async def promoted(self, server: EmbeddedRedis | None = None) -> None:
        """Return when a server is the primary for all Sentinels, and knows it; else the second."""
        server = server or self.two

        async def is_promoted() -> bool:
            named = {await each.primary() for each in self.sentinels}
            async with service_client(server) as client:
                role = (await client.role())[0]
            return named == {port_of(server)} and role == "master"

        await eventually(is_promoted)

    async def cut_off(self, server: EmbeddedRedis, *, is_cut: bool = True) -> None:
        """Let neither Sentinels nor the other server reach a server, or let them again.

        The service goes on reaching it.
        """
        async with service_client(server) as client:
            for user in (_WATCHER, "default"):
                await client.execute_command("ACL", "SETUSER", user, "off" if is_cut else "on")
                if is_cut:
                    await client.execute_command("CLIENT", "KILL", "USER", user)


async def configured(server: EmbeddedRedis) -> None:
    """Give a server that was started its users."""
    async with client_of(server) as client:
        rights = ("on", f">{_PASSWORD}", "allchannels", "+@all", "~*")
        for user in (_SERVICE, _WATCHER):
            await client.execute_command("ACL", "SETUSER", user, *rights)


@asynccontextmanager
async def service_client(server: EmbeddedRedis) -> AsyncIterator["redis.asyncio.Redis"]:
    """Lend a client of a server that has the rights of the service."""
    async with redis.asyncio.Redis(
        port=port_of(server), username=_SERVICE, password=_PASSWORD, decode_responses=True
    ) as client:
        yield client


def port_of(server: EmbeddedRedis) -> int:
    """Return the port of a server."""
    return int(server.url.removesuffix("/0").rpartition(":")[2])


@asynccontextmanager
async def watched_redis(folder: Path, *, down_after_ms: int = 1000) -> AsyncIterator[Watched]:
    """Run two servers and three Sentinels; yields once these know of each other and of both."""
    async with AsyncExitStack() as stack:
        servers = [EmbeddedRedis(folder / name) for name in ("one", "two")]
        for server in servers:
            stack.callback(server.stop)
            await asyncio.to_thread(server.start)
            await configured(server)
        watched = Watched(*servers)
        await follow(watched.two, watched.one)
        for number in range(3):
            sentinel = _start(folder / f"sentinel-{number}", port_of(watched.one), down_after_ms)
            stack.callback(sentinel.stop)
            watched.sentinels.append(sentinel)

        async def know_all() -> bool:
            try:
                for each in watched.sentinels:
                    (state,) = (await each.command("SENTINEL MASTERS")).values()
                    if (state["num-other-sentinels"], state["num-slaves"]) != (2, 1):
                        return False
            except (RedisError, OSError):
                return False
            return True

        await eventually(know_all)
        yield watched


def _start(folder: Path, primary: int, down_after_ms: int) -> Sentinel:
    folder.mkdir()
    port = free_loopback_port()
    configuration = folder / "sentinel.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            port=port,
            folder=folder,
            name=NAME,
            primary=primary,
            user=_WATCHER,
            password=_PASSWORD,
            down_after_ms=down_after_ms,
        )
    )
    process = subprocess.Popen(
        [find_redis_binary(), configuration, "--sentinel"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return Sentinel(port, process)
