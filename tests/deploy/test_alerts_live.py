"""Alerts of a real Prometheus on a real service: they fire, arrive, and end when it is mended."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis.asyncio

from tests.support.operated import EXAM, Operated, operated
from tests.support.patience import START_LIMIT_S
from tests.support.prometheus import (
    active,
    alertmanager,
    ask,
    free_ports,
    prometheus,
    shortened,
    shortened_alertmanager,
)
from tests.support.recorder import Recorder
from tests.support.waiting import eventually

pytestmark = pytest.mark.system

DIFFERENCES = "max(quota_audit_differences)"


@dataclass(frozen=True, slots=True)
class Watched:
    """A service with what watches it, and what was sent to who is on duty."""

    service: Operated
    prometheus: str
    alertmanager: str
    on_duty: Recorder

    async def fires(self, alert: str, **labels: str) -> None:
        """Wait until Alertmanager has an alert with these labels, and has told who is on duty."""
        wanted = {"alertname": alert, **labels}.items()

        async def found() -> bool:
            has_it = any(wanted <= labels.items() for labels in await active(self.alertmanager))
            return has_it and "firing" in self._told(alert)

        await eventually(found, within_s=START_LIMIT_S)

    async def is_inhibited(self, alert: str) -> None:
        """Wait until an alert fires and is kept back because of another one."""

        async def found() -> bool:
            kept_back = await active(self.alertmanager, active="false", inhibited="true")
            return any(labels["alertname"] == alert for labels in kept_back)

        await eventually(found, within_s=START_LIMIT_S)

    async def is_quiet(self, *alerts: str) -> None:
        """Wait until Alertmanager has none of these alerts."""

        async def is_quiet() -> bool:
            found = {labels["alertname"] for labels in await active(self.alertmanager)}
            return found.isdisjoint(alerts)

        await eventually(is_quiet, within_s=START_LIMIT_S)

    async def ends(self, alert: str) -> None:
        """Wait until Alertmanager has an alert no more, and has told who is on duty."""
        await self.is_quiet(alert)

        async def is_told() -> bool:
            return "resolved" in self._told(alert)

        await eventually(is_told, within_s=START_LIMIT_S)

    async def finds(self, query: str) -> None:
        """Wait until a query of Prometheus finds something."""

        async def found() -> bool:
            return bool(await ask(self.prometheus, query))

        await eventually(found, within_s=START_LIMIT_S)

    def _told(self, alert: str) -> set[str]:
        """Return the states of an alert that who is on duty was told."""
        alerts = [
            each
            for head, body in self.on_duty.requests
            if head.startswith(b"POST /on-duty ")
            for each in json.loads(body)["alerts"]
        ]
        return {each["status"] for each in alerts if each["labels"]["alertname"] == alert}


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[Watched]:
    async with operated(folder) as service, Recorder() as on_duty:
        ports = free_ports(2)
        targets = {
            "quota-api": [service.shell["QUOTA_ADMIN_URL"].removeprefix("http://")],
            "quota-worker": [service.shell["WORKER_ADMIN_URL"].removeprefix("http://")],
        }
        copy = shortened(folder, targets, f"127.0.0.1:{ports[1]}")
        shortened_alertmanager(copy, on_duty.url)
        async with alertmanager(copy, ports[1]) as receiving, prometheus(copy, ports[0]) as asking:
            yield Watched(service, asking, receiving, on_duty)


async def doctor(service: Operated) -> None:
    """Take a seat away in Redis that nobody has."""
    async with redis.asyncio.Redis.from_url(service.shell["OPS_REDIS_URL"]) as client:
        await client.hincrby(f"{{{EXAM}:0}}:remaining", "jinan/general", -1)


async def repair(service: Operated) -> None:
    """Repair as the runbook says."""
    command = ("quota-service", "audit", EXAM, "--repair")
    repairing = await asyncio.create_subprocess_exec(*command, env=service.shell)
    assert await repairing.wait() == 0


async def test_alerts_fire_arrive_and_end(tmp_path: Path) -> None:
    async with watched(tmp_path) as it:
        worker, postgres = it.service.worker, it.service.postgres
        await it.finds('up{job="quota-api"} == 1 and on () up{job="quota-worker"} == 1')
        await it.finds(f"{DIFFERENCES} == 0")
        await it.is_quiet("QuotaWorkersMissing", "QuotaAuditDifference", "QuotaStoreDown")

        await worker.kill()
        await it.fires("QuotaWorkersMissing", severity="critical")
        await it.is_inhibited("QuotaAdmissionLeaderMissing")
        await doctor(it.service)
        await worker.start()
        await it.ends("QuotaWorkersMissing")
        await it.fires("QuotaAuditDifference", exam=EXAM, promise="P7")

        await repair(it.service)
        await asyncio.to_thread(postgres.stop)
        await it.fires("QuotaStoreDown", store="postgres")
        await asyncio.to_thread(postgres.start)
        await it.ends("QuotaStoreDown")

        await worker.terminate()  # the next one audits at once, this one once a minute
        await worker.start()
        await it.finds(f"{DIFFERENCES} == 0")
        await it.ends("QuotaAuditDifference")
