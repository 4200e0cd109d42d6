"""Runs the public application on connections that have the gate and the express lane."""

from typing import Any

from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE

from quota_service.api.connections import Connections
from quota_service.api.entry import REFUSAL
from quota_service.api.express import ExpressLane
from quota_service.api.gated import GatedProtocol
from quota_service.api.problems import RETRY_AFTER_S, problem_response
from quota_service.api.refusals import RefusalParts, Refusals
from quota_service.api.turns import Turns
from quota_service.api.usher import Usher
from quota_service.settings import Settings


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
        self._parts = _refusal_parts(lane.context.settings)
        self._refusals = Refusals(self._parts)
        gate = lane.context.gate
        self._usher = Usher(
            self._loop, lambda work, count: gate.count_refusal(work, "unread", count)
        )
        settings = lane.context.settings
        self._turns = Turns(
            self._loop, lane.context.unread, self._usher, head_timeout_s=settings.head_timeout_s
        )
        self.clients = Connections(self, settings, lane.context.stores.metrics)
        """The connections it serves; each of them begins there."""

    async def start_usher(self) -> None:
        """Start the process that turns away for this one."""
        await self._usher.start(self._parts)

    def __call__(self) -> GatedProtocol:
        """Return the protocol of a new connection."""
        return GatedProtocol(
            self._refusals, self._lane, self._turns, self, loop=self._loop, **self._kwargs
        )

    async def settle(self) -> None:
        """Read what has come, before connections without a request are closed."""
        await self._turns.settle()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  aiohttp's own
        """Close every connection, and read no more."""
        await super().shutdown(timeout)
        self._turns.close()
        await self._usher.close()


class ExpressRunner(web.AppRunner):
    """Runs an application behind the gate and an express lane."""

    __slots__ = ("_express_server", "_lane")

    def __init__(self, app: web.Application, lane: ExpressLane, **options: Any) -> None:
        super().__init__(app, **options)
        self._lane = lane
        self._express_server: ExpressServer | None = None

    @property
    def clients(self) -> Connections:
        """The connections that are served, once it is set up."""
        if self._express_server is None:
            raise AssertionError("a runner that is set up has a server")
        return self._express_server.clients

    async def _make_server(self) -> web.Server:
        server = ExpressServer(self._lane, await super()._make_server())
        if self._lane.context.settings.usher:
            await server.start_usher()
        self._express_server = server
        return server

    async def cleanup(self) -> None:
        """Serve what has come, then end."""
        if self._express_server is not None:
            await self._express_server.settle()
            self._express_server = None
        await super().cleanup()


def _refusal_parts(settings: Settings) -> RefusalParts:
    """Return what the answer `overloaded` is made of, wherever it is given."""
    problem = problem_response("overloaded", REFUSAL, part="service")
    return RefusalParts(
        body=problem.body.decode(),
        content_type=problem.content_type,
        server=SERVER_SOFTWARE,
        retry_after_s=RETRY_AFTER_S,
        body_max_bytes=settings.body_max_bytes,
    )
