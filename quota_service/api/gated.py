"""Stands before aiohttp's parser and turns away what is too much.

Turning a request away must cost a small part of serving one, or a flood of refusals starves those
who were let in. An answer by way of parser and handler costs about half of a reservation; one that
is written as bytes, of which the head is all that was looked at, a tenth of it. So while the gate
is alert, a request of a class that it is full for is answered where its bytes arrive. What cannot
be told from the bytes for certain (a head in pieces, requests sent ahead of their answers, other
framing) is parsed, and refused by the gate behind the parser, which is the one that counts.

While the gate is calm only the ends of requests are followed, at a small part of the cost.
"""

import random
import re
from typing import Any

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, RawRequestMessage

from quota_service.api.entry import REFUSAL
from quota_service.api.express import ExpressLane, ExpressProtocol
from quota_service.api.problems import RETRY_AFTER_S, problem_answer
from quota_service.api.request_head import RequestHead, read_head

_LOST = -1
"""How many bytes of a body are missing when it is not known where the next request begins."""
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class ReadyRefusals:
    """The bytes of the answer `overloaded`, ready but for the request id; one for each process.

    Made from the problem that a handler would answer with, so that nobody can tell the two apart.
    """

    def __init__(self) -> None:
        problem = problem_answer("overloaded", REFUSAL, part="service")
        self._body = problem.body
        self._content_type = problem.content_type
        self._date = ""
        self._heads: list[bytes] = []

    def answer(self, request_id: bytes) -> bytes:
        """Return an answer; Retry-After is drawn anew, so that a crowd does not return as one."""
        date = rfc822_formatted_time()
        if date != self._date:
            self._date = date
            self._heads = [self._head(date, after_s) for after_s in range(*_RETRY_RANGE)]
        head = self._heads[int(random.random() * len(self._heads))]  # noqa: S311
        return b"%b%b\r\n\r\n%b" % (head, request_id, self._body)

    def _head(self, date: str, retry_after_s: int) -> bytes:
        lines = (
            "HTTP/1.1 503 Service Unavailable",
            f"Content-Type: {self._content_type}",
            f"Content-Length: {len(self._body)}",
            f"Date: {date}",
            f"Server: {SERVER_SOFTWARE}",
            f"Retry-After: {retry_after_s}",
            "X-Request-ID: ",
        )
        return "\r\n".join(lines).encode("ascii")


_RETRY_RANGE = (RETRY_AFTER_S[0], RETRY_AFTER_S[1] + 1)


class GatedProtocol(ExpressProtocol):
    """A connection of the public port."""

    __slots__ = ("_data", "_gate", "_missing", "_refusals", "_skip")

    def __init__(
        self, refusals: ReadyRefusals, lane: ExpressLane, manager: web.Server, **options: Any
    ) -> None:
        super().__init__(lane, manager, **options)
        self._gate = lane.context.gate
        self._refusals = refusals
        self._data = b""
        self._missing = 0
        self._skip = 0

    def data_received(self, data: bytes) -> None:
        """Look at a request before it is parsed, and answer it here when it is too much."""
        if self._is_busy or not data:
            super().data_received(data)  # what is held comes by here again
            return
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
            if not data:
                return
        if self._missing:
            if self._missing != _LOST:
                self._missing = max(self._missing - len(data), _LOST)
        elif self._gate.is_alert and self._is_idle() and self._refuses(data):
            return
        else:
            # Where it ends is not known, until `_begin` learns it from the parser.
            self._missing = _LOST
            self._data = data
        super().data_received(data)
        self._data = b""

    def _begin(self) -> bool:
        """Learn from the parser where a request ends.

        Known for certain is the plain case alone: it was one request with a body of a told length,
        from its first byte on, and nothing stands behind it.
        """
        message, payload = self._messages[0]
        if (
            self._data
            and isinstance(message, RawRequestMessage)
            and message.compression is None
            and not (message.chunked or message.upgrade)
        ):
            beyond_head = len(self._data) - self._data.find(b"\r\n\r\n") - 4
            if payload.total_bytes == beyond_head:
                self._missing = 0
                if not payload.is_eof():
                    length = int(message.headers.get("Content-Length", "0"))
                    self._missing = max(length - beyond_head, _LOST)
        return super()._begin()

    def _is_idle(self) -> bool:
        """Return whether every request before was answered and the next may be, here and now."""
        return (
            self._waiter is not None
            and not self._waiter.done()
            and not (self._messages or self._upgraded or self._paused)
            and not (self._close or self._force_close)
        )

    def _refuses(self, data: bytes) -> bool:
        """Answer a request that is too much; the rest of its body will be let pass unread."""
        head = read_head(data)
        if (
            head is None
            or not self._gate.is_full_for(head.work)
            or not 0 <= head.missing <= self._lane.context.settings.body_max_bytes
            or not head.is_plain
            or self.transport is None
        ):
            return False
        self._gate.refuse(head.work)
        self._skip = head.missing
        self.transport.write(self._refusals.answer(_request_id(head)))
        return True


def _request_id(head: RequestHead) -> bytes:
    """Return the id that was sent, or one that names nothing: what is refused is not logged."""
    offered = head.request_id
    if offered is not None and _REQUEST_ID.fullmatch(offered):
        return offered
    return b"%016x" % random.getrandbits(64)
