"""An HTTP server for the clients of the bench: it answers every request alike and keeps it."""

import asyncio
from typing import Self

ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"


class Recorder:
    """Answers what comes on loopback; `requests` are the heads and bodies so far."""

    def __init__(self, answer: bytes = ANSWER) -> None:
        self.requests: list[tuple[bytes, bytes]] = []
        self._answer = answer

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = "http://127.0.0.1:{1}".format(*self._server.sockets[0].getsockname())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await self._head(reader):
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
            self.requests.append((head, await reader.readexactly(length)))
            # In two parts, as a large answer comes.
            writer.write(self._answer[:20])
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(self._answer[20:])
        writer.close()

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
