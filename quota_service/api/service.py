"""Calls about the service itself: `/livez`, `/readyz`, `/metrics`, and its documents.

The documents are the OpenAPI description, the page to try it and what each problem means.

Metrics are the counters of the process, and gauges read from the stores at each scrape.

The gauges of the stores are exported by one worker process, which holds the workers' lease.
Seat gauges have a label set for each quota, so their number is capped by a setting; what is beyond
the cap is summed up as venue `other`. A store that is away leaves its gauges as they were, and
`quota_store_up` says so.

Seats are read anew when a shard took steps, and those of a large exam the less often the longer
that takes. A scrape waits for them for a short time only; the next one has the late ones.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, NotRequired

import openapi_ui_bundles.swagger_ui
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from quota_service.api.context import ApiContext
from quota_service.api.models import Answer
from quota_service.api.problems import PROBLEMS, ProblemMeaning
from quota_service.domain.errors import QuotaError
from quota_service.domain.exam import Quota
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.observability.metrics import Metrics, ServiceGauges
from quota_service.registration.stores import Stores
from quota_service.seats.keys import Shard
from quota_service.seats.replies import ShardSnapshot
from quota_service.settings import Settings

log = logging.getLogger(__name__)

_OTHER = Quota("other", "other")
_WAIT_S = 1.0
"""How long a scrape waits for what is read."""
_LEFT_ALONE = 20
"""How many times as long as reading them took, the seats of an exam are not read again."""


class Health(Answer):
    """All is well."""

    status: Literal["ok"]
    warnings: NotRequired[Sequence[str]]
    """What ops have to look at though it serves: `worker` when none runs, `journal`, `exam:<id>`
    for one that cannot be loaded; why is in the log. Left out when there is none."""


def get_livez(_context: ApiContext, _request: Request) -> Response:
    """GET /livez: the process is up."""
    return Response.json({"status": "ok"})


def get_readyz(context: ApiContext, _request: Request) -> Response:
    """GET /readyz: the stores answer, scripts run, exams and keys are loaded; not draining.

    Else the problem with every part at fault; why is in the log. `warnings` are parts that serve
    and that ops have to look at.
    """
    if context.health.is_draining:
        return PROBLEMS["not-ready"].response("the service is shutting down", part="service")
    faults = sorted(context.health.faults)
    if faults:
        return PROBLEMS["not-ready"].response(f"not ready: {', '.join(faults)}", part=faults[0])
    health: Health = {"status": "ok"}
    if warnings := sorted(context.health.warnings):
        health["warnings"] = warnings
    return Response.json(health)


@dataclass(frozen=True, slots=True)
class _Shown:
    """The state that the gauges of an exam show, the limit of gauges then, and their validity."""

    epoch: int
    version: int
    gauges_left: int
    quotas: int
    until_s: float


class SeatGauges:
    """Brings the gauges that live in the stores up to date."""

    def __init__(self, stores: Stores, metrics: Metrics, settings: Settings) -> None:
        self._stores = stores
        self._gauges = ServiceGauges()
        self._of_process = metrics.registry
        self._of_process_and_service = CollectorRegistry()
        for registry in (self._of_process, self._gauges.registry):
            self._of_process_and_service.register(registry)
        self._quotas_max = settings.metrics_quotas_max
        self._shown: dict[str, _Shown] = {}
        self._refreshing: asyncio.Task[None] | None = None

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics in the format a scraper accepts, and its content type."""
        encode, content_type = choose_encoder(accept)
        if not self._stores.worker_lease.is_held:
            return encode(self._of_process), content_type
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self.refresh())
        await asyncio.wait({self._refreshing}, timeout=_WAIT_S)
        # Thousands of lines: requests of this process are answered meanwhile.
        return await asyncio.to_thread(encode, self._of_process_and_service), content_type

    async def refresh(self) -> None:
        """Read every exam that goes on once, its seats when they may be others.

        Exams that are over have no gauges.
        """
        gauges_left, unlisted, registry = self._quotas_max, 0, self._stores.registry
        try:
            watched = self._stores.registry.progress().watched
            if self._shown.keys() - set(watched):
                self._gauges.forget_exams()
                self._shown.clear()
            for shard in registry.open_shards_of(watched):
                try:
                    quotas = await self._refresh_exam(shard, gauges_left)
                except QuotaError as error:  # its server is away, or it is recovered: others go on
                    extra = {"exam": shard.exam, "cause": str(error)}
                    log.info("gauges not refreshed", extra=extra)
                    continue
                unlisted += max(0, quotas - gauges_left)
                gauges_left = max(0, gauges_left - quotas)
            self._gauges.seats_unlisted.set(unlisted)
            entries = await self._stores.reader.quarantined_entries()
            self._gauges.journal_quarantined.set(entries)
            self._gauges.refunds_due.set(await self._stores.payments.refunds_due.count())
        except QuotaError as error:
            log.info("gauges not refreshed", extra={"cause": str(error)})

    async def _refresh_exam(self, shard: Shard, gauges_left: int) -> int:
        """Bring the gauges of an exam up to date; return how many quotas it has."""
        began_s, shown = time.monotonic(), self._shown.get(shard.exam)
        totals = await self._stores.seats.totals(shard)
        self._gauges.holds_live.labels(exam=shard.exam).set(totals.live_holds)
        self._gauges.attempts.labels(exam=shard.exam).set(totals.attempts)
        self._gauges.journal_lag.labels(exam=shard.exam).set(totals.journal_entries)
        if (
            shown is not None
            and (shown.epoch, shown.gauges_left) == (shard.epoch, gauges_left)
            and (shown.version == totals.version or began_s < shown.until_s)
        ):
            return shown.quotas
        snapshot = await self._stores.seats.snapshot(shard)
        quotas = sorted(snapshot.capacity)
        self._set(shard.exam, snapshot, quotas[:gauges_left], quotas[gauges_left:])
        ended_s = time.monotonic()
        until_s = ended_s + _LEFT_ALONE * (ended_s - began_s) if snapshot.pages > 1 else 0.0
        shown = _Shown(shard.epoch, snapshot.version, gauges_left, len(quotas), until_s)
        self._shown[shard.exam] = shown
        return shown.quotas

    def _set(
        self, exam: str, snapshot: ShardSnapshot, listed: list[Quota], rest: list[Quota]
    ) -> None:
        held, confirmed = sum(snapshot.held.values()), sum(snapshot.confirmed.values())
        self._gauges.held_per_confirmed.labels(exam=exam).set(held / max(confirmed, 1))
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


OPENAPI: web.AppKey[Callable[[], bytes]] = web.AppKey("openapi")
PAGE: web.AppKey[str] = web.AppKey("page", str)
"""The page, read once when the service starts."""

_BUNDLE: Mapping[str, str] = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
}
"""Files of the bundle that the page needs, and their types; nothing comes from anywhere else."""

_PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_AS_DECLARED = {"X-Content-Type-Options": "nosniff"}


async def get_openapi(request: web.Request) -> web.Response:
    """GET /openapi.json."""
    document = await asyncio.to_thread(request.app[OPENAPI])
    return web.Response(body=document, content_type="application/json")


async def get_docs(request: web.Request) -> web.Response:
    """GET /docs."""
    headers = {"Content-Security-Policy": _PAGE_POLICY, **_AS_DECLARED}
    return web.Response(text=request.app[PAGE], content_type="text/html", headers=headers)


def get_problem(_context: ApiContext, request: Request) -> Response:
    """GET /problems/{slug}."""
    problem = PROBLEMS.get(request.params["slug"])
    if problem is None:
        return PROBLEMS["not-found"].response("there is no problem type of this name")
    meaning: ProblemMeaning = {
        "type": problem.uri,
        "title": problem.title,
        "status": problem.status,
        "meaning": problem.meaning,
    }
    return Response.json(meaning)


def add_files(app: web.Application) -> None:
    """Read the page and register the files it needs."""
    pages = resources.files("quota_service") / "web"
    app[PAGE] = (pages / "docs.html").read_text(encoding="utf-8")
    script = (pages / "docs.js").read_text(encoding="utf-8")

    async def get_script(_request: web.Request) -> web.Response:
        return web.Response(text=script, content_type="text/javascript", headers=_AS_DECLARED)

    app.router.add_get("/docs/start.js", get_script)
    for name, content_type in _BUNDLE.items():
        path = openapi_ui_bundles.swagger_ui.static_path / name
        app.router.add_get(f"/docs/{name}", _sender(path, content_type))


def _sender(path: Path, content_type: str) -> Callable[[web.Request], Awaitable[web.FileResponse]]:
    """Return the handler of one file, which aiohttp reads outside the event loop."""
    headers = {"Content-Type": content_type, "Cache-Control": "max-age=3600", **_AS_DECLARED}

    async def get_file(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(path, headers=headers)

    return get_file
