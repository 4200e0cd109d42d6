"""What happens around every request: its id, its duration, its errors as problems, its log line."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Middleware

from quota_service.api.context import ApiContext
from quota_service.api.entry import admitted, refuse_unfit, work_of_route
from quota_service.api.errors import ClientLeft, answer_to
from quota_service.api.express import CLIENT_GONE, REQUEST_ID_HEADER, request_id
from quota_service.api.on_aiohttp import read_body
from quota_service.api.problems import problem_response
from quota_service.api.rates import RATE, charged, take_of_address
from quota_service.api.read_in_turn import ReadInTurn
from quota_service.domain.errors import QuotaError
from quota_service.observability.logs import KEY_ID, REQUEST_ID
from quota_service.observability.metrics import Metrics
from quota_service.overload.classes import Work

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def around_requests(metrics: Metrics, context: ApiContext) -> Middleware:
    """Return the middleware; one for all, so that a request passes through one frame."""
    durations = metrics.http_duration

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        name = request_id(request.headers.get(REQUEST_ID_HEADER))
        token = REQUEST_ID.set(name)
        KEY_ID.set("")  # the task of a connection serves one request after the other
        status = CLIENT_GONE
        try:
            response = await _answer(request, handler, context)
            status = response.status
            response.headers[REQUEST_ID_HEADER] = name
            response.headers.update(request.get(RATE, ()))
            return response
        finally:
            REQUEST_ID.reset(token)
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "unmatched"
            method = request.method if request.method in _METHODS else "other"
            durations.labels(method=method, route=route, status=str(status)).observe(
                time.perf_counter() - started
            )

    return around


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


async def _answer(
    request: web.Request, handler: Handler, context: ApiContext
) -> web.StreamResponse:
    connection = cast("ReadInTurn", request.protocol)
    try:
        refuse_unfit(request)
        work = work_of_route(request)
        if request.match_info.http_exception is not None:
            take_of_address(context, request.remote or "")
        if work is Work.CONFIRM:
            # Places of this class are kept for payments. Who sends one is told by its whole body,
            # so nobody takes a place by sending half of one.
            await read_body(request, context.settings.body_max_bytes)
        return await admitted(request, work, context, handler)
    except QuotaError as error:
        return answer_to(charged(context, connection, error)).to_aiohttp()
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"this address takes {allowed}"
        return problem_response(
            "method-not-allowed", detail, headers={"Allow": allowed}
        ).to_aiohttp()
    except web.HTTPNotFound:
        return problem_response("not-found", "there is nothing at this address").to_aiohttp()
    except ClientLeft:
        return web.Response(status=CLIENT_GONE)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001  every error has its answer
        return answer_to(error).to_aiohttp()
