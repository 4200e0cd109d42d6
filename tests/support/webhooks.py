"""Receivers of webhooks on real sockets, events to be told, and a worker that tells them."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from quota_service.app.opening import Service
from quota_service.client.webhooks import verified_event
from quota_service.ledger.events import EventLedger
from quota_service.ledger.webhook_endpoints import NewEndpoint
from quota_service.registration.deliver_webhooks import EndpointTurnLimits
from quota_service.registration.post_webhook import PostLimits
from quota_service.registration.stores import WebhookStores
from quota_service.registration.webhook_endpoints import make_endpoint
from quota_service.workers.webhooks import WebhookWorker, open_webhook_worker
from tests.support.lost_shards import rows
from tests.support.patience import LIMIT_S

PATIENT_LIMITS = (PostLimits(total_s=600, connect_s=600), EndpointTurnLimits(turn_s=600))

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def taken(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


def answering(status: int, **headers: str) -> Answer:
    """Return what answers each delivery with a status."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, headers=named)

    return answer


@dataclass
class Receiver:
    """A receiver: what came, in order, and what it answers next."""

    url: str = ""
    answer: Answer = taken
    came: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    at_once: int = 0
    at_once_max: int = 0
    _coming: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.came]

    @property
    def told(self) -> list[tuple[str, str]]:
        """The reservation and the type of each event that came."""
        read = [orjson.loads(body) for body in self.bodies]
        return [(each["data"]["reservation"], each["type"]) for each in read]

    def is_signed(self, index: int, secret: bytes, now_s: float) -> bool:
        headers = {name.lower(): value for name, value in self.came[index].headers.items()}
        return verified_event((secret,), headers, self.bodies[index], now_s) is not None

    async def until_at_once(self, count: int) -> None:
        """Wait until so many deliveries wait for their answer."""
        async with asyncio.timeout(LIMIT_S), self._coming:
            await self._coming.wait_for(lambda: self.at_once >= count)

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        try:
            self.bodies.append(await request.read())
            self.came.append(request)
            async with self._coming:
                self._coming.notify_all()
            return await self.answer(request)
        finally:
            self.at_once -= 1


@asynccontextmanager
async def receiving(answer: Answer = taken) -> AsyncIterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver(answer=answer)
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"{site.name}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def endpoint_to(
    service: Service,
    url: str,
    exams: tuple[str, ...] | None = None,
    kinds: tuple[str, ...] | None = None,
) -> tuple[str, bytes]:
    """Make an endpoint; return its id and its secret."""
    stores = service.stores.webhooks
    made = await make_endpoint(stores, NewEndpoint(url, exams, kinds, "a test"), "a test")
    return made.endpoint.id, made.secret


async def happen(service: Service, *events: tuple[str, str], exam: str | None = None) -> None:
    """Let events happen, each a reservation and a kind, and give them their numbers."""
    await rows(
        service,
        "INSERT INTO events (kind, exam, reservation, candidate, at, data) "
        "SELECT e.kind, $3, e.reservation, 'c-1', now(), '{}' "
        "FROM unnest($1::text[], $2::text[]) AS e (reservation, kind) RETURNING id",
        [reservation for reservation, _ in events],
        [kind for _, kind in events],
        exam,
    )
    await EventLedger(service.stores.ledger).order(1000)


@asynccontextmanager
async def working(
    service: Service, stores: WebhookStores | None = None, *limits: object, private: bool = True
) -> AsyncIterator[WebhookWorker]:
    """Lend a worker, whose rounds the test runs; on any machine it has the time that it needs."""
    settings = dataclasses.replace(service.settings, webhook_private_addresses=private)
    settings = settings.with_limits(*limits, *PATIENT_LIMITS)
    used = service.stores.webhooks if stores is None else stores
    async with open_webhook_worker(used, settings, lambda: 0.1) as worker:
        yield worker


async def deliver(worker: WebhookWorker) -> dict[str, int]:
    """Let a worker do all that is due now; return what it has done."""
    counts = dict(await worker.run_once())
    for name, count in (await worker.finish_turns()).items():
        counts[name] = counts.get(name, 0) + count
    return counts


async def due_now(service: Service) -> None:
    """Let the pauses of all that failed be over."""
    await rows(service, "UPDATE webhook_endpoints SET next_at = now() RETURNING id")
    await rows(
        service,
        "UPDATE webhook_deliveries SET next_at = now() WHERE state = 'pending' RETURNING sequence",
    )


async def standing(service: Service) -> dict[str, Any]:
    """Return how the only endpoint stands."""
    async with service.stores.ledger.connection() as connection:
        [row] = await connection.fetch("SELECT * FROM webhook_endpoints")
    return dict(row)
