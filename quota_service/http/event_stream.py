"""Server-sent events: an event as bytes, and one reader of a stream, written to without waiting.

An event is made once for all streams that send it, in both forms of HTTP: plain for
HTTP/1.0, which proxies speak, and as a chunk of HTTP/1.1. So a crowd of readers costs neither
rendering nor framing.

A watcher replaces aiohttp's protocol on its connection and passes on all it hears: so it
knows at once when the client leaves, when its buffer is full and when it is empty again. While the
buffer is full nothing is written, and nothing is queued: what the reader missed then is made good
by a snapshot when it has read everything. A reader that does not read for too long is cut off.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes for many streams; a reader that missed `news` needs a snapshot."""

    plain: bytes
    chunked: bytes
    is_news: bool = True


def event(name: str, body: bytes, *, state_id: str = "") -> Message:
    """Return an event; its id names the state that a reader has who has read it."""
    lines = [f"event: {name}", *([f"id: {state_id}"] if state_id else [])]
    head = "\n".join(lines).encode()
    return _message(b"%b\ndata: %b\n\n" % (head, body))


def heartbeat() -> Message:
    """Return a comment, which keeps proxies from closing a quiet stream."""
    return _message(b":\n\n", is_news=False)


def retry_field(retry_ms: int) -> bytes:
    """Return the field with the time after which a client reopens an ended stream."""
    return b"retry: %d\n\n" % retry_ms


def _message(plain: bytes, *, is_news: bool = True) -> Message:
    return Message(plain, b"%x\r\n%b\r\n" % (len(plain), plain), is_news)


class Watcher(asyncio.Protocol):
    """A connection that wants to hear of changes; `ended` is done when it hears no more."""

    def __init__(
        self,
        transport: asyncio.Transport,
        *,
        is_chunked: bool,
        stall_timeout_s: float,
        caught_up: "Callable[[Watcher], None]",
        cut: Callable[[], None],
    ) -> None:
        """`caught_up` is called once a reader that missed news has read all there was.

        `cut` is called when the connection is closed because its client does not read.
        """
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport = transport
        self._is_chunked = is_chunked
        self._stall_timeout_s = stall_timeout_s
        self._caught_up = caught_up
        self._cut = cut
        self._is_full = False
        self._has_missed_news = False
        self._stall: asyncio.TimerHandle | None = None
        http = transport.get_protocol()
        if not isinstance(http, asyncio.Protocol):
            raise TypeError(f"{http!r} does not take what a stream passes on")
        self._http = http

    def listen(self, buffer_max_bytes: int) -> None:
        """Take the connection over, its buffers bounded here and in the system."""
        if self._transport.is_closing():
            self.end()
            return
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_max_bytes)
        self._transport.set_protocol(self)
        self._transport.set_write_buffer_limits(high=buffer_max_bytes, low=0)

    def tell(self, message: Message) -> None:
        """Write a message, or let a reader whose buffer is full miss it."""
        if self._is_full:
            self._has_missed_news |= message.is_news
        elif not (self.ended.done() or self._transport.is_closing()):
            self._transport.write(message.chunked if self._is_chunked else message.plain)

    def end(self) -> None:
        """Hear no more."""
        if not self.ended.done():
            self.ended.set_result(None)

    def close(self) -> None:
        """Hear no more, and do not wait for a reader that is behind: cut it off."""
        self.end()
        self._stop_the_clock()
        if self._is_full:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass on what the client sends."""
        self._http.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on that the client sends no more."""
        return self._http.eof_received()

    def pause_writing(self) -> None:
        """Stop writing: the reader is slow."""
        self._is_full = True
        loop = asyncio.get_running_loop()
        self._stall = loop.call_later(self._stall_timeout_s, self._give_up)
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """Go on: the reader has read everything, and hears what it missed."""
        self._is_full = False
        self._stop_the_clock()
        self._http.resume_writing()
        if self._has_missed_news and not self.ended.done():
            self._has_missed_news = False
            self._caught_up(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End: the client has left, or was cut off."""
        self.end()
        self._stop_the_clock()
        self._http.connection_lost(exc)

    def _give_up(self) -> None:
        self._cut()
        self._transport.abort()

    def _stop_the_clock(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
