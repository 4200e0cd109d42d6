"""Serves the routes from an application of aiohttp, which takes whatever is unusual."""

import asyncio
from typing import cast

from aiohttp import web

from quota_service.api import documents
from quota_service.api.bodies import within
from quota_service.api.context import CONTEXT
from quota_service.api.entry import WORK, has_left
from quota_service.api.errors import BodyTooSlow, ClientLeft, MalformedJson, PayloadTooLarge
from quota_service.api.rates import RATE, take_of_address, take_of_key
from quota_service.api.read_in_turn import ReadInTurn
from quota_service.api.routes import ROUTES, AiohttpHandler, AiohttpOnly, JsonHandler, Route
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.overload.classes import Work


def add_routes(app: web.Application) -> None:
    """Register every route, and the files of the documents."""
    works = {}
    for route in ROUTES:
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            app.router.add_route(method, route.path, _behind_checks(route))
            works[method, route.path] = route.work
    app[WORK] = works
    documents.add_files(app)


def _behind_checks(route: Route) -> AiohttpHandler:
    """Return the handler of a route behind the check of its key; nothing is read before that."""
    if isinstance(route.handler, AiohttpOnly):
        handler = route.handler.handler
    else:
        handler = on_aiohttp(
            route.handler,
            route.body_max_bytes,
            is_long=route.is_long,
            is_signed=route.work is Work.CONFIRM,
        )

    async def checked(asked: web.Request) -> web.StreamResponse:
        context = asked.app[CONTEXT]
        if route.scope is not None:
            exam = route.exam_named(asked.match_info, lambda: asked.query)
            authorization = asked.headers.get("Authorization")
            key_id = context.keys.authorize(authorization, route.scope, exam)
            cast("ReadInTurn", asked.protocol).is_failing = False
            asked[RATE] = take_of_key(context, key_id)
        elif route.work is Work.PUBLIC_READ:
            take_of_address(context, asked.remote or "")
        return await handler(asked)

    return checked


def on_aiohttp(
    handler: JsonHandler,
    body_max_bytes: int | None = None,
    *,
    is_long: bool = False,
    is_signed: bool = False,
) -> AiohttpHandler:
    """Return a handler as aiohttp calls it.

    One that checks a signature gives its connection the place of those whose is valid.
    """

    async def handle(asked: web.Request) -> web.StreamResponse:
        context = asked.app[CONTEXT]
        max_bytes = body_max_bytes or context.settings.body_max_bytes
        body = await read_body(asked, max_bytes) if asked.body_exists else b""
        address = asked.remote or ""
        request = Request(asked.match_info, asked.headers, body, lambda: asked.query, address)
        response = handler(context, request)
        if is_signed:
            connection = cast("ReadInTurn", asked.protocol)
            connection.is_paying, connection.is_failing = True, False
        if not isinstance(response, Response):
            response = await context.under_way.run(response, is_long=is_long)
        return response.to_aiohttp()

    return handle


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """Return the body; PayloadTooLarge over the limit, before it is read when its length is told.

    Raises MalformedJson for one that does not decode, BodyTooSlow for one that does not come (its
    place at work is not to be kept for nothing), and ClientLeft when its end never came, or when
    nobody waits for an answer any more: nothing was asked of the stores yet.
    """
    if request.content_length is not None and request.content_length > max_bytes:
        raise PayloadTooLarge(max_bytes)
    if max_bytes >= request.client_max_size:
        request = request.clone(client_max_size=max_bytes + 1)
    try:
        if request.content.is_eof():
            body = await request.read()
        else:
            async with asyncio.timeout(request.app[CONTEXT].settings.request_timeout_s):
                body = await request.read()
    except TimeoutError as error:
        raise BodyTooSlow("the body did not arrive in time") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise PayloadTooLarge(max_bytes) from error
    except web.RequestPayloadError as error:
        raise MalformedJson("the body does not decode as its headers say") from error
    except ConnectionError as error:
        raise ClientLeft from error
    if has_left(request):
        raise ClientLeft
    return within(body, max_bytes)
