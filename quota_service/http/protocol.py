"""A connection of the public port: plain requests are answered here, all else is aiohttp's.

httptools parses. A request is plain when it is HTTP/1.1 on a connection that is kept, addresses a
call of the application, has no body or one of a given length within the limit, and asks for nothing
more than its answer. Requests of one connection are answered in order: what comes while one is at
work is kept, as bytes, and beyond a bound not read. At the first request that is not plain the
connection becomes aiohttp's, with the bytes from that request on; by then every request before it
was answered. aiohttp ends the connection behind its answer, so that the connections of a proxy do
not become aiohttp's one by one.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import httptools

from quota_service.http.application import Application, PlainRequest
from quota_service.http.request_head import RequestHead

HEAD_MAX_BYTES = 16_384
"""The longest head of a request."""
_BUFFER_MAX_BYTES = 65_536
"""What is kept of requests that wait for the one before; beyond, the connection is not read."""
_LINGER_S = 2.0
"""How long a client may take to end a connection behind its last answer."""
_AT_ONCE_MAX = 32
"""Requests of one connection that are answered at once, one after the other."""
_END_OF_HEAD = b"\r\n\r\n"
_NO_HTTP = "the request is not well-formed HTTP/1.1"


class Connection(asyncio.Protocol):
    """One connection of a client.

    `deadline_s` is when it has taken too long (the loop's clock); whoever counts the connections
    calls `expire` then.
    """

    __slots__ = (
        "_aiohttp",
        "_application",
        "_buffer",
        "_fed",
        "_has_head",
        "_head_end",
        "_is_advancing",
        "_is_answered",
        "_is_busy",
        "_is_eof",
        "_is_over",
        "_is_reading_paused",
        "_is_unread",
        "_is_writing_paused",
        "_keeps_alive",
        "_lines",
        "_loop",
        "_lost",
        "_parser",
        "_plain",
        "_request_end",
        "_target",
        "_transport",
        "address",
        "deadline_s",
    )

    def __init__(
        self, application: Application, address: str, lost: Callable[["Connection"], None]
    ) -> None:
        """`lost` is called when the connection has ended."""
        self.address = address
        self.deadline_s = math.inf
        self._application = application
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._aiohttp: asyncio.Protocol | None = None
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._buffer = bytearray()
        self._is_busy = self._is_advancing = self._is_answered = False
        self._is_eof = self._is_over = self._is_unread = False
        self._is_reading_paused = self._is_writing_paused = False
        self._plain: PlainRequest | None = None
        self._expect_request()

    @property
    def is_gone(self) -> bool:
        """Whether the client has left."""
        return self._transport is None or self._transport.is_closing()

    @property
    def is_idle(self) -> bool:
        """Whether no complete request is in progress on it, and no answer is still to be sent."""
        return self._aiohttp is None and not (
            self._is_busy or self._is_unread or self._is_writing_paused or self._is_over
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Expect the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self.deadline_s = self._loop.time() + self._application.head_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop all references; a request in progress runs to its end."""
        self._transport = None
        self._parser = None
        self._buffer.clear()
        self.deadline_s = math.inf
        if self._aiohttp is not None:
            self._aiohttp.connection_lost(exc)
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        """Take received bytes."""
        if self._aiohttp is not None:
            self._aiohttp.data_received(data)
            return
        if self._is_over:
            return
        self._buffer += data
        if not self._is_unread and not self._is_held():
            self._is_unread = True
            self._application.read(self._parse)
        if len(self._buffer) > _BUFFER_MAX_BYTES:
            self._pause_reading()

    def eof_received(self) -> bool:
        """Answer the received requests, then end; a client may still read (RFC 9112, 9.6)."""
        self._is_eof = True
        if self._is_over:
            return False
        if self._aiohttp is not None:
            self._aiohttp.eof_received()
            return self._application.has_end(self._target.decode("latin-1"))
        if self._is_busy or self._is_unread:
            return True
        return self._is_writing_paused and bool(self._buffer)

    def pause_writing(self) -> None:
        """Read and begin no more of a client that does not read its answers."""
        if self._aiohttp is not None:
            self._aiohttp.pause_writing()
            return
        self._is_writing_paused = True
        self._pause_reading()
        self.deadline_s = self._loop.time() + self._application.idle_timeout_s

    def resume_writing(self) -> None:
        """Go on."""
        if self._aiohttp is not None:
            self._aiohttp.resume_writing()
            return
        self._is_writing_paused = False
        if self._is_busy:
            self.deadline_s = math.inf
        self._go_on()

    def expire(self) -> None:
        """End a connection that has taken too long."""
        if self._is_unread:  # it has not: bytes received in time wait to be parsed
            return
        self.deadline_s = math.inf
        if self._transport is None:
            return
        if self._is_over or self._is_writing_paused:
            self._transport.abort()
        elif self._plain is not None:
            plain, self._plain = self._plain, None
            self._is_busy = True
            self._application.refuse_slow(self, plain)
        else:
            self._transport.close()

    def answer(self, data: bytes, *, is_last: bool = False) -> None:
        """Send the answer to the request in progress; after the last one the connection ends."""
        self._is_busy = False
        self._is_answered = True
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if is_last:
            self._end_slowly(transport)
        elif not self._is_advancing:
            self._go_on()

    def _end_slowly(self, transport: asyncio.Transport) -> None:
        """Send no more, and wait for the client to end: what it still sends is not kept.

        Closed at once, the system would break the connection off at the next byte that comes, and
        the client might lose the answer (RFC 9112, 9.6).
        """
        self._is_over = True
        self._plain = None
        self._buffer.clear()
        self._resume_reading(transport)
        with suppress(OSError):  # the client has gone already
            transport.write_eof()
        wait_s = self._application.idle_timeout_s if self._is_writing_paused else _LINGER_S
        self.deadline_s = self._loop.time() + wait_s

    def close(self) -> None:
        """End the connection, which is idle."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Abort the connection, also with a request in progress."""
        if self._transport is not None:
            self._transport.abort()

    def _parse(self) -> None:
        """Parse the received bytes, at the turn of this connection."""
        self._is_unread = False
        try:
            self._go_on()
        except Exception:
            self.abort()
            raise

    def _go_on(self) -> None:
        """Parse the bytes received meanwhile."""
        transport = self._transport
        if transport is None or self._is_held():
            return
        self._advance()
        if not self._is_held() and len(self._buffer) <= _BUFFER_MAX_BYTES:
            self._resume_reading(transport)
        self._end_behind_last()

    def _end_behind_last(self) -> None:
        """End when the client sends no more and none of its requests is in progress."""
        is_done = not (self._is_busy or self._is_unread) and self._aiohttp is None
        if self._is_eof and is_done and self._transport:
            self._transport.close()

    def _pause_reading(self) -> None:
        transport = self._transport
        if transport is not None and not self._is_reading_paused:
            self._is_reading_paused = True
            transport.pause_reading()

    def _resume_reading(self, transport: asyncio.Transport) -> None:
        if self._is_reading_paused:
            self._is_reading_paused = False
            transport.resume_reading()

    def _expect_request(self) -> None:
        """Forget the request before."""
        self._target = b""
        self._lines: list[tuple[bytes, bytes]] = []
        self._has_head = False
        self._keeps_alive = False
        self._fed = 0
        self._head_end = 0
        self._request_end = 0
        self._plain = None

    def _advance(self) -> None:
        """Parse requests from the received bytes until one is in progress or bytes are missing."""
        self._is_advancing = True
        has_taken = self._is_answered
        try:
            for _ in range(_AT_ONCE_MAX):
                if not self._has_request():
                    break
                self._take()
                has_taken = True
            else:
                if not self._is_unread:  # others have their turn meanwhile
                    self._is_unread = True
                    self._application.read_later(self._parse)
        finally:
            self._is_advancing = False
        self._is_answered = False
        if self._aiohttp is None and not self._is_held():
            self._expect_more(has_taken=has_taken)

    def _is_held(self) -> bool:
        """Return whether no request may be begun now."""
        return self._is_busy or self._is_writing_paused or self._is_over

    def _has_request(self) -> bool:
        """Return whether the next request may be begun, and is whole."""
        if self._is_held() or self.is_gone or not self._buffer:
            return False
        if self._plain is None and not self._read_head():
            return False
        return len(self._buffer) >= self._request_end

    def _expect_more(self, *, has_taken: bool) -> None:
        """Set the time for what has to come next; a part of it that comes gives no more time."""
        now_s, application = self._loop.time(), self._application
        if self._buffer:
            if self._plain is None:
                self.deadline_s = min(self.deadline_s, now_s + application.head_timeout_s)
        elif has_taken:
            self.deadline_s = now_s + application.idle_timeout_s

    def _take(self) -> None:
        """Hand a whole request to the application."""
        plain = cast("PlainRequest", self._plain)
        if self._request_end > self._head_end:
            plain.body = bytes(self._buffer[self._head_end : self._request_end])
            cast("httptools.HttpRequestParser", self._parser).feed_data(plain.body)
        del self._buffer[: self._request_end]
        self._expect_request()
        self._is_busy = True
        self.deadline_s = math.inf
        self._application.take(self, plain)

    def _read_head(self) -> bool:
        """Return whether the head of a plain request is here; all else is dealt with."""
        if not self._fed and self._buffer[0] in b"\r\n":
            del self._buffer[
                : len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))
            ]  # RFC 9112, 2.2
        end = self._buffer.find(_END_OF_HEAD, max(self._fed - len(_END_OF_HEAD) + 1, 0))
        stop = len(self._buffer) if end < 0 else end + len(_END_OF_HEAD)
        parser = cast("httptools.HttpRequestParser", self._parser)
        try:
            parser.feed_data(self._buffer[self._fed : stop])
        except httptools.HttpParserUpgrade:
            self._hand_over()
            return False
        except httptools.HttpParserError:
            self._refuse(_NO_HTTP)
            return False
        self._fed = stop
        if stop > HEAD_MAX_BYTES:
            self._refuse("the head is too long")
        elif self._has_head != (end >= 0):
            self._refuse(_NO_HTTP)
        elif self._has_head:
            return self._is_plain(parser, stop)
        return False

    def _is_plain(self, parser: httptools.HttpRequestParser, head_end: int) -> bool:
        """Note a plain request; one that is not plain makes the connection aiohttp's."""
        head = RequestHead.of(self._lines)
        version = parser.get_http_version()
        if not head.is_well_formed(version):
            self._refuse(_NO_HTTP)
            return False
        target = self._target.decode("utf-8", "surrogateescape")
        found = self._application.find(parser.get_method(), target)
        if (
            found is None
            or head.is_unusual
            or not self._keeps_alive
            or version != "1.1"
            or head.length > self._application.body_max_bytes
        ):
            self._hand_over()
            return False
        self._plain = PlainRequest(found, target, head.request_id, head.origin, self._lines, b"")
        self._head_end = head_end
        self._request_end = head_end + head.length
        if head.length:
            self.deadline_s = self._loop.time() + self._application.body_timeout_s
        return True

    def _refuse(self, cause: str) -> None:
        self._is_busy = True
        self.deadline_s = math.inf
        self._buffer.clear()
        self._application.refuse_malformed(self, cause)

    def _hand_over(self) -> None:
        """Leave the connection to aiohttp, beginning with the request that is not plain."""
        transport = cast("asyncio.Transport", self._transport)
        self._resume_reading(transport)  # from here on aiohttp pauses it
        self.deadline_s = math.inf
        self._aiohttp = handler = self._application.by_aiohttp()
        data = bytes(self._buffer)
        self._buffer.clear()
        self._parser = None
        handler.connection_made(transport)
        handler.data_received(data)
        if self._is_eof and not self.eof_received():
            transport.close()

    # What httptools calls while it parses.

    def on_url(self, url: bytes) -> None:
        """Note a part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header."""
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        """Note that the head is whole."""
        self._has_head = True
        self._keeps_alive = cast("httptools.HttpRequestParser", self._parser).should_keep_alive()
