"""One connection without a socket: what stands on its two sides, and requests for it."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from quota_service.http.application import PlainRequest
from quota_service.http.protocol import Connection

CALL = "/call"


STREAM = "/stream"


class Transport(asyncio.Transport):
    """Remembers what was written, and whether it is read and open."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.is_open = True
        self.is_read = True
        self.has_eof = False

    def write_eof(self) -> None:
        self.has_eof = True

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def is_closing(self) -> bool:
        return not self.is_open

    def close(self) -> None:
        self.is_open = False

    def abort(self) -> None:
        self.is_open = False

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


class Aiohttp(asyncio.Protocol):
    """Stands for what a connection becomes."""

    def __init__(self) -> None:
        self.data = b""
        self.is_made = False

    def connection_made(self, _transport: asyncio.BaseTransport) -> None:
        self.is_made = True

    def data_received(self, data: bytes) -> None:
        self.data += data


class Application:
    """Takes requests for one address, and answers when it is told to, or at once."""

    body_max_bytes = 100
    head_timeout_s = 1000.0
    body_timeout_s = 2000.0
    idle_timeout_s = 3000.0

    def __init__(self, *, answers_at_once: bool, reads_at_once: bool = True) -> None:
        self.answers_at_once = answers_at_once
        self.reads_at_once = reads_at_once
        self.unread: list[Callable[[], None]] = []
        self.offered_ids: list[str | None] = []
        self.taken: list[tuple[str, bytes]] = []
        self.malformed: list[str] = []
        self.slow = 0
        self.waiting: list[Connection] = []
        self.successor = Aiohttp()

    def read(self, parse: Callable[[], None]) -> None:
        if self.reads_at_once:
            parse()
        else:
            self.read_later(parse)

    def read_later(self, parse: Callable[[], None]) -> None:
        self.unread.append(parse)

    def find(self, method: bytes, target: str) -> str | None:
        return method.decode() if target == CALL else None

    def take(self, connection: Connection, plain: PlainRequest) -> None:
        self.taken.append((plain.read_headers()["X-Name"], plain.body))
        self.offered_ids.append(plain.offered_id)
        if self.answers_at_once:
            connection.answer(b"answer")
        else:
            self.waiting.append(connection)

    def refuse_malformed(self, connection: Connection, cause: str) -> None:
        self.malformed.append(cause)
        connection.answer(b"400", is_last=True)

    def refuse_slow(self, connection: Connection, _plain: PlainRequest) -> None:
        self.slow += 1
        connection.answer(b"408", is_last=True)

    def by_aiohttp(self) -> asyncio.Protocol:
        return self.successor

    def has_end(self, target: str) -> bool:
        return target != STREAM


def request(name: str, body: bytes = b"", *headers: str, target: str = CALL) -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: q", f"X-Name: {name}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Served:
    """One connection, and what stands on its two sides."""

    def __init__(self, *, answers_at_once: bool = True, reads_at_once: bool = True) -> None:
        self.application = Application(answers_at_once=answers_at_once, reads_at_once=reads_at_once)
        self.lost: list[Connection] = []
        self.connection = Connection(self.application, "127.0.0.1", self.lost.append)
        self.transport = Transport()
        self.connection.connection_made(self.transport)

    def receive(self, data: bytes, cuts: list[int]) -> None:
        """Let data come in pieces; answer what waits between them."""
        places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        for start, stop in itertools.pairwise(places):
            if start < stop and self.transport.is_open:
                self.connection.data_received(data[start:stop])
            if stop % 2:
                self.read_one()
            self.answer_one()
        while self.read_one() or self.answer_one():
            pass

    def read_one(self) -> bool:
        unread = self.application.unread
        if is_any := bool(unread):
            unread.pop(0)()
        return is_any

    def answer_one(self) -> bool:
        waiting = self.application.waiting
        if is_any := bool(waiting):
            waiting.pop(0).answer(b"answer")
        return is_any


def run(check: Any) -> None:
    """Run a check inside of a loop, whose clock connections read."""

    async def inside() -> None:
        check()

    asyncio.run(inside())
