"""Stands between a client and its server, and loses what the test wants lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit


@dataclass(slots=True, eq=False)
class _Link:
    """One connection through the proxy, and which of its two directions still pass."""

    writers: list[asyncio.StreamWriter]
    requests_pass: bool = True
    answers_pass: bool = True


@dataclass(slots=True)
class LossyProxy:
    """A TCP proxy whose open connections can be made to lose data; new ones are whole again."""

    url: str
    lost_bytes: int = 0
    """What it has kept from its reader."""
    _links: set[_Link] = field(default_factory=set)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def lose_answers(self) -> None:
        """Let the server hear its open connections, and nobody hear the server."""
        for link in self._links:
            link.answers_pass = False

    def freeze(self) -> None:
        """Let nothing pass on the open connections, in either direction."""
        for link in self._links:
            link.answers_pass = link.requests_pass = False

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        """Join one client to the server."""
        server_reader, server_writer = await asyncio.open_connection(host, port)
        link = _Link([writer, server_writer])
        self._links.add(link)
        pumps = [
            asyncio.create_task(self._pump(reader, server_writer, link, "requests_pass")),
            asyncio.create_task(self._pump(server_reader, writer, link, "answers_pass")),
        ]
        self._tasks.update(pumps)
        await asyncio.wait(pumps)
        self._links.discard(link)

    async def close(self) -> None:
        """Cut every connection."""
        for link in self._links:
            for writer in link.writers:
                writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link, passes: str
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if getattr(link, passes):
                    writer.write(data)
                    await writer.drain()
                else:
                    self.lost_bytes += len(data)
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def lossy_proxy(url: str) -> AsyncIterator[LossyProxy]:
    """Put a proxy before the server of a URL."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    host, port, proxy = parts.hostname, parts.port, LossyProxy("")
    server = await asyncio.start_server(
        lambda reader, writer: proxy.serve(reader, writer, host, port), "127.0.0.1", 0
    )
    credentials, at, _ = parts.netloc.rpartition("@")
    netloc = f"{credentials}{at}127.0.0.1:{server.sockets[0].getsockname()[1]}"
    proxy.url = urlunsplit(parts._replace(netloc=netloc))
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()
