"""Lets a request in that comes aiohttp's way, before anything of it is done."""

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from aiohttp import web

from quota_service.api.context import ApiContext
from quota_service.api.errors import ClientLeft, ContentEncodingRefused, MalformedRequest
from quota_service.domain.errors import Overloaded
from quota_service.overload.caller import IS_AWAITED
from quota_service.overload.classes import Work

REFUSAL = "too much is at work already; the request was not begun"
WORK: web.AppKey[Mapping[tuple[str, str], Work]] = web.AppKey("work", Mapping)
"""The class of work of each route, by method and path as the table of routes has them."""


def refuse_unfit(request: web.Request) -> None:
    """Refuse what no call takes, before its class, its key, its size or its rate is looked at.

    Raises MalformedRequest for a target with a fragment, which is no part of one (RFC 9112, 3.2)
    and would be seen by one reader of an address and not by another; ContentEncodingRefused for an
    encoded body, of which a small one can become arbitrarily large.
    """
    if "#" in request.raw_path:
        raise MalformedRequest("the target of a request has no fragment: leave out # and the rest")
    if "Content-Encoding" in request.headers:
        raise ContentEncodingRefused("the body must not be encoded; send no Content-Encoding")


def work_of_route(request: web.Request) -> Work:
    """Return the class of the route that was found; what has none is a public read."""
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else ""
    return request.app[WORK].get((request.method, path), Work.PUBLIC_READ)


async def admitted(
    request: web.Request,
    work: Work,
    context: ApiContext,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Return the handler's answer; the request has its place at work meanwhile.

    Raises Overloaded when it is too much, and ClientLeft when nobody is there to be answered.
    """
    gate = context.gate
    if not gate.enter(work):
        gate.count_refusal(work)
        raise Overloaded(REFUSAL)
    started = time.perf_counter()
    IS_AWAITED.set(partial(is_awaited, request.protocol, context, work, started))
    try:
        if has_left(request):
            gate.count_refusal(work, "caller_left")
            raise ClientLeft
        return await handler(request)
    finally:
        gate.leave(work, time.perf_counter() - started)


def is_awaited(
    protocol: web.RequestHandler, context: ApiContext, work: Work, started: float
) -> bool:
    """Return whether a request still has its caller, and time; what has not is counted."""
    transport = protocol.transport
    if transport is None or transport.is_closing():
        context.gate.count_refusal(work, "caller_left")
        return False
    if time.perf_counter() - started > context.settings.request_timeout_s:
        context.gate.count_refusal(work, "deadline")
        return False
    return True


def has_left(request: web.Request) -> bool:
    """Return whether the client has closed its connection."""
    transport = request.transport
    return transport is None or transport.is_closing()
