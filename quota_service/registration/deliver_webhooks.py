"""Delivers what has happened to the endpoints that want to be told.

    1. Postgres: take an endpoint with something due, for a lease (`WebhookLedger.claim`)
    2. read what is due: of each reservation the first event that it has not taken
    3. post them, some at once
    4. Postgres: record what became of the attempts, which renews the lease       <- the decision
    5. again from 2, until nothing is due, the turn is over or the endpoint needs a pause

A crash between 1 and 4 leaves deliveries that were posted and are not recorded: whoever takes the
endpoint when its lease has ended posts them again, under the same ids. None is recorded that was
not taken, and the next event of a reservation is not read before. After 4 nothing is done again. A
worker that slept beyond its lease begins no post any more.

An endpoint that refuses gets half as many at once with each failure, and in the end single
deliveries after growing pauses. Failures of posts that were under way together are one failure. A
delivery that was refused waits for growing pauses itself, and the later ones of its reservation
behind it; the others go on. Each endpoint has its own turn, so that none waits for another.
"""

import asyncio
import logging
import random
from collections import Counter, deque
from dataclasses import dataclass
from http import HTTPStatus

from quota_service.domain.webhook import pause_s
from quota_service.ledger.webhooks import LEASE_S, Attempt, DueDelivery, HeldEndpoint
from quota_service.registration.post_webhook import Posted, WebhookPoster
from quota_service.registration.stores import WebhookStores

log = logging.getLogger(__name__)

AT_ONCE_MAX = 32
"""Deliveries to one endpoint at once; half as many with each failure."""
PROBING_FROM = AT_ONCE_MAX.bit_length() - 1
"""Failures after which it gets one at a time, with a pause after each failure."""
_READ_MAX = 200
"""Deliveries that are read together."""
_READ_EVERY_S = 0.1
"""How often it is looked for more while the last ones are under way."""
_RECORDED_TOGETHER = 50
"""Attempts that are recorded before more is read."""
_JITTER = (0.9, 1.1)
"""So that endpoints on one server, which failed together, are not called together."""


@dataclass(frozen=True, slots=True)
class EndpointTurnLimits:
    """How long a worker delivers to one endpoint."""

    turn_s: float = 10.0
    """Then it reads anew where the endpoint is and what signs."""


class EndpointTurn:
    """One turn of a worker, known as `holder`, with an endpoint that it holds."""

    def __init__(
        self,
        stores: WebhookStores,
        poster: WebhookPoster,
        holder: str,
        endpoint: HeldEndpoint,
        limits: EndpointTurnLimits,
    ) -> None:
        self._stores = stores
        self._poster = poster
        self._holder = holder
        self._endpoint = endpoint
        self._failures = endpoint.failures
        self._failed_at_s = 0.0
        self._pause_s = 0.0
        self._takes_again = False
        self._posts: dict[asyncio.Task[Attempt], int] = {}
        self._ended: list[Attempt] = []
        self._counts: Counter[str] = Counter()
        self._now_s = asyncio.get_running_loop().time
        self._ends_at_s = self._now_s() + limits.turn_s
        self._held_until_s = self._now_s() + LEASE_S
        self._is_over = False

    def stop(self) -> None:
        """Begin no further post."""
        self._is_over = True

    async def run(self) -> Counter[str]:
        """Deliver what is due; returns {"delivered", "failed", "given-up": deliveries}."""
        try:
            await self._deliver()
            await self._record(leaves=True)
        finally:
            for post in self._posts:
                post.cancel()
            await asyncio.gather(*self._posts, return_exceptions=True)
        return self._counts

    @property
    def _may_begin(self) -> bool:
        """Whether the endpoint is held still, and nothing speaks against another post."""
        return not self._is_over and self._now_s() < min(self._ends_at_s, self._held_until_s)

    async def _deliver(self) -> None:
        waiting: deque[DueDelivery] = deque()
        read_at_s = 0.0
        while True:
            if self._may_begin and not waiting and self._now_s() >= read_at_s:
                waiting.extend(await self._read())
                read_at_s = self._now_s() + (0 if len(waiting) == _READ_MAX else _READ_EVERY_S)
                if not waiting and not self._posts:
                    return
            while waiting and self._may_begin and len(self._posts) < self._at_once():
                delivery = waiting.popleft()
                post = asyncio.create_task(self._post(delivery))
                self._posts[post] = delivery.sequence
            if not self._posts:
                if not self._may_begin:
                    return
                read_at_s = 0.0  # nothing ends that could be waited for
                continue
            patience_s = None if waiting or not self._may_begin else read_at_s - self._now_s()
            await self._end_some(patience_s)
            if len(self._ended) >= _RECORDED_TOGETHER:
                await self._record(leaves=False)

    def _at_once(self) -> int:
        return max(1, AT_ONCE_MAX >> self._failures)

    async def _read(self) -> list[DueDelivery]:
        """Return what is due, once what has ended is recorded: the next may follow it."""
        if self._ended:
            await self._record(leaves=False)
        if not self._may_begin:
            return []
        under_way = list(self._posts.values())
        return await self._stores.webhooks.due(self._endpoint.id, under_way, _READ_MAX)

    async def _post(self, delivery: DueDelivery) -> Attempt:
        began_s = self._now_s()
        event, endpoint = delivery.event, self._endpoint
        self._stores.failpoint("deliver: before post")
        posted = await self._poster.post(endpoint.url, endpoint.secrets, event.id, event.body)
        self._stores.failpoint("deliver: after post")
        self._stores.metrics.webhook_duration.observe(self._now_s() - began_s)
        self._learn(began_s, posted)
        pause = 0.0 if posted.is_taken else _jittered(pause_s(delivery.attempts + 1))
        return Attempt(
            delivery.sequence,
            posted.is_taken,
            posted.status,
            posted.error,
            max(pause, posted.retry_after_s),
        )

    def _learn(self, began_s: float, posted: Posted) -> None:
        """Learn from a post how much the endpoint takes."""
        if posted.is_taken:
            self._takes_again = self._takes_again or self._failures >= PROBING_FROM
            self._failures = 0
            return
        if began_s >= self._failed_at_s:
            self._failures += 1
            self._failed_at_s = self._now_s()
        if self._failures >= PROBING_FROM:
            self._pause_s = _jittered(pause_s(self._failures - PROBING_FROM + 1))
        self._pause_s = max(self._pause_s, posted.retry_after_s)
        if self._pause_s or posted.status == HTTPStatus.GONE:
            self._is_over = True

    async def _end_some(self, patience_s: float | None) -> None:
        """Wait until posts have ended, for so long at most."""
        timeout_s = None if patience_s is None else max(0.0, patience_s)
        ended, _ = await asyncio.wait(
            self._posts, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        for post in ended:
            del self._posts[post]
            self._ended.append(post.result())

    async def _record(self, *, leaves: bool) -> None:
        ended, self._ended = self._ended, []
        held_until_s = self._now_s() + LEASE_S
        endpoint = self._endpoint.id
        self._stores.failpoint("deliver: before record")
        recorded = await self._stores.webhooks.record(
            endpoint, self._holder, ended, self._failures, self._pause_s, leaves=leaves
        )
        self._stores.failpoint("deliver: after record")
        taken = sum(attempt.is_taken for attempt in ended)
        self._count("delivered", taken)
        self._count("failed", len(ended) - taken)
        if recorded is None:
            self._is_over = True
            return
        self._held_until_s = held_until_s
        self._count("given-up", recorded.given_up)
        if recorded.given_up:
            log.warning("webhook deliveries given up", extra={"endpoint": endpoint})
        if recorded.disabled is not None:
            self._is_over = True
            told = {"endpoint": endpoint, "reason": recorded.disabled.value}
            log.warning("webhook endpoint disabled", extra=told)
        elif self._takes_again:
            self._takes_again = False
            await self._stores.webhooks.retry_now(endpoint)

    def _count(self, result: str, count: int) -> None:
        if count:
            self._counts[result] += count
            self._stores.metrics.webhook_deliveries.labels(result=result).inc(count)


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(*_JITTER)  # noqa: S311
