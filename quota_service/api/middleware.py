"""What happens around every request: its id, its duration, its errors as problems, its log line."""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from quota_service.api.errors import ClientLeft, answer_for
from quota_service.api.problems import problem_response
from quota_service.domain.errors import QuotaError, Unavailable
from quota_service.observability.logs import REQUEST_ID
from quota_service.observability.metrics import Metrics

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_CLIENT_GONE = 499
"""The status metrics show for a request whose client left before the answer."""


def around_requests(metrics: Metrics) -> Middleware:
    """Return the middleware; one for all, so that a request passes through one frame."""
    durations = metrics.http_duration

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        offered = request.headers.get(REQUEST_ID_HEADER, "")
        request_id = offered if _REQUEST_ID.fullmatch(offered) else secrets.token_hex(8)
        token = REQUEST_ID.set(request_id)
        status = _CLIENT_GONE
        try:
            response = await _answer(request, handler)
            status = response.status
            response.headers[REQUEST_ID_HEADER] = request_id
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


async def _answer(  # noqa: PLR0911  one line an error
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Unavailable as error:
        log.info("unavailable", extra={"part": error.part, "cause": str(error)})
        return answer_for(error)
    except QuotaError as error:
        response = answer_for(error)
        if response.status == web.HTTPInternalServerError.status_code:
            log.exception("request failed")
        return response
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"this address takes {allowed}"
        return problem_response("method-not-allowed", detail, headers={"Allow": allowed})
    except web.HTTPNotFound:
        return problem_response("not-found", "there is nothing at this address")
    except ClientLeft:
        return web.Response(status=_CLIENT_GONE)
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("request failed")
        return problem_response("internal-error", "the request id finds the cause in the logs")
