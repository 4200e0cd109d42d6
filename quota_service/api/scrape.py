"""/metrics: the process's counters, and gauges read from the stores when somebody scrapes.

Seat gauges have a label set for each quota, so their number is capped by a setting; what is beyond
the cap is summed up as venue `other`. A store that is away leaves its gauges as they were, and
`quota_store_up` says so.
"""

import logging

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from quota_service.domain.errors import QuotaError
from quota_service.domain.exam import Quota
from quota_service.observability.metrics import Metrics
from quota_service.registration.stores import Stores
from quota_service.seats.store import ShardSnapshot
from quota_service.settings import Settings

log = logging.getLogger(__name__)

_OTHER = Quota("other", "other")


class SeatGauges:
    """Brings the gauges that live in the stores up to date."""

    def __init__(self, stores: Stores, metrics: Metrics, settings: Settings) -> None:
        self._stores = stores
        self._metrics = metrics
        self._quotas_max = settings.metrics_quotas_max

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics in the format a scraper accepts, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._metrics.registry), content_type

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
            self._metrics.seats_unlisted.set(unlisted)
            entries = await self._stores.reader.quarantined_entries()
            self._metrics.journal_quarantined.set(entries)
        except QuotaError as error:
            log.info("gauges not refreshed", extra={"cause": str(error)})

    def _set(
        self, exam: str, snapshot: ShardSnapshot, listed: list[Quota], rest: list[Quota]
    ) -> None:
        self._metrics.holds_live.labels(exam=exam).set(snapshot.live_holds)
        self._metrics.pins.labels(exam=exam).set(snapshot.pins)
        self._metrics.journal_lag.labels(exam=exam).set(snapshot.journal_entries)
        for counter, gauge in self._metrics.seats.items():
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
    gauges = request.app[METRICS]
    await gauges.refresh()
    body, content_type = gauges.exposition(request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})
