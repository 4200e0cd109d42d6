"""The express lane: hot calls are answered from the connection's own callback.

aiohttp gives every request a task, a request object, a walk through routes and middlewares and a
response object; for the calls of an opening that is most of the time a request takes. So a request
that is plain (HTTP/1.1, whole, nothing unusual about it) and that a hot route is for is taken out
of aiohttp's queue as soon as its parser has read it, and the answer is written as bytes. Everything
else goes aiohttp's way, with the same handlers, the same problems and the same metrics.

aiohttp's protocol class is extended here, in `read_in_turn` and in `gated`. What is relied on
beyond its public face, as of aiohttp 3.14: how it pauses reading (`_pause_transport_reading`,
`_resume_transport_reading`) and what for (`_reading_paused`, `_buffer_paused`); the queue
`_messages`, the future `_waiter` its loop sleeps on and `_current_request`; what shutdown looks at
(`_request_in_progress`, `_handler_waiter`, `_close`, `_force_close`); the timer of idle ones
(`_keepalive_handle`, `_next_keepalive_close_time`, `_process_keepalive`). Requests of one
connection are answered in order: while one is on the express lane, what comes after it is held.
"""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import InvalidHeader, InvalidURLError, LineTooLong
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import _ErrInfo
from prometheus_client import Histogram

from quota_service.api.auth import exam_in
from quota_service.api.bodies import within
from quota_service.api.context import ApiContext
from quota_service.api.entry import REFUSAL, is_awaited
from quota_service.api.errors import MalformedRequest, Unauthorized, answer_for, answer_to
from quota_service.api.rates import Fields, charged, take_of_address, take_of_key
from quota_service.api.read_in_turn import ReadInTurn
from quota_service.api.turns import Turns
from quota_service.domain.errors import Overloaded
from quota_service.http.request import Handler, Request
from quota_service.http.response import Response
from quota_service.ledger.api_keys import Scope
from quota_service.observability.logs import KEY_ID, REQUEST_ID, OnceASecond
from quota_service.overload.caller import IS_AWAITED
from quota_service.overload.classes import Work

log = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
CLIENT_GONE = 499
"""The status metrics show for a request whose client left before the answer."""

_FOUND_MAX = 1000
"""Addresses remembered with their route; more are taken apart each time."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_NO_HTTP = "the request is not well-formed HTTP/1.1"
_MALFORMED: tuple[tuple[type[BaseException], str], ...] = (
    (LineTooLong, "a line of the head is too long"),
    (InvalidHeader, "a header is malformed"),
    (InvalidURLError, "the target is not an address"),
)
"""What is said of the mistakes that aiohttp tells apart."""
_PROCESS = secrets.token_hex(4)
_numbers = itertools.count(1)


def request_id(offered: str | None) -> str:
    """Return the id a client gave its request when it is fit to be logged, else a new one."""
    if offered and _REQUEST_ID.fullmatch(offered):
        return offered
    return f"{_PROCESS}{next(_numbers):08x}"


@dataclass(frozen=True, slots=True)
class Hot:
    """Marks the handler of a call that thousands make at once.

    `is_simple` says that its coroutine waits for nothing but the answers of Redis.
    """

    handler: Handler[ApiContext]
    is_simple: bool = False


@dataclass(slots=True, eq=False)
class HotRoute:
    """One hot call: the fixed and the variable parts of its address, by position."""

    method: str
    path: str
    hot: Hot
    scope: Scope | None
    work: Work
    fixed: tuple[tuple[int, str], ...]
    names: tuple[tuple[int, str], ...]
    durations: dict[int, Histogram] = field(default_factory=dict)


class ExpressLane:
    """The hot routes of an application, and what their requests need."""

    def __init__(self, context: ApiContext, durations: Histogram) -> None:
        self.context = context
        self._durations = durations
        self._routes: dict[tuple[str, int, str], HotRoute] = {}
        self._found: dict[tuple[str, str], tuple[HotRoute, Mapping[str, str]]] = {}
        self._head: dict[tuple[int, str], str] = {}
        self._head_date = ""
        self._malformed_lines = OnceASecond()

    def add(self, method: str, path: str, hot: Hot, scope: Scope | None, work: Work) -> None:
        """Add a route; its address ends in a fixed part, by which it is found."""
        parts = path.split("/")
        named = [(i, part[1:-1]) for i, part in enumerate(parts) if part.startswith("{")]
        fixed = [(i, part) for i, part in enumerate(parts) if not part.startswith("{")]
        key = (method, len(parts), parts[-1])
        if parts[-1].startswith("{") or key in self._routes:
            raise ValueError(f"{method} {path} cannot be told by its last part")
        self._routes[key] = HotRoute(method, path, hot, scope, work, tuple(fixed), tuple(named))

    def find(self, method: str, path: str) -> tuple[HotRoute, Mapping[str, str]] | None:
        """Return the route for an address and its variable parts; None sends it aiohttp's way."""
        path = path.partition("?")[0]
        found = self._found.get((method, path))
        if found is not None:
            return found
        parts = path.split("/")
        route = self._routes.get((method, len(parts), parts[-1]))
        if route is None or "%" in path:
            return None
        for i, part in route.fixed:
            if parts[i] != part:
                return None
        found = route, {name: parts[i] for i, name in route.names}
        if len(self._found) < _FOUND_MAX:
            self._found[method, path] = found
        return found

    def observe(self, route: HotRoute, status: int, seconds: float) -> None:
        """Count an answered request."""
        child = route.durations.get(status)
        if child is None:
            child = self._durations.labels(
                method=route.method, route=route.path, status=str(status)
            )
            route.durations[status] = child
        child.observe(seconds)

    def refuse_malformed(self, error: BaseException | None) -> web.Response:
        """Return the answer to what the parser refused; nothing it quotes of that is repeated."""
        name = request_id(None)
        token = REQUEST_ID.set(name)
        if count := self._malformed_lines.count():
            log.info("malformed", extra={"cause": type(error).__name__, "count": count})
        REQUEST_ID.reset(token)
        wrong = next((text for kind, text in _MALFORMED if isinstance(error, kind)), _NO_HTTP)
        response = answer_for(MalformedRequest(wrong)).to_aiohttp()
        status = str(response.status)
        self._durations.labels(method="other", route="unmatched", status=status).observe(0)
        response.headers[REQUEST_ID_HEADER] = name
        response.force_close()
        return response

    def head(self, status: int, content_type: str) -> str:
        """Return the status line and the headers that answers of one kind share for a second."""
        date = rfc822_formatted_time()
        if date != self._head_date:
            self._head.clear()
            self._head_date = date
        head = self._head.get((status, content_type))
        if head is None:
            reason = web.Response(status=status).reason
            head = f"HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nServer: {SERVER_SOFTWARE}\r\n"
            if content_type:
                head += f"Content-Type: {content_type}\r\n"
            self._head[status, content_type] = head
        return head


EXPRESS: web.AppKey[ExpressLane] = web.AppKey("express", ExpressLane)


class ExpressProtocol(ReadInTurn):
    """A connection whose plain hot requests do not wait in aiohttp's queue."""

    __slots__ = ("_held", "_is_busy", "_lane")

    def __init__(
        self, lane: ExpressLane, turns: Turns, manager: web.Server, **options: Any
    ) -> None:
        super().__init__(turns, manager, **options)
        self._lane = lane
        self._is_busy = False
        self._held: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        """Take a request out if it is for the express lane; let aiohttp have all others."""
        if self._is_busy:
            if data:  # reading a body makes aiohttp look for more, with nothing in hand
                self._hold(data)
            return
        waiter = self._waiter
        if waiter is None or self._messages:
            super().data_received(data)
            return
        # aiohttp's loop sleeps on the waiter. It is not woken before we have looked.
        self._waiter = None
        try:
            super().data_received(data)
        finally:
            if self._waiter is None:
                self._waiter = waiter
        if (
            self._messages
            and not (len(self._messages) == 1 and self._begin())
            and not waiter.done()
        ):
            waiter.set_result(None)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what the parser refuses as every other refusal is answered."""
        if status != web.HTTPBadRequest.status_code:
            return super().handle_error(request, status, exc, message)
        return self._lane.refuse_malformed(exc)

    def pause_writing(self) -> None:
        """Read no more from a client that does not read its answers."""
        super().pause_writing()
        self._pause_transport_reading()

    def resume_writing(self) -> None:
        """Read again, unless something else stands against it."""
        super().resume_writing()
        self._go_on()

    def _hold(self, data: bytes) -> None:
        """Keep what came before its turn; more is not read until then."""
        self._held.append(data)
        self._pause_transport_reading()

    def _go_on(self) -> None:
        """Take up what was held, unless something else still stands against reading."""
        if self._is_busy or self.writing_paused:
            return
        if not (self._reading_paused or self._buffer_paused):
            self._resume_transport_reading()
        if self._held:
            held, self._held = b"".join(self._held), []
            self.data_received(held)

    def _begin(self) -> bool:
        """Begin the request that waits, if it is one for this lane."""
        message, payload = self._messages[0]
        if isinstance(message, _ErrInfo):  # what could not be parsed
            return False
        found = self._lane.find(message.method, message.path)
        if found is None or not _is_plain(message, payload):
            return False
        if self._manager is None or self._parser is None:
            return False
        started = time.perf_counter()
        self._keep_alive()
        self._messages.clear()
        self._parser.message_consumed()
        self._manager.requests_count += 1
        self._is_busy = self._request_in_progress = True
        route, params = found
        self.is_paying &= route.work is Work.CONFIRM
        headers = message.headers
        name = request_id(headers.get(REQUEST_ID_HEADER))
        # Tasks begun from here inherit it; the next request on this connection sets its own.
        REQUEST_ID.set(name)
        KEY_ID.set("")
        context = self._lane.context
        is_in = context.gate.enter(route.work)
        rate: Fields = ()
        try:
            if not is_in:
                context.gate.count_refusal(route.work)
                raise Overloaded(REFUSAL)  # noqa: TRY301  answered as every other error is
            rate = self._check(route, params, headers)
            body = within(payload.read_nowait(), context.settings.body_max_bytes)
            address = self.peername[0] if self.peername else ""
            request = Request(params, headers, body, lambda: message.url.query, address)
            answer = route.hot.handler(context, request)
            if route.work is Work.CONFIRM:  # its signature is valid
                self.is_paying, self.is_failing = True, False
            if not isinstance(answer, Response):
                finish = partial(self._finish, route, name, started, is_in, rate)
                IS_AWAITED.set(partial(is_awaited, self, context, route.work, started))
                context.under_way.start(answer, finish, is_simple=route.hot.is_simple)
                return True
        except Exception as error:  # noqa: BLE001  every error has its answer
            self.is_paying &= not isinstance(error, Unauthorized)
            answered = charged(context, self, error)
            self._finish(route, name, started, is_in, rate, None, answered)
        else:
            self._finish(route, name, started, is_in, rate, answer, None)
        return True

    def _keep_alive(self) -> None:
        """Count the time of an idle connection from now."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout

    def _check(
        self, route: HotRoute, params: Mapping[str, str], headers: Mapping[str, str]
    ) -> Fields:
        """Raise what stands against a caller's request; return what to tell of its rate."""
        context = self._lane.context
        if route.scope is not None:
            authorization = headers.get("Authorization")
            key_id = context.keys.authorize(authorization, route.scope, exam_in(params))
            self.is_failing = False
            return take_of_key(context, key_id)
        if route.work is Work.PUBLIC_READ:
            take_of_address(context, self.address)
        return ()

    def _finish(  # noqa: PLR0917  bound by position, as an end is told
        self,
        route: HotRoute,
        name: str,
        started: float,
        is_in: bool,  # noqa: FBT001
        rate: Fields,
        answer: Response | None,
        error: BaseException | None,
    ) -> None:
        """Have the answer ready, to be sent with those of the other requests of this turn."""
        elapsed_s = time.perf_counter() - started
        if is_in:  # first of all: whatever goes wrong below, the place is free
            self._lane.context.gate.leave(route.work, elapsed_s)
        if answer is None:
            answer = answer_to(error)
        if rate:
            answer.headers += rate
        transport = self.transport
        if transport is None or transport.is_closing():
            self._lane.observe(route, CLIENT_GONE, elapsed_s)
        else:
            # Counted first: whoever has an answer finds it in the metrics, even if we die here.
            self._lane.observe(route, answer.status, elapsed_s)
            self.answer_soon(self._bytes(answer, name))
            return
        self.answer_sent()

    def answer_sent(self) -> None:
        """Go on with what was held meanwhile."""
        transport = self.transport
        self._is_busy = self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if not self._held:
            self._close_behind_last()
        if self._close or self._force_close:
            if transport is not None:
                transport.close()
            return
        if self._held:
            self._go_on()

    def _bytes(self, answer: Response, name: str) -> bytes:
        """Return an answer as it goes over the wire."""
        head = self._lane.head(answer.status, answer.content_type if answer.body else "")
        for header in answer.headers:
            head += f"{header[0]}: {header[1]}\r\n"
        if answer.status != web.HTTPNotModified.status_code:
            head += f"Content-Length: {len(answer.body)}\r\n"
        return f"{head}{REQUEST_ID_HEADER}: {name}\r\n\r\n".encode() + answer.body


def _is_plain(message: RawRequestMessage, payload: StreamReader) -> bool:
    """Return whether nothing about a request needs more than its bytes, which are all here."""
    return (
        message.version == HttpVersion11
        and payload.is_eof()
        and not (message.should_close or message.chunked or message.upgrade)
        and payload.exception() is None
        and "#" not in message.path
        and "Content-Encoding" not in message.headers
        and "Expect" not in message.headers
    )
