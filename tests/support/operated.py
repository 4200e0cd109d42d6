"""A service as ops run it: an API process and a worker on stores of its own."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from quota_service.app.opening import open_service
from quota_service.embedded import EmbeddedPostgres
from quota_service.embedded.ports import LOOPBACK
from quota_service.ledger.api_keys import Scope
from quota_service.ledger.migrations import migrate
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings
from tests.faults.processes import ServiceProcess
from tests.support.client import PAYMENT_SECRETS
from tests.support.databases import execute, with_database
from tests.support.rooms import room_exam
from tests.support.shipped_stores import PASSWORD, ShippedRedis

EXAM = "exam-1"


@dataclass(frozen=True, slots=True)
class Operated:
    """The stores and processes; `settings` name the stores, `shell` is the environment of ops."""

    redis: ShippedRedis
    postgres: EmbeddedPostgres
    api: ServiceProcess
    worker: ServiceProcess
    settings: Settings
    shell: dict[str, str]


@asynccontextmanager
async def operated(folder: Path) -> AsyncIterator[Operated]:
    """Start stores, an API process and a worker, with an exam that is open and has a room."""
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(ShippedRedis(folder / "redis"))
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        stores = {"QUOTA_REDIS_URL": redis.url, "QUOTA_POSTGRES_DSN": await _own_database(postgres)}
        told = {**stores, "QUOTA_PAYMENT_SECRETS": PAYMENT_SECRETS}
        settings = Settings(redis_url=redis.url, postgres_dsn=stores["QUOTA_POSTGRES_DSN"])
        async with open_service(settings) as service:
            await migrate(service.stores.ledger)
            await service.stores.registry.refresh()
            await import_exam(service.stores.maintenance, room_exam(EXAM))
            key = await service.key_ledger.create("on-duty", frozenset({Scope.OPS}))
        api, worker = [ServiceProcess(kind, kind, told, folder) for kind in ("serve", "worker")]
        for process in (api, worker):
            stack.push_async_callback(process.kill)
        await asyncio.gather(api.start(), worker.start())
        shell = {
            **{name: text for name, text in os.environ.items() if not name.startswith("QUOTA_")},
            **stores,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OPS_REDIS_URL": redis.url_of("ops"),
            "QUOTA_URL": api.url,
            "QUOTA_ADMIN_URL": f"http://{LOOPBACK}:{api.admin_port}",
            "WORKER_ADMIN_URL": worker.url,
            "QUOTA_OPS_KEY": key,
            "exam": EXAM,
            "venue": "jinan",
            "others": "tianjin beijing",
        }
        yield Operated(redis, postgres, api, worker, settings, shell)


async def _own_database(postgres: EmbeddedPostgres) -> str:
    """Make a role that owns a database and has no other right; return the DSN."""
    await execute(postgres.url, f"CREATE ROLE service LOGIN PASSWORD '{PASSWORD}'")
    await execute(postgres.url, "CREATE DATABASE service OWNER service")
    user = f"//service:{PASSWORD}@"
    return with_database(re.sub("//.*@", user, postgres.url), "service")
