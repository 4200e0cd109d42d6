"""The admin port of a supervisor: metrics and health of the service as a whole."""

import asyncio
import os

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from quota_service.api.context import CONTEXT
from quota_service.api.handlers import get_livez
from quota_service.api.on_aiohttp import on_aiohttp
from quota_service.api.problems import problem_response
from quota_service.app import Service
from quota_service.http.response import Response
from quota_service.observability.merged_metrics import Families, merge, process_metrics
from quota_service.supervisor.team import Team

_OF_A_PROCESS = "process_"


def supervisor_admin_app(service: Service, team: Team) -> web.Application:
    """Return the application of the admin port.

    Ready means that at least one worker is: it is handed every connection until the others are
    back, and taking the instance out for the second a replacement needs would serve nobody.
    """
    encoding = asyncio.Lock()

    async def get_metrics(request: web.Request) -> web.Response:
        team.count()
        registry = _registry(service, team)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # The series of many exams are many milliseconds of text; connections come in meanwhile.
        async with encoding:
            body = await asyncio.to_thread(encode, registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def get_readyz(_request: web.Request) -> web.Response:
        if service.health.is_draining:
            going = problem_response("not-ready", "the service is shutting down", part="service")
            return going.to_aiohttp()
        ready = len(team.ready)
        if ready:
            warnings = sorted(service.health.warnings)
            told = {"status": "ok", "workers": {"ready": ready, "of": team.size}}
            more = {"warnings": warnings} if warnings else {}
            return Response.json(told | more).to_aiohttp()
        faults = sorted({part for worker in team.taking for part in worker.faults}) or ["workers"]
        detail = f"not ready: {', '.join(faults)}"
        return problem_response("not-ready", detail, part=faults[0]).to_aiohttp()

    app = web.Application()
    app[CONTEXT] = service.context
    app.router.add_get("/metrics", get_metrics)
    app.router.add_get("/livez", on_aiohttp(get_livez))
    app.router.add_get("/readyz", get_readyz)
    return app


def _registry(service: Service, team: Team) -> CollectorRegistry:
    """Return everything as it stands now."""
    workers = {number: worker.values for number, worker in team.workers.items()}
    merged = merge(service.metrics.registry, team.past, workers)
    pids = {"supervisor": os.getpid()} | {str(n): w.pid for n, w in team.workers.items()}
    registry = CollectorRegistry()
    registry.register(
        Families(
            [
                *(family for family in merged if not family.name.startswith(_OF_A_PROCESS)),
                *process_metrics(pids),
            ]
        )
    )
    return registry
