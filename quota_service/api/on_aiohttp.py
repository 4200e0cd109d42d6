"""Serves the routes from an application of aiohttp, which takes whatever is unusual.

A request comes here when it is for a stream, an export or a page, or when anything about it is not
plain (HTTP/1.0, `Connection: close`, chunks, an encoded body, a wrong address). The handlers
of JSON calls are those of `json_calls`, and the checks before them the same; there is no queue. Its
connection ends behind the answer.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from aiohttp import web
from aiohttp.typedefs import Middleware

from quota_service.api import pages, service
from quota_service.api.context import CONTEXT, ApiContext
from quota_service.api.json_calls import CLIENT_GONE, REFUSAL
from quota_service.api.problems import PROBLEMS, answer_to
from quota_service.api.routes import ROUTES, AiohttpHandler, AiohttpOnly, JsonHandler, Route
from quota_service.awaited import IS_AWAITED
from quota_service.domain.errors import Overloaded
from quota_service.http.application import BODY_MAX_BYTES
from quota_service.http.errors import (
    BodyTooSlow,
    ClientLeft,
    ContentEncodingRefused,
    MalformedJson,
    MalformedRequest,
    PayloadTooLarge,
)
from quota_service.http.priority import Priority
from quota_service.http.request import Request
from quota_service.http.request_id import REQUEST_ID_HEADER, request_id
from quota_service.http.response import Response
from quota_service.observability.caller import PROVIDER
from quota_service.observability.logs import KEY_ID, REQUEST_ID
from quota_service.observability.metrics import Metrics

_ASKED = web.RequestKey("asked", Request)
"""Under which an aiohttp request keeps ours, for the log."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


def add_routes(app: web.Application, routes: Iterable[Route]) -> None:
    """Register every route, the files of the documents, and the pages."""
    if app[CONTEXT].cors.is_on:
        app.on_response_prepare.append(_tell_origin)
    for route in routes:
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            app.router.add_route(method, route.path, _checked(route))
    service.add_files(app)
    pages.add_pages(app)


def around_requests(metrics: Metrics) -> Middleware:
    """Return the middleware: a request's id, its duration, its errors as problems."""
    durations = metrics.http_duration

    @web.middleware
    async def around(request: web.Request, handler: AiohttpHandler) -> web.StreamResponse:
        started_s = time.perf_counter()
        name = request_id(request.headers.get(REQUEST_ID_HEADER))
        REQUEST_ID.set(name)
        KEY_ID.set("")
        status = CLIENT_GONE
        try:
            response = await _answered(request, handler)
            status = response.status
            if not response.prepared:
                response.headers[REQUEST_ID_HEADER] = name
                response.force_close()
            return response
        finally:
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "unmatched"
            method = request.method if request.method in _METHODS else "other"
            durations.labels(method=method, route=route, status=str(status)).observe(
                time.perf_counter() - started_s
            )

    return around


def on_aiohttp(handler: JsonHandler) -> AiohttpHandler:
    """Return a handler as aiohttp calls it, for a port without keys and limits."""

    async def handle(asked: web.Request) -> web.StreamResponse:
        context = asked.app[CONTEXT]
        return (await _response(context, handler, _request(asked))).to_aiohttp()

    return handle


async def read_body(asked: web.Request, max_bytes: int) -> bytes:
    """Return the body; PayloadTooLarge over the limit, before it is read when its length is given.

    Raises MalformedJson for one that does not decode, BodyTooSlow for one that does not come (its
    place at work is not to be kept for nothing), and ClientLeft when its end never came, or when
    the client left: no store was called yet.
    """
    if asked.content_length is not None and asked.content_length > max_bytes:
        raise PayloadTooLarge(max_bytes)
    if max_bytes >= asked.client_max_size:
        asked = asked.clone(client_max_size=max_bytes + 1)
    try:
        if asked.content.is_eof():
            body = await asked.read()
        else:
            async with asyncio.timeout(asked.app[CONTEXT].settings.request_timeout_s):
                body = await asked.read()
    except TimeoutError as error:
        raise BodyTooSlow("the body did not arrive in time") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise PayloadTooLarge(max_bytes) from error
    except web.RequestPayloadError as error:
        raise MalformedJson("the body does not decode as its headers say") from error
    except ConnectionError as error:
        raise ClientLeft from error
    if _has_left(asked):
        raise ClientLeft
    if len(body) > max_bytes:
        raise PayloadTooLarge(max_bytes)
    return body


async def _answered(asked: web.Request, handler: AiohttpHandler) -> web.StreamResponse:
    try:
        _refuse_unfit(asked)
        return await handler(asked)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(_allowed(asked.path) or error.allowed_methods))
        detail = f"this address takes {allowed}"
        headers = {"Allow": allowed}
        return PROBLEMS["method-not-allowed"].response(detail, headers=headers).to_aiohttp()
    except web.HTTPNotFound:
        return PROBLEMS["not-found"].response("there is nothing at this address").to_aiohttp()
    except ClientLeft:
        return web.Response(status=CLIENT_GONE)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001  every error has its answer
        request = asked.get(_ASKED) or _request(asked)
        return answer_to(error, asked.app[CONTEXT].refusals, request).to_aiohttp()


def _allowed(path: str) -> set[str]:
    """Return the methods of an address: of the routes that fit it, those with most words of it."""
    words = path.split("/")
    fit = [
        (sum(map(str.__eq__, parts, words)), route.method)
        for route in ROUTES
        if len(parts := route.path.split("/")) == len(words)
        and all(part == word or part[:1] == "{" for part, word in zip(parts, words, strict=True))
    ]
    most = max((count for count, _ in fit), default=0)
    methods = {method for count, method in fit if count == most}
    return methods | ({"HEAD"} if "GET" in methods else set())


def _refuse_unfit(asked: web.Request) -> None:
    """Refuse what no call takes, before its class, its key or its size is looked at.

    Raises MalformedRequest for a target with a fragment, which is no part of one (RFC 9112, 3.2)
    and would be seen by one reader of an address and not by another; ContentEncodingRefused for an
    encoded body, of which a small one can become arbitrarily large.
    """
    if "#" in asked.raw_path:
        raise MalformedRequest("the target of a request has no fragment: leave out # and the rest")
    if "Content-Encoding" in asked.headers:
        raise ContentEncodingRefused("the body must not be encoded; send no Content-Encoding")


def _checked(route: Route) -> AiohttpHandler:
    """Return the handler of a route behind its checks; nothing is read before that of the key."""
    priority = route.priority

    async def handle(asked: web.Request) -> web.StreamResponse:
        context = asked.app[CONTEXT]
        request = asked[_ASKED] = _request(asked)
        route.authorize(context, request)
        if isinstance(route.handler, AiohttpOnly):
            with _at_work(asked, context, priority):
                return await route.handler.handler(asked)
        # A request whose body is incomplete is not counted as in progress.
        request.body = await read_body(asked, route.body_max_bytes or BODY_MAX_BYTES)
        if route.verify is not None:
            request.event = route.verify(context, request)
            KEY_ID.set(PROVIDER)
        answer = partial(route.answer, route.handler)
        with _at_work(asked, context, priority):
            response = await _response(context, answer, request, is_long=route.is_long)
            return response.to_aiohttp()

    return handle


async def _tell_origin(asked: web.Request, response: web.StreamResponse) -> None:
    """Tell the browser of a page whether its origin may read the answer."""
    told = dict(asked.app[CONTEXT].cors.headers(asked.headers.get("Origin")))
    others = [vary] if (vary := response.headers.get("Vary")) else []
    response.headers.update({**told, "Vary": ", ".join([*others, told["Vary"]])})


def _request(asked: web.Request) -> Request:
    """Return a request whose body is still to be read."""
    address = asked.remote or ""
    return Request(asked.match_info, asked.headers, b"", lambda: asked.query, address)


async def _response(
    context: ApiContext, handler: JsonHandler, request: Request, *, is_long: bool = False
) -> Response:
    response = handler(context, request)
    if isinstance(response, Response):
        return response
    return await context.in_flight.run(response, is_long=is_long)


@contextmanager
def _at_work(asked: web.Request, context: ApiContext, priority: Priority) -> Iterator[None]:
    """Count a request as in progress; raises Overloaded, and ClientLeft when its client left."""
    limiter = context.limiter
    if not limiter.acquire(priority):
        limiter.count_refusal(priority)
        raise Overloaded(REFUSAL)
    started_s = time.perf_counter()

    def is_awaited() -> bool:
        if _has_left(asked):
            limiter.count_refusal(priority, "caller_left")
            return False
        if time.perf_counter() - started_s > context.settings.request_timeout_s:
            limiter.count_refusal(priority, "deadline")
            return False
        return True

    IS_AWAITED.set(is_awaited)
    try:
        if _has_left(asked):
            limiter.count_refusal(priority, "caller_left")
            raise ClientLeft
        yield
    finally:
        limiter.release(priority, time.perf_counter() - started_s)


def _has_left(asked: web.Request) -> bool:
    """Return whether the client has closed its connection."""
    transport = asked.transport
    return transport is None or transport.is_closing()
