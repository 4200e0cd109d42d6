"""Reads server-sent events as a browser does, and as a reader that does not read."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from quota_service.registration.import_exam import import_exam
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.exams import make_exam
from tests.support.patience import LIMIT_S
from tests.support.raw_http import request

PATH = "/v1/exams/exam-1/availability/stream"


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `id` is None when it has none of its own."""

    name: str
    id: str | None
    data: Any

    @property
    def left(self) -> dict[tuple[str, str], int]:
        """What its quotas say is left."""
        return {(q["venue"], q["subject"]): q["remaining"] for q in self.data["quotas"]}


class EventStream:
    """An open stream; events are read one by one."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.heartbeats = 0
        self.retry_ms: int | None = None

    async def next(self) -> Event:
        """Return the next event; fail when the stream ends or says nothing for long."""
        event = await self._read()
        assert event is not None, "the stream has ended"
        return event

    async def rest(self) -> list[Event]:
        """Return the events until the stream ends; one that breaks off is an error."""
        events = []
        while (event := await self._read()) is not None:
            events.append(event)
        return events

    async def heartbeat(self) -> None:
        """Return when the next block of lines was a comment, and fail when it was not."""
        async with asyncio.timeout(LIMIT_S):
            assert await self._block() == {"": ""}

    async def _read(self) -> Event | None:
        async with asyncio.timeout(LIMIT_S):
            while (block := await self._block()) is not None:
                if "data" in block:
                    return Event(block["event"], block.get("id"), json.loads(block["data"]))
                if "retry" in block:
                    self.retry_ms = int(block["retry"])
        return None

    async def _block(self) -> dict[str, str] | None:
        """Return the fields up to the next empty line, a comment under the name of nothing."""
        lines: dict[str, str] = {}
        while line := (await self.response.content.readline()).decode():
            assert line.endswith("\n"), line
            if line == "\n":
                self.heartbeats += "" in lines
                return lines
            name, _, value = line[:-1].partition(":")
            assert name not in lines, line
            lines[name] = value.removeprefix(" ")
        assert not lines, lines
        return None


@asynccontextmanager
async def opened(
    api: ApiClient,
    query: str = "",
    *,
    last_event_id: str | None = None,
    path: str = PATH,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[EventStream]:
    """Open a stream on a connection of its own, and close it with the block."""
    headers = dict(headers or {})
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    async with (
        aiohttp.ClientSession(read_bufsize=2**22) as session,
        session.get(f"{api.url}{path}{query}", headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        yield EventStream(response)


@asynccontextmanager
async def opened_many(api: ApiClient, count: int) -> AsyncIterator[list[EventStream]]:
    """Open many streams, and close them with the block."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(opened(api)) for _ in range(count)]


@asynccontextmanager
async def unread(api: ApiClient, path: str = PATH) -> AsyncIterator[socket.socket]:
    """Open a stream and read nothing, with as little room for unread bytes as the system gives."""
    address = urlsplit(api.url)
    loop = asyncio.get_running_loop()
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        reader.setblocking(False)
        await loop.sock_connect(reader, (str(address.hostname), address.port))
        await loop.sock_sendall(reader, request("GET", path))
        yield reader


async def received(reader: socket.socket, until: bytes) -> bytes:
    """Read a stream until it has told something, or to its end or break."""
    loop, read = asyncio.get_running_loop(), bytearray()
    with suppress(ConnectionResetError):
        async with asyncio.timeout(LIMIT_S):
            while until not in read and (data := await loop.sock_recv(reader, 65_536)):
                read += data
    return bytes(read)


def sample(running: Running, name: str) -> float:
    """Return one of the service's metrics."""
    value = running.service.metrics.registry.get_sample_value(name)
    assert value is not None, name
    return value


async def has_open(running: Running, count: int) -> bool:
    """Return whether so many streams are open, as ops see it."""
    return sample(running, "quota_streams") == count


async def import_large_exam(running: Running) -> str:
    """Import an exam whose snapshot is larger than the buffers of a stream; return its path."""
    seats = {f"venue-{i}": {"general": 5, "qms": 5, "ems": 5, "service": 5} for i in range(400)}
    stores = running.service.stores
    await import_exam(stores.maintenance, make_exam("exam-2", seats=seats))
    await stores.registry.refresh()
    return "/v1/exams/exam-2/availability/stream"
