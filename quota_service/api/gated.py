"""Stands before aiohttp's parser and turns away what is too much.

Turning a request away must cost a small part of serving one, or a flood of refusals starves those
who were let in. An answer by way of parser and handler costs about half of a reservation; one that
is written as bytes, of which the head is all that was looked at, a tenth of it. So while the gate
is alert, a request of a class that it is full for is answered where its bytes arrive. What cannot
be told from the bytes for certain (a head in pieces, requests sent ahead of their answers, other
framing) is parsed, and refused by the gate behind the parser, which is the one that counts.

While the gate is calm only the ends of requests are followed, at a small part of the cost.
"""

from typing import Any

from aiohttp import web
from aiohttp.http import RawRequestMessage

from quota_service.api.express import ExpressLane, ExpressProtocol
from quota_service.api.refusals import Refusals
from quota_service.api.request_head import read_refusable
from quota_service.api.turns import Turns
from quota_service.overload.classes import CAN_WAIT

_LOST = -1
"""How many bytes of a body are missing when it is not known where the next request begins."""


class GatedProtocol(ExpressProtocol):
    """A connection of the public port."""

    __slots__ = ("_data", "_gate", "_is_excess", "_missing", "_refusals", "_skip")

    def __init__(
        self,
        refusals: Refusals,
        lane: ExpressLane,
        turns: Turns,
        manager: web.Server,
        **options: Any,
    ) -> None:
        super().__init__(lane, turns, manager, **options)
        self._gate = lane.context.gate
        self._refusals = refusals
        self._is_excess = False
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
        elif (self._is_excess or self._gate.is_alert) and self._is_idle() and self._refuses(data):
            return
        else:
            # Where it ends is not known, until `_begin` learns it from the parser.
            self._missing = _LOST
            self._data = data
        super().data_received(data)
        self._data = b""

    def excess_received(self, data: bytes) -> None:
        """Turn a request away that would wait for too long to be read in its turn."""
        self._is_excess = True
        try:
            self.data_received(data)
        finally:
            self._is_excess = False

    def may_be_lent(self) -> bool:
        """Return whether a request begins here for certain, and nothing is being written."""
        transport = self.transport
        return (
            self.is_read
            and not (self._missing or self._skip or self._is_busy or self._held)
            and self._is_idle()
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )

    def turned_away(self, missing: int, unsent: bytes = b"") -> None:
        """Go on behind a request that the usher has answered."""
        self._skip = missing
        self._keep_alive()
        if unsent and self.transport is not None and not self.transport.is_closing():
            self.transport.write(unsent)
        self.come_back()

    def _begin(self) -> bool:
        """Learn from the parser where a request ends.

        Known for certain is the plain case alone: it was one request with a body of a told length,
        from its first byte on, and nothing stands behind it.
        """
        message, payload = self._messages[0]
        if (
            self._data
            and isinstance(message, RawRequestMessage)
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
        head = read_refusable(data, self._lane.context.settings.body_max_bytes)
        if head is None:
            return False
        if self._is_excess and head.work in CAN_WAIT:
            self._gate.count_refusal(head.work, "unread")
        elif self._gate.is_full_for(head.work):
            self._gate.refuse(head.work)
        else:
            return False
        self._skip = head.missing
        self._is_busy = self._request_in_progress = True
        self._keep_alive()
        self.answer_soon(self._refusals.answer(head))
        return True
