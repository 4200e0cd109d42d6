"""Stands between a client and its server, and resets a connection instead of passing an answer."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

_RESET = struct.pack("ii", 1, 0)
"""With this linger a close sends RST, as the system does for a server that crashed."""


@dataclass(slots=True)
class CuttingProxy:
    """A TCP proxy that can lose one answer, with the connection it was for."""

    url: str
    cuts: int = 0
    _answers_until_cut: int | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def cut_answer(self, number: int) -> None:
        """Let the n-th answer from now on be lost, when its command has run; the first is 1."""
        self._answers_until_cut = number

    def cut_nothing(self) -> None:
        """Let every answer pass."""
        self._answers_until_cut = None

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        """Join one client to the server."""
        server_reader, server_writer = await asyncio.open_connection(host, port)
        self._writers |= {writer, server_writer}
        pumps = {
            asyncio.create_task(self._requests(reader, server_writer)),
            asyncio.create_task(self._answers(server_reader, writer)),
        }
        self._tasks |= pumps
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for each in (writer, server_writer):
            each.transport.abort()

    async def close(self) -> None:
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @staticmethod
    async def _requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if self._is_cut():
                    linger = (socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    writer.get_extra_info("socket").setsockopt(*linger)
                    return
                writer.write(data)
                await writer.drain()

    def _is_cut(self) -> bool:
        if self._answers_until_cut is None:
            return False
        self._answers_until_cut -= 1
        if self._answers_until_cut > 0:
            return False
        self._answers_until_cut = None
        self.cuts += 1
        return True


@asynccontextmanager
async def cutting_proxy(url: str) -> AsyncIterator[CuttingProxy]:
    """Put a proxy before the server of a URL."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    host, port, proxy = parts.hostname, parts.port, CuttingProxy("")
    server = await asyncio.start_server(
        lambda reader, writer: proxy.serve(reader, writer, host, port), "127.0.0.1", 0
    )
    netloc = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    proxy.url = urlunsplit(parts._replace(netloc=netloc))
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()
