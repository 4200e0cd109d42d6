"""A connection of the public port: read when its turn has come, and closed when nothing more does.

Only reading is done here. Writing and closing are the transport's, whose own reading is paused from
the beginning.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from quota_service.api.turns import Turns

_LOOK_AGAIN_S = 1.0
"""When to look again whether a connection is idle."""
_READ_MAX_BYTES = 65_536


def _nothing() -> None:
    return


class ReadInTurn(RequestHandler):
    """A connection that is read when its turn has come."""

    __slots__ = (
        "_answer",
        "_has_left",
        "_has_more",
        "_is_deferred",
        "_is_due",
        "_is_half_closed",
        "_turns",
        "descriptor",
        "is_failing",
        "is_paying",
        "is_read",
        "lost",
    )

    def __init__(self, turns: Turns, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self.is_paying = False
        """Whether the last request was a payment, signed, and so the next may be."""
        self.is_failing = False
        """Whether the last request that needed a key or a signature had no valid one."""
        self.lost: Callable[[], None] = _nothing
        """Called when the connection has ended."""
        self._turns = turns
        self._answer = b""
        self.descriptor = -1
        """The socket's, once connected."""
        self.is_read = False
        self._is_due = False
        self._is_deferred = False
        self._has_left = False
        self._is_half_closed = False
        self._has_more = False

    @property
    def address(self) -> str:
        """The address of the client."""
        return self.peername[0] if self.peername else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take reading over from the transport."""
        super().connection_made(transport)
        if self._keepalive_handle is not None:
            self._keepalive_handle.cancel()
        # The timer of idle connections: whoever has sent no request yet is given less time.
        closes_at = self._loop.time() + self._turns.head_timeout_s
        self._next_keepalive_close_time = closes_at
        self._keepalive_handle = self._loop.call_at(closes_at, self._process_keepalive)
        self.descriptor = transport.get_extra_info("socket").fileno()
        # Behind aiohttp's own beginning: what it does not wait for yet cannot be told from the rest
        # of something. And behind the transport's: in Python 3.11.2, Debian 12's, it begins to read
        # after this call even when it is paused here. It has read nothing until then.
        self._loop.call_soon(self._take_reading_over, cast("asyncio.Transport", transport))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop reading before the descriptor becomes another connection's."""
        self._pause_transport_reading()
        super().connection_lost(exc)
        self.lost()

    def notice(self, *, has_left: bool) -> None:
        """Take note that something has come, or that the client sends no more."""
        self._has_left |= has_left
        if self._is_due:
            self._has_more = True  # only where it is lent: what waits here is read later anyway
            return
        self._is_due = True
        self._turns.put(self)

    def read(self, *, is_excess: bool = False) -> None:
        """Read what has come, as a transport would; `is_excess` says to turn it away."""
        self._is_due = False
        transport = self.transport
        if not self.is_read:
            return  # reading again begins with a notice
        if transport is None or transport.is_closing():
            self._pause_transport_reading()
            return
        if not self._is_deferred and self._is_settling():
            self._is_deferred = True
            self.notice(has_left=False)
            return
        self._is_deferred = False
        try:
            data = os.read(self.descriptor, _READ_MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:  # the client broke the connection off
            self._pause_transport_reading()
            transport.abort()
            return
        if not data:
            self._pause_transport_reading()
            self._sends_no_more(transport)
            return
        self._has_more = len(data) == _READ_MAX_BYTES
        self._guarded(self.excess_received if is_excess else self.data_received, data)
        self.come_back()

    def _process_keepalive(self) -> None:
        """Close an idle connection: not one whose request waits to be read, or is at work here."""
        if self._waiter is not None and (self._is_due or self._request_in_progress):
            self._keepalive_handle = self._loop.call_later(_LOOK_AGAIN_S, self._process_keepalive)
        else:
            super()._process_keepalive()

    def _sends_no_more(self, transport: asyncio.Transport) -> None:
        """Close a connection whose client has sent its last byte, behind the last answer.

        A client may still read then (RFC 9112, 9.6), and cannot be told from one that does not. One
        whose last request is not whole is not answered, and a stream has no last answer.
        """
        is_stream = transport.get_protocol() is not self
        if (self._messages or self._request_in_progress) and self._is_whole() and not is_stream:
            self._is_half_closed = True
        else:
            transport.close()

    def _is_whole(self) -> bool:
        """Return whether the request that was received last has come to its end."""
        if self._messages:
            return self._messages[-1][1].is_eof()
        return self._current_request is None or self._current_request.content.is_eof()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer, the last one when the client sends no more."""
        finished = await super().finish_response(request, resp, start_time)
        self._close_behind_last()
        return finished

    def _close_behind_last(self) -> None:
        """Have the connection end when its client sends no more and everything is answered."""
        if self._is_half_closed and not self._messages:
            self._close = True

    def _is_settling(self) -> bool:
        """Return whether aiohttp has answered a request and not come to wait for the next yet."""
        return self._waiter is None and not (self._messages or self._request_in_progress)

    def answer_soon(self, answer: bytes) -> None:
        """Send an answer together with those of the other requests at work now."""
        self._answer = answer
        self._turns.send_soon(self)

    def send_answer(self) -> None:
        """Send the answer, unless nobody is there to read it."""
        self._write_answer()
        self._guarded(self.answer_sent)

    def answer_sent(self) -> None:
        """Go on behind an answer."""

    def _write_answer(self) -> None:
        answer, self._answer = self._answer, b""
        if answer and self.transport is not None and not self.transport.is_closing():
            self.transport.write(answer)

    def may_be_lent(self) -> bool:
        """Return whether another process may read the next request and answer it."""
        return False

    def expect_notice(self) -> None:
        """Remember from now on whether something comes while another process reads."""
        self._has_more = False

    def turned_away(self, missing: int, unsent: bytes = b"") -> None:
        """Go on behind a request that another process has answered, as `Lent` says."""
        raise NotImplementedError

    def handed_back(self, data: bytes) -> None:
        """Take what another process has read, when it was not for it."""
        if not data:
            self.read()  # whatever it is that could not be read there
            return
        self._has_more = True  # there may be more than was read at once
        if self.is_read and self.transport is not None and not self.transport.is_closing():
            self._guarded(self.data_received, data)
        self.come_back()

    def break_off(self) -> None:
        """Close a connection of which nobody knows what was read."""
        if self.transport is not None:
            self.transport.abort()

    def come_back(self) -> None:
        """Be read here again, beginning with what was noticed meanwhile."""
        self._is_due = False
        if self.is_read and (self._has_more or self._has_left):
            self.notice(has_left=False)

    def excess_received(self, data: bytes) -> None:
        """Take what is more than can be served in time."""
        self.data_received(data)

    def _guarded(self, step: Callable[..., None], *args: bytes) -> None:
        try:
            step(*args)
        except Exception as error:  # noqa: BLE001  ends this connection, and no other
            self._pause_transport_reading()
            if self.transport is not None:
                self.transport.abort()
            what = {"message": "a connection failed", "exception": error, "protocol": self}
            self._loop.call_exception_handler(what)

    def _take_reading_over(self, transport: asyncio.Transport) -> None:
        transport.pause_reading()
        self._resume_transport_reading()

    def _pause_transport_reading(self) -> None:
        if self.is_read:
            self.is_read = False
            self._turns.remove(self.descriptor)

    def _resume_transport_reading(self) -> None:
        if not self.is_read and self.transport is not None and not self.transport.is_closing():
            self.is_read = True
            self._turns.add(self.descriptor, self)
