"""An address that new connections follow to whoever is primary; open ones stay where they are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from quota_service.embedded import EmbeddedRedis


class VirtualAddress:
    """Where the service finds its Redis; `target` is the port behind it."""

    def __init__(self) -> None:
        self.target = 0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    def lead_to(self, server: EmbeddedRedis) -> None:
        """Let new connections go to a server."""
        self.target = int(server.url.removesuffix("/0").rpartition(":")[2])

    def cut(self) -> None:
        """Cut every open connection."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join a client to the server behind the address."""
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(_pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cut everything and wait for its end."""
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def virtual_address(server: EmbeddedRedis) -> AsyncIterator[VirtualAddress]:
    """Lend an address that leads to a server."""
    address = VirtualAddress()
    address.lead_to(server)
    listener = await asyncio.start_server(address.serve, "127.0.0.1", 0)
    address.url = f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
    try:
        yield address
    finally:
        listener.close()
        await address.close()
