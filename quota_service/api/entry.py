"""Lets a request in that comes aiohttp's way, before anything of it is done."""

import time
from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web

from quota_service.api.context import ApiContext
from quota_service.api.errors import ClientLeft
from quota_service.domain.errors import Overloaded
from quota_service.overload.caller import IS_AWAITED
from quota_service.overload.classes import Work, work_of

REFUSAL = "too much is at work already; the request was not begun"


async def admitted(
    request: web.Request,
    context: ApiContext,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Return the handler's answer; the request has its place at work meanwhile.

    Raises Overloaded when it is too much, and ClientLeft when nobody is there to be answered.
    """
    gate = context.gate
    work = work_of(request.method.encode(), request.raw_path.encode("utf-8", "replace"))
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
