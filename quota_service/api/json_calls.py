"""Answers the plain requests of connections: the JSON calls, from their key to their bytes.

    1. the route is found by method and target
    2. when the fair queue is full it is refused, if its class may be
    3. the key is looked at, or the signature of a payment callback; what has none is answered
    4. the request waits in the fair queue, payments first
    5. it is counted as in progress, or refused by the limit of its class
    6. the handler answers from memory, or begins a use case, which goes on if the client leaves
    7. the place is free, the duration counted, the answer sent

A caller that has gone, or has waited longer than a request may, is noticed before 5 and once more
just before a store is asked. Nothing is refused behind that: it may have happened.
"""

import asyncio
import functools
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from prometheus_client import Histogram
from yarl import URL

from quota_service.api.context import ApiContext
from quota_service.api.problems import PROBLEMS, answer_for, answer_to
from quota_service.api.routes import AiohttpOnly, JsonHandler, Route
from quota_service.awaited import IS_AWAITED
from quota_service.http.application import BODY_MAX_BYTES, Client, PlainRequest
from quota_service.http.errors import BodyTooSlow, MalformedRequest
from quota_service.http.heads import Heads
from quota_service.http.priority import CAN_WAIT, Priority
from quota_service.http.problems import RETRY_AFTER_S
from quota_service.http.request import Request
from quota_service.http.request_id import request_id
from quota_service.http.response import Response
from quota_service.observability.caller import PROVIDER
from quota_service.observability.logs import KEY_ID, REQUEST_ID, OnceASecond
from quota_service.observability.metrics import Metrics

log = logging.getLogger(__name__)

REFUSAL = "too many requests are in progress; this one was not started"
CLIENT_GONE = 499
"""The status metrics show for a request whose client left before the answer."""

_FOUND_MAX = 1000
"""Addresses remembered with their route; the one used least recently goes first."""


@dataclass(slots=True, eq=False)
class _Call:
    """A JSON call: its route, and the fixed and variable parts of its address by position."""

    route: Route
    handler: JsonHandler
    fixed: tuple[tuple[int, str], ...]
    names: tuple[tuple[int, str], ...]
    durations: dict[int, Histogram] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Found:
    """A call, and the variable parts of the address it was called by."""

    call: _Call
    params: Mapping[str, str]


class JsonCalls:
    """What answers the plain requests of a process."""

    def __init__(
        self,
        context: ApiContext,
        routes: Sequence[Route],
        metrics: Metrics,
        by_aiohttp: Callable[[], asyncio.Protocol],
    ) -> None:
        """`by_aiohttp` makes what serves a connection that has more than plain requests."""
        settings = context.settings
        self.context = context
        self.body_max_bytes = BODY_MAX_BYTES
        self.head_timeout_s = settings.head_timeout_s
        self.body_timeout_s = settings.request_timeout_s
        self.idle_timeout_s = settings.idle_timeout_s
        self.by_aiohttp = by_aiohttp
        self.read, self.read_later = context.queue.read, context.queue.read_later
        self._durations = metrics.http_duration
        metrics.requests_waiting.set_function(lambda: len(context.queue))
        self._heads = Heads()
        self._calls: dict[tuple[bytes, int], list[_Call]] = {}
        self._found = functools.lru_cache(_FOUND_MAX)(self._find)
        self._malformed_lines = OnceASecond()
        low, high = RETRY_AFTER_S
        refusal = PROBLEMS["overloaded"].response(REFUSAL, part="service")
        self._overloaded = [
            replace(refusal, headers=(("Retry-After", str(after_s)),))
            for after_s in range(low, high + 1)
        ]
        for route in routes:
            self._add(route)

    def find(self, method: bytes, target: str) -> _Found | None:
        """Return the call for an address of the table; None leaves it to aiohttp."""
        return None if "#" in target else self._found(method, target.partition("?")[0])

    def has_end(self, target: str) -> bool:
        """Return whether an answer of aiohttp has an end."""
        return not target.partition("?")[0].endswith(("/stream", "/v1/events"))

    def take(self, client: Client, plain: PlainRequest) -> None:
        """Let a request wait for its turn, or answer it at once."""
        call: _Call = plain.found.call
        route, queue = call.route, self.context.queue
        if route.priority in CAN_WAIT and queue.is_full:
            # Before anything is made or looked at: at a rush most of the work would be refusing.
            self.context.limiter.count_refusal(route.priority, "queue")
            self.context.refusals.count("overloaded")
            self.observe(call, HTTPStatus.SERVICE_UNAVAILABLE, 0)
            self.send(client, plain, self.refusal(), request_id(plain.offered_id))
            return
        taken = _Taken(self, client, call, plain)
        REQUEST_ID.set(taken.name)
        KEY_ID.set("")
        try:
            goes_first = taken.check()
        except Exception as error:  # noqa: BLE001  every error has its answer
            taken.end(None, error)
            return
        if route.priority is Priority.FREE:
            taken.begin()
        else:
            queue.put(taken.begin, goes_first=goes_first)

    def refuse_malformed(self, client: Client, cause: str) -> None:
        """Answer what is no request, as the connection's last."""
        name = request_id(None)
        token = REQUEST_ID.set(name)
        if count := self._malformed_lines.count():
            log.info("malformed", extra={"cause": cause, "count": count})
        REQUEST_ID.reset(token)
        response = answer_for(MalformedRequest(cause))
        status = str(response.status)
        self._durations.labels(method="other", route="unmatched", status=status).observe(0)
        client.answer(self._heads.bytes_of(response, name, is_last=True), is_last=True)

    def refuse_slow(self, client: Client, plain: PlainRequest) -> None:
        """Answer a request whose body does not come, as the connection's last."""
        response = answer_for(BodyTooSlow("the body did not arrive in time"))
        self.observe(plain.found.call, response.status, self.body_timeout_s)
        more = self.context.cors.headers(plain.origin)
        data = self._heads.bytes_of(response, request_id(plain.offered_id), is_last=True, more=more)
        client.answer(data, is_last=True)

    def refusal(self) -> Response:
        """Return the answer to what is too much; Retry-After is drawn evenly for each."""
        return random.choice(self._overloaded)  # noqa: S311

    def send(self, client: Client, plain: PlainRequest, response: Response, name: str) -> None:
        """Send an answer; while the service shuts down, as the connection's last."""
        is_last = self.context.health.is_draining
        more = self.context.cors.headers(plain.origin)
        data = self._heads.bytes_of(response, name, is_last=is_last, more=more)
        client.answer(data, is_last=is_last)

    def observe(self, call: _Call, status: int, seconds: float) -> None:
        """Count an answered request."""
        child = call.durations.get(status)
        if child is None:
            route = call.route
            child = self._durations.labels(
                method=route.method, route=route.path, status=str(status)
            )
            call.durations[status] = child
        child.observe(seconds)

    def _find(self, method: bytes, path: str) -> _Found | None:
        if "%" in path or "//" in path or "{" in path:
            return None
        parts = path.split("/")
        for call in self._calls.get((method, len(parts)), ()):
            if all(parts[i] == part for i, part in call.fixed):
                return _Found(call, {name: parts[i] for i, name in call.names})
        return None

    def _add(self, route: Route) -> None:
        if isinstance(route.handler, AiohttpOnly):
            return
        parts = route.path.split("/")
        names = [(i, part[1:-1]) for i, part in enumerate(parts) if part.startswith("{")]
        fixed = [(i, part) for i, part in enumerate(parts) if not part.startswith("{")]
        calls = self._calls.setdefault((route.method.encode(), len(parts)), [])
        calls.append(_Call(route, route.handler, tuple(fixed), tuple(names)))


class _Taken:
    """A request from its last byte to its answer."""

    __slots__ = (
        "_begun_s",
        "_call",
        "_calls",
        "_client",
        "_is_in",
        "_key_id",
        "_plain",
        "_request",
        "_started_s",
        "name",
    )

    def __init__(self, calls: JsonCalls, client: Client, call: _Call, plain: PlainRequest) -> None:
        self._calls = calls
        self._client = client
        self._call = call
        self._plain = plain
        self.name = request_id(plain.offered_id)
        self._key_id = ""
        self._is_in = False
        self._started_s = self._begun_s = time.perf_counter()
        self._request = Request(
            plain.found.params,
            plain.read_headers(),
            plain.body,
            lambda: URL.build(query_string=plain.target.partition("?")[2], encoded=True).query,
            client.address,
        )

    def check(self) -> bool:
        """Raise the refusal of the caller, if any; return whether the request goes first."""
        context, request, route = self._calls.context, self._request, self._call.route
        self._key_id = route.authorize(context, request)
        if route.verify is None:
            return False
        request.event = route.verify(context, request)
        self._key_id = PROVIDER
        return True

    def begin(self) -> None:
        """Begin the work, or refuse it."""
        if self.is_gone():
            self._calls.observe(self._call, CLIENT_GONE, time.perf_counter() - self._started_s)
            return
        if not self.is_in_time():
            self.refuse(None)
            return
        context, route = self._calls.context, self._call.route
        if not context.limiter.acquire(route.priority):
            self.refuse("limit")
            return
        self._is_in = True
        self._begun_s = time.perf_counter()
        # Tasks begun from here inherit these; the next request sets its own.
        REQUEST_ID.set(self.name)
        KEY_ID.set(self._key_id)
        IS_AWAITED.set(self.is_awaited)
        try:
            response = route.answer(self._call.handler, context, self._request)
            if not isinstance(response, Response):
                context.in_flight.start(response, self.end, is_long=route.is_long)
                return
        except Exception as error:  # noqa: BLE001  every error has its answer
            self.end(None, error)
        else:
            self.end(response, None)

    def refuse(self, reason: str | None) -> None:
        """Answer that it is too much; nothing was begun."""
        if reason is not None:
            self._calls.context.limiter.count_refusal(self._call.route.priority, reason)
        self._calls.context.refusals.count("overloaded")
        self._finish(self._calls.refusal())

    def end(self, response: Response | None, error: BaseException | None) -> None:
        """Free the place and answer."""
        if self._is_in:  # first of all: whatever goes wrong below, the place is free
            self._is_in = False
            elapsed_s = time.perf_counter() - self._begun_s
            self._calls.context.limiter.release(self._call.route.priority, elapsed_s)
        if response is None:
            # What gives a request up after its time does so in the context of another one.
            REQUEST_ID.set(self.name)
            KEY_ID.set(self._key_id)
            response = answer_to(error, self._calls.context.refusals, self._request)
        self._finish(response)

    def is_awaited(self) -> bool:
        """Return whether its caller is there, and there is time; what has neither is counted."""
        return not self.is_gone() and self.is_in_time()

    def is_gone(self) -> bool:
        """Return whether its caller has left, and count it."""
        if self._client.is_gone:
            self._calls.context.limiter.count_refusal(self._call.route.priority, "caller_left")
            return True
        return False

    def is_in_time(self) -> bool:
        """Return whether it has waited for less than a request may, and count it if not."""
        context = self._calls.context
        if time.perf_counter() - self._started_s > context.settings.request_timeout_s:
            context.limiter.count_refusal(self._call.route.priority, "deadline")
            return False
        return True

    def _finish(self, response: Response) -> None:
        # Counted first, so that every answer is in the metrics, even if the process dies here.
        calls, is_gone = self._calls, self._client.is_gone
        elapsed_s = time.perf_counter() - self._started_s
        calls.observe(self._call, CLIENT_GONE if is_gone else response.status, elapsed_s)
        if not is_gone:
            calls.send(self._client, self._plain, response, self.name)
