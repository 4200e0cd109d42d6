"""The worker of webhooks: delivers events to endpoints, each in a turn of its own.

A turn goes on beside the rounds, so that an endpoint that answers slowly or never holds up no
other. Any number of workers may run; one at a time holds an endpoint.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from quota_service.domain.errors import QuotaError
from quota_service.ledger.webhooks import HeldEndpoint, Standing
from quota_service.registration.deliver_webhooks import EndpointTurn, EndpointTurnLimits
from quota_service.registration.post_webhook import PostLimits, WebhookPoster, open_poster
from quota_service.registration.stores import WebhookStores
from quota_service.settings import Settings

_INTERVAL_S = 0.2
_STANDING_EVERY_S = 15.0
"""How old the gauges of endpoints may be."""
_FINISH_S = 3.0
"""How long posts under way have to end at shutdown: those that do not are made again."""
_CANCEL_AGAIN_S = 0.1


class WebhookWorker:
    """Begins a turn for each endpoint that has something due. Its loop has to keep the pace."""

    name = "webhooks"
    interval_s = _INTERVAL_S

    def __init__(self, stores: WebhookStores, poster: WebhookPoster, settings: Settings) -> None:
        self._stores = stores
        self._poster = poster
        self._limits = settings.limits_of(EndpointTurnLimits)
        self._holder = secrets.token_hex(8)
        self._turns: dict[str, tuple[EndpointTurn, asyncio.Task[Counter[str]]]] = {}
        self._standing_at_s = 0.0

    async def run_once(self) -> Mapping[str, int]:
        """Begin the turns that are due; returns the sums of what ended ones returned."""
        if time.monotonic() >= self._standing_at_s:
            self._standing_at_s = time.monotonic() + _STANDING_EVERY_S
            self._tell(await self._stores.webhooks.standing())
        for endpoint in await self._stores.webhooks.claim(self._holder, list(self._turns)):
            self._stores.failpoint("deliver: after claim")
            self._begin(endpoint)
        return self._ended()

    async def finish_turns(self) -> Mapping[str, int]:
        """Wait for the turns under way; returns what they have done."""
        await asyncio.gather(*(task for _, task in self._turns.values()), return_exceptions=True)
        return self._ended()

    async def end(self, left_s: Callable[[], float]) -> None:
        """Begin no further post, wait for those under way, and let others take the endpoints."""
        for turn, _ in self._turns.values():
            turn.stop()
        tasks = {task for _, task in self._turns.values()}
        if tasks:
            await asyncio.wait(tasks, timeout=min(left_s(), _FINISH_S))
        while late := {task for task in tasks if not task.done()}:
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=_CANCEL_AGAIN_S)
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(QuotaError):  # their leases end by themselves
            await self._stores.webhooks.leave(self._holder)

    def _tell(self, standing: Sequence[Standing]) -> None:
        """Set how the endpoints stand; those that are gone have no gauges any more."""
        metrics = self._stores.metrics
        for gauge in (
            metrics.webhook_pending,
            metrics.webhook_failing,
            metrics.webhook_given_up,
            metrics.webhook_disabled,
        ):
            gauge.clear()
        for each in standing:
            endpoint = each.endpoint
            metrics.webhook_pending.labels(endpoint=endpoint).set(each.pending)
            metrics.webhook_failing.labels(endpoint=endpoint).set(each.failing_s)
            metrics.webhook_given_up.labels(endpoint=endpoint).set(each.given_up)
            if each.disabled is not None:
                metrics.webhook_disabled.labels(endpoint=endpoint, reason=each.disabled).set(1)

    def _begin(self, endpoint: HeldEndpoint) -> None:
        turn = EndpointTurn(self._stores, self._poster, self._holder, endpoint, self._limits)
        self._turns[endpoint.id] = turn, asyncio.create_task(turn.run())

    def _ended(self) -> Counter[str]:
        """Return the counts of the turns that have ended; the error of one is raised after that."""
        counts: Counter[str] = Counter()
        failures: list[BaseException] = []
        for endpoint, (_, task) in list(self._turns.items()):
            if task.done():
                del self._turns[endpoint]
                failure = task.exception()
                if failure is None:
                    counts.update(task.result())
                else:
                    failures.append(failure)
        if failures:
            raise failures[-1]
        return counts


@asynccontextmanager
async def open_webhook_worker(
    stores: WebhookStores, settings: Settings, left_s: Callable[[], float]
) -> AsyncIterator[WebhookWorker]:
    """Open the worker with its connections; at the end its posts get the time that is left."""
    limits = settings.limits_of(PostLimits)
    async with open_poster(limits, takes_private=settings.webhook_private_addresses) as poster:
        worker = WebhookWorker(stores, poster, settings)
        try:
            yield worker
        finally:
            await worker.end(left_s)
