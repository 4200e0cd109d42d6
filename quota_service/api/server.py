"""Runs the public application on connections that have the gate and the express lane."""

from typing import Any

from aiohttp import web

from quota_service.api.express import ExpressLane
from quota_service.api.gated import GatedProtocol, ReadyRefusals


class ExpressServer(web.Server):
    """aiohttp's server with connections of our own kind."""

    def __init__(self, lane: ExpressLane, before: web.Server) -> None:
        super().__init__(
            before.request_handler,
            request_factory=before.request_factory,
            handler_cancellation=before.handler_cancellation,
            **before._kwargs,  # noqa: SLF001  what the runner was told
        )
        self._lane = lane
        self._refusals = ReadyRefusals()

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return GatedProtocol(self._refusals, self._lane, self, loop=self._loop, **self._kwargs)


class ExpressRunner(web.AppRunner):
    """Runs an application behind the gate and an express lane."""

    __slots__ = ("_lane",)

    def __init__(self, app: web.Application, lane: ExpressLane, **options: Any) -> None:
        super().__init__(app, **options)
        self._lane = lane

    async def _make_server(self) -> web.Server:
        return ExpressServer(self._lane, await super()._make_server())
