"""The Postgres of a layout: one server, or a pair of which the second is a synchronous standby."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

from quota_service.embedded import EmbeddedPostgres
from tests.support.proxy import Proxy
from tests.support.standby import PostgresPair, postgres_pair
from tests.support.waiting import eventually

_DATABASE = "postgres"


class PostgresServers(Protocol):
    """What a round needs of the Postgres of any layout."""

    @property
    def url(self) -> str:
        """The server that takes writes, reached directly."""
        ...

    @property
    def is_spent(self) -> bool:
        """Whether the next round needs other servers."""
        ...

    async def start(self) -> None:
        """Start every server."""
        ...

    async def stop(self) -> None:
        """Stop every server."""
        ...

    async def dsn(self, process: str) -> str:
        """Return what `QUOTA_POSTGRES_DSN` of a process is."""
        ...

    async def make_whole(self) -> None:
        """Start whatever does not run and let everything pass, also after a fault that failed."""
        ...


class OnePostgres:
    """One server behind a proxy, at which each process has a port of its own."""

    is_spent = False

    def __init__(self, folder: Path) -> None:
        self.server = EmbeddedPostgres(folder / "postgres")
        self.proxy = Proxy(0)
        self._ports: dict[str, int] = {}

    @property
    def url(self) -> str:
        return self.server.url

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)
        await self.proxy.open()
        self.proxy.lead_to(self.server.url)

    async def stop(self) -> None:
        self.proxy.close()
        await asyncio.to_thread(self.server.stop)

    async def dsn(self, process: str) -> str:
        self._ports[process] = await self.proxy.add_port()
        return self.proxy.in_front_of(self.server.url, self._ports[process])

    async def make_whole(self) -> None:
        if self.server.pid is None:
            await asyncio.to_thread(self.server.start)
        self.proxy.let_pass()

    def slow(self, process: str, delay_s: float, asking: bytes = b"") -> None:
        """Hold back what one process asks, or only what contains a word."""
        self.proxy.request_delays[self._ports[process]] = (delay_s, asking)


class PairOfPostgres:
    """A primary whose commits wait for its standby; the service reaches both directly."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "pair"
        self._stack = AsyncExitStack()
        self.pair: PostgresPair
        self.is_spent = False

    @property
    def url(self) -> str:
        return (self.pair.standby if self.is_spent else self.pair.primary).url

    async def start(self) -> None:
        self.pair = await self._stack.enter_async_context(postgres_pair(self._folder))

    async def stop(self) -> None:
        await self._stack.aclose()

    async def dsn(self, _process: str) -> str:
        return self.pair.dsn(_DATABASE)

    async def make_whole(self) -> None:
        if self.is_spent:
            return
        for server in (self.pair.primary, self.pair.standby):
            if server.pid is None:
                await asyncio.to_thread(server.start)
        await eventually(self.pair.is_synchronous)

    async def promote(self) -> None:
        """Let the standby be the primary; the pair is none any more."""
        self.is_spent = True
        await self.pair.promote()
