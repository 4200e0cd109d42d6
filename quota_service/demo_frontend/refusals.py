"""What browsers are told where the service refuses a call that was made for them, or is away."""

from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from quota_service.client import NoAnswer, ProblemError


@web.middleware
async def answer_refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer a refusal as the service has told it, and 503 where there was no answer."""
    try:
        return await handler(request)
    except ProblemError as problem:
        body = orjson.dumps(problem.document)
        kind = "application/problem+json"
        return web.Response(body=body, status=problem.status, content_type=kind)
    except NoAnswer:
        return web.Response(status=503)
