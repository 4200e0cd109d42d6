"""Serves the API and the admin port of an opened service."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web

from quota_service.api.context import CONTEXT
from quota_service.api.json_calls import JsonCalls
from quota_service.api.on_aiohttp import add_routes, around_requests, on_aiohttp
from quota_service.api.openapi import openapi_json
from quota_service.api.preflights import preflight_routes
from quota_service.api.routes import ROUTES, Route
from quota_service.api.service import (
    METRICS,
    OPENAPI,
    SeatGauges,
    get_livez,
    get_metrics,
    get_readyz,
)
from quota_service.app.opening import Service
from quota_service.app.shutdown import DrainTime
from quota_service.http.acceptor import Acceptor, bind
from quota_service.http.application import BODY_MAX_BYTES
from quota_service.http.connections import Connections
from quota_service.http.protocol import HEAD_MAX_BYTES
from quota_service.settings import address_of_setting

# aiohttp would inflate bodies in its parser, before anybody has asked who sends them.
_OPTIONS: Mapping[str, Any] = {"access_log": None, "auto_decompress": False}
"""How aiohttp serves, on every port."""
_HEADS: Mapping[str, Any] = {"max_line_size": HEAD_MAX_BYTES, "max_field_size": HEAD_MAX_BYTES}
"""No head that was taken before is too long for aiohttp."""
_HANDLERS_END_S = 0.25
"""For handlers whose connections have ended, and for calls of the admin port; aiohttp waits twice
as long, and for ever with 0."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running process listens: base URLs."""

    api: str
    admin: str


async def listen(
    stack: AsyncExitStack,
    service: Service,
    time_left: DrainTime,
    *,
    api: bool,
    reuse_port: bool,
) -> Addresses:
    """Serve the admin port, and the `api`, until the stack unwinds.

    SettingsError when a port cannot be had.
    """
    settings = service.settings
    admin = await _listen_on_admin_port(stack, service)
    public = ""
    if api:
        with address_of_setting("", settings.host, settings.port):
            listeners = await bind(
                settings.host,
                settings.port,
                unread_max_s=settings.idle_timeout_s,
                reuse_port=reuse_port,
            )
            clients = await _serve_api(stack, service, time_left)
            acceptor = Acceptor(
                listeners, is_below_limit=clients.is_below_limit, take=clients.begin
            )
        stack.callback(acceptor.close)
        public = acceptor.url
    return Addresses(public, admin)


def api_app(service: Service) -> web.Application:
    """Return the public application."""
    app = web.Application(
        middlewares=[around_requests(service.metrics)],
        client_max_size=BODY_MAX_BYTES + 1,
    )
    app[CONTEXT] = service.context
    app[OPENAPI] = openapi_json
    add_routes(app, _routes(service))
    return app


def _routes(service: Service) -> Sequence[Route]:
    """Return the routes that are served: those of preflights where pages of others may ask."""
    return (*ROUTES, *(preflight_routes(ROUTES) if service.context.cors.is_on else ()))


async def _serve_api(stack: AsyncExitStack, service: Service, time_left: DrainTime) -> Connections:
    """Return what serves the connections of the API, until the stack unwinds."""
    runner = web.AppRunner(api_app(service), shutdown_timeout=_HANDLERS_END_S, **_OPTIONS, **_HEADS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    by_aiohttp = cast("web.Server", runner.server)
    calls = JsonCalls(service.context, _routes(service), service.metrics, by_aiohttp)
    clients = Connections(calls, service.settings, service.metrics)

    async def end() -> None:
        await service.context.streams.close()  # no shutdown waits for a stream
        service.context.events.close()
        await clients.drain(time_left.left_s())

    stack.push_async_callback(end)
    return clients


async def _listen_on_admin_port(stack: AsyncExitStack, service: Service) -> str:
    """Serve metrics and health until the stack unwinds."""
    settings = service.settings
    app = web.Application()
    app[CONTEXT] = service.context
    app[METRICS] = SeatGauges(service.stores, service.metrics, settings)
    app.router.add_get("/metrics", get_metrics)
    app.router.add_get("/livez", on_aiohttp(get_livez))
    app.router.add_get("/readyz", on_aiohttp(get_readyz))
    runner = web.AppRunner(app, shutdown_timeout=_HANDLERS_END_S, **_OPTIONS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    with address_of_setting("admin_", settings.admin_host, settings.admin_port):
        site = web.TCPSite(runner, settings.admin_host, settings.admin_port, backlog=1024)
        await site.start()
    address = runner.addresses[0]
    return f"http://{address[0]}:{address[1]}"
