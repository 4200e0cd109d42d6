"""/metrics: the process's counters, and gauges read from the stores when somebody scrapes.

The gauges of the stores are told by one worker process, the one that holds the workers' lease.
Seat gauges have a label set for each quota, so their number is capped by a setting; what is beyond
the cap is summed up as venue `other`. A store that is away leaves its gauges as they were, and
`quota_store_up` says so.
"""

import logging

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from quota_service.domain.errors import QuotaError
from quota_service.domain.exam import Quota
from quota_service.observability.merged_metrics import Families
from quota_service.observability.metrics import Metrics, ServiceGauges
from quota_service.registration.stores import Stores
from quota_service.seats.store import ShardSnapshot
from quota_service.settings import Settings

log = logging.getLogger(__name__)

_OTHER = Quota("other", "other")


class SeatGauges:
    """Brings the gauges that live in the stores up to date."""

    def __init__(self, stores: Stores, metrics: Metrics, settings: Settings) -> None:
        self._stores = stores
        self._of_process = metrics.registry
        self._gauges = ServiceGauges()
        self._quotas_max = settings.metrics_quotas_max

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics in the format a scraper accepts, and its content type."""
        encode, content_type = choose_encoder(accept)
        if not self._stores.worker_lease.is_held:
            return encode(self._of_process), content_type
        await self.refresh()
        both = CollectorRegistry()
        both.register(Families([*self._of_process.collect(), *self._gauges.registry.collect()]))
        return encode(both), content_type

    async def refresh(self) -> None:
        """Read every open shard once."""
        listed = unlisted = 0
        try:
            for shard in self._stores.registry.open_shards():
                snapshot = await self._stores.seats.snapshot(shard)
                quotas = sorted(snapshot.capacity)
                room = self._quotas_max - listed
                listed += len(quotas[:room])
                unlisted += len(quotas[room:])
                self._set(shard.exam, snapshot, quotas[:room], quotas[room:])
            self._gauges.seats_unlisted.set(unlisted)
            entries = await self._stores.reader.quarantined_entries()
            self._gauges.journal_quarantined.set(entries)
        except QuotaError as error:
            log.info("gauges not refreshed", extra={"cause": str(error)})

    def _set(
        self, exam: str, snapshot: ShardSnapshot, listed: list[Quota], rest: list[Quota]
    ) -> None:
        self._gauges.holds_live.labels(exam=exam).set(snapshot.live_holds)
        held, confirmed = sum(snapshot.held.values()), sum(snapshot.confirmed.values())
        self._gauges.held_per_confirmed.labels(exam=exam).set(held / max(confirmed, 1))
        self._gauges.pins.labels(exam=exam).set(snapshot.pins)
        self._gauges.journal_lag.labels(exam=exam).set(snapshot.journal_entries)
        for counter, gauge in self._gauges.seats.items():
            seats = getattr(snapshot, counter)
            for quota in listed:
                gauge.labels(exam=exam, venue=quota.venue, subject=quota.subject).set(
                    seats.get(quota, 0)
                )
            if rest:
                gauge.labels(exam=exam, venue=_OTHER.venue, subject=_OTHER.subject).set(
                    sum(seats.get(quota, 0) for quota in rest)
                )


METRICS: web.AppKey[SeatGauges] = web.AppKey("metrics", SeatGauges)


async def get_metrics(request: web.Request) -> web.Response:
    """GET /metrics on the admin port."""
    accept = request.headers.get("Accept", "")
    body, content_type = await request.app[METRICS].exposition(accept)
    return web.Response(body=body, headers={"Content-Type": content_type})
