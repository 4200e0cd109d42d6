"""Rolling upgrade: processes of the version before go on beside new ones, on the new schema.

The version before is the last commit before the newest migration: whatever comes after it is one
version to those who deploy it. Its code is taken from the history of the repository.
"""

import asyncio
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from tests.faults.processes import ServiceProcess
from tests.support.client import PAYMENT_SECRETS, ApiClient
from tests.support.databases import execute, with_database
from tests.support.exams import exam_definition
from tests.support.programs import need_program
from tests.support.waiting import eventually

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
MIGRATIONS = "quota_service/ledger/migrations"
TOLD = """
WITH since AS (SELECT applied_at AS at FROM schema_migrations WHERE name = '0034_events.sql')
SELECT NOT EXISTS (SELECT FROM events WHERE sequence IS NULL)
       AND count(*) FILTER (WHERE kind = 'reservation.confirmed')
           = (SELECT count(*) FROM bookings b, since WHERE b.confirmed_at > since.at)
       AND count(*) FILTER (WHERE kind = 'reservation.refunded')
           = (SELECT count(*) FROM refunds r, since WHERE r.refunded_at > since.at)
       AND count(*) FILTER (WHERE kind = 'reservation.held') > 10
FROM   events
"""
EXAM, SHORT = "exam-1", "exam-short"


def git(*arguments: str) -> bytes:
    """Return what git answers about this repository; nothing where it cannot."""
    # Whoever owns the clone: it is only read.
    command = [need_program("git"), "-c", f"safe.directory={ROOT}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).stdout


@pytest.fixture(scope="module")
def version_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the version before, in a folder of its own."""
    newest = max(path.name for path in (ROOT / MIGRATIONS).glob("*.sql"))
    added = git("log", "-1", "--format=%H", "--diff-filter=A", "--", f"{MIGRATIONS}/{newest}")
    # A migration that is not committed yet comes after what is.
    before = f"{added.decode().strip()}^" if added else "HEAD"
    archive = git("archive", before, "quota_service", "lua")
    if not archive and git("rev-parse", "--is-shallow-repository").strip() != b"false":
        pytest.skip("this clone has no history before the newest migration: git fetch --unshallow")
    assert archive, f"git archive {before}: a clone with its whole history has no such commit"
    folder = tmp_path_factory.mktemp("version-before")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@dataclass(frozen=True, slots=True)
class Site:
    """Both stores, and what starts processes of either version on them."""

    environment: dict[str, str]
    logs: Path
    before: Path
    stack: AsyncExitStack

    async def start(self, kind: str, root: Path) -> ServiceProcess:
        name = f"{kind} {'before' if root == self.before else 'now'}"
        process = ServiceProcess(kind, name, self.environment, self.logs, root=root)
        self.stack.push_async_callback(process.kill)
        await process.start()
        return process

    async def client(self, process: ServiceProcess, key: str) -> ApiClient:
        session = await self.stack.enter_async_context(aiohttp.ClientSession())
        return ApiClient(session, process.url, key, key)

    async def run(self, root: Path, *arguments: str) -> str:
        """Run a command of a version, and return what it prints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "quota_service.cli", *arguments),
            cwd=root,
            env={**os.environ, **self.environment},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0, out
        return out.decode().strip()


@pytest.fixture
async def site(
    version_before: Path, postgres_server: EmbeddedPostgres, tmp_path: Path
) -> AsyncIterator[Site]:
    await execute(postgres_server.url, "CREATE DATABASE quota_upgraded")
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(EmbeddedRedis(tmp_path / "redis"))
        environment = {
            "QUOTA_REDIS_URL": redis.url,
            "QUOTA_POSTGRES_DSN": with_database(postgres_server.url, "quota_upgraded"),
            "QUOTA_PAYMENT_SECRETS": PAYMENT_SECRETS,
            "QUOTA_REGISTRY_REFRESH_S": "0.2",
        }
        yield Site(environment, tmp_path, version_before, stack)
    await execute(postgres_server.url, "DROP DATABASE quota_upgraded WITH (FORCE)")


async def test_the_version_before_serves_on_the_new_schema_beside_the_new_one(site: Site) -> None:
    await site.run(site.before, "migrate")
    scopes = ("--scope=frontend", "--scope=refunds", "--scope=ops")
    key = await site.run(site.before, "keys", "create", "all", *scopes)
    serves_before, works_before = await asyncio.gather(
        site.start("serve", site.before), site.start("worker", site.before)
    )
    before = await site.client(serves_before, key)
    await import_exams(before)
    held = [await reserve(before, f"held-{n}") for n in range(2)]
    booked = [await book(before, before, f"booked-{n}") for n in range(2)]

    assert (await site.run(ROOT, "migrate")).startswith("applied ")
    await live(before, before, "migrated")
    works_now, serves_now = await asyncio.gather(
        site.start("worker", ROOT), site.start("serve", ROOT)
    )
    await works_before.terminate()
    now = await site.client(serves_now, key)
    await ready(now)

    # What was begun in one version goes on in the other, on the new schema.
    for api, each in zip((now, before), held, strict=True):
        paid = await api.pay(each, event=f"event of {each['id']}")
        assert paid.json["outcome"] == "confirmed", paid
    await move_and_refund(now, booked[0])
    await move_and_refund(before, booked[1])
    for begins, ends, name in ((before, now, "before-to-now"), (now, before, "now-to-before")):
        await live(begins, ends, name)
        await pay_late(begins, ends, name)
    await import_exams(now)
    await live(before, now, "imported")

    await serves_before.terminate()
    await live(now, now, "alone")
    await eventually(lambda: is_told(site))
    audited = await now.get(f"/v1/exams/{EXAM}/audit", key=now.ops_key)
    assert (audited.status, audited.json["differences"]) == (200, [])
    assert works_now.is_running


async def is_told(site: Site) -> bool:
    """Whether each fact since the migration is told, whichever version made it true."""
    connection = await asyncpg.connect(site.environment["QUOTA_POSTGRES_DSN"])
    try:
        return bool(await connection.fetchval(TOLD))
    finally:
        await connection.close()


async def import_exams(api: ApiClient) -> None:
    for definition in (
        exam_definition(EXAM, seats={"jinan": {"general": 100}, "tianjin": {"general": 100}}),
        exam_definition(SHORT, seats={"jinan": {"general": 100}}, ttl_s=1, checkout_grace_s=0),
    ):
        assert (await api.import_exam(definition)).status in {200, 201}
    await ready(api)


async def ready(api: ApiClient) -> None:
    """Return when a process knows the exams."""

    async def is_ready() -> bool:
        return (await api.get(f"/v1/exams/{EXAM}/availability")).status == 200

    await eventually(is_ready)


async def live(begins: ApiClient, ends: ApiClient, name: str) -> None:
    """Begin everything at one process and end it at another."""
    booking = await book(begins, ends, f"{name}-books")
    await move_and_refund(ends, booking)
    released = await reserve(begins, f"{name}-releases")
    assert (await ends.call("DELETE", f"/v1/reservations/{released['id']}")).status in {200, 204}
    again = await ends.reserve(f"{name}-books", idempotency_key=f"{name}-books")
    assert again.json["id"] == booking["id"]


async def pay_late(begins: ApiClient, ends: ApiClient, candidate: str) -> None:
    """Let a hold of one process expire, and pay for it at another."""
    late = await reserve(begins, candidate, exam=SHORT)

    async def has_expired() -> bool:
        seen = await ends.get(f"/v1/reservations/{late['id']}")
        return bool(seen.json["state"] == "expired")

    await eventually(has_expired)
    assert (await ends.pay(late, event=f"{candidate}-late")).json["outcome"] == "confirmed"


async def reserve(api: ApiClient, candidate: str, *, exam: str = EXAM) -> Any:
    reply = await api.reserve(candidate, exam=exam, idempotency_key=candidate)
    assert reply.status == 201, reply
    return reply.json


async def book(begins: ApiClient, ends: ApiClient, candidate: str) -> Any:
    held = await reserve(begins, candidate)
    paid = await ends.pay(held, event=f"{candidate}-paid")
    assert paid.json["outcome"] == "confirmed", paid
    return held


async def move_and_refund(api: ApiClient, booking: Any) -> None:
    path = f"/v1/reservations/{booking['id']}"
    moved = await api.call("PUT", f"{path}/venue", json={"venue": "tianjin"})
    assert moved.status == 200, moved
    refunded = await api.call("POST", f"{path}/refund")
    assert refunded.status == 200, refunded
