"""The drill: both stores are lost while registration goes on, and come back from the archive."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from quota_service.app.opening import open_stores
from quota_service.observability.metrics import Metrics
from quota_service.registration.audit import audit
from tests.support.client import ApiClient
from tests.support.exams import exam_definition
from tests.support.serving import Serving
from tests.support.shipped_site import settings_of, site_on
from tests.support.shipped_stores import (
    DEPLOY,
    ProgramFailedError,
    ShippedPostgres,
    ShippedRedis,
    shipped_postgres,
)
from tests.support.waiting import eventually

EXAM = "exam-1"
SEATS = 10_000
NOW = """SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[ShippedPostgres]:
    with shipped_postgres() as made:
        yield made


async def value(cluster: ShippedPostgres, query: str, *args: Any) -> Any:
    """Return the one value of a query as the role of the service."""
    connection = await asyncpg.connect(cluster.dsn)
    try:
        return await connection.fetchval(query, *args)
    finally:
        await connection.close()


async def book(api: ApiClient, candidate: str) -> Any:
    held = (await api.reserve(candidate, idempotency_key=candidate)).json
    paid = await api.pay(held, event=f"paid-{candidate}")
    assert paid.json["outcome"] == "confirmed"
    return held


async def state(api: ApiClient, reservation: Any) -> Any:
    return (await api.get(f"/v1/reservations/{reservation['id']}")).json.get("state")


async def is_drained(cluster: ShippedPostgres, reservation: Any) -> bool:
    query = "SELECT count(*) > 0 FROM reservations WHERE id = $1"
    return bool(await value(cluster, query, reservation["id"]))


async def is_archived(cluster: ShippedPostgres, segment: str) -> bool:
    query = "SELECT coalesce(last_archived_wal >= $1, false) FROM pg_stat_archiver"
    return bool(await value(cluster, query, segment))


async def differences(site: Serving) -> Any:
    api = site.client
    return (await api.get(f"/v1/exams/{EXAM}/audit", key=api.ops_key)).json["differences"]


async def is_served(site: Serving) -> bool:
    api = site.client
    return (await api.get(f"/v1/exams/{EXAM}/audit", key=api.ops_key)).status == 200


@dataclass(slots=True)
class Day:
    """What was there at the time of the restore, and what is lost by it."""

    backup: str
    time: str
    bookings: int
    held: Any
    refunded: Any
    ordered: Any
    paid: Any


async def until_both_are_lost(cluster: ShippedPostgres, site: Serving) -> Day:
    """Live until the stores are lost: a backup under load, the time, and the minute after it."""
    api = site.client
    seats = {"jinan": {"general": SEATS}}
    await api.import_exam(exam_definition(EXAM, seats=seats))
    await site.service.stores.registry.refresh()
    booked: list[Any] = []
    is_over = asyncio.Event()

    async def crowd() -> None:
        while not is_over.is_set():
            booked.append(await book(api, f"candidate-{len(booked)}"))

    buying = asyncio.create_task(crowd())
    backup = await asyncio.to_thread(back_up, cluster)
    is_over.set()
    await buying
    await book(api, "after-the-backup")
    held = (await api.reserve("pays-late")).json
    await eventually(partial(is_drained, cluster, held))
    bookings = await value(cluster, "SELECT count(*) FROM bookings")
    time = await value(cluster, NOW)

    assert (await api.pay(held, event="paid-late")).json["outcome"] == "confirmed"
    ordered, paid = await book(api, "orders-again"), await book(api, "only-pays-again")
    refund = await api.call("POST", f"/v1/reservations/{booked[0]['id']}/refund")
    assert refund.status == 200
    end = await value(cluster, "SELECT pg_walfile_name(pg_current_wal_lsn())")
    await eventually(partial(is_archived, cluster, end))
    return Day(backup, time, bookings, held, booked[0], ordered, paid)


def back_up(cluster: ShippedPostgres) -> str:
    return cluster.run(
        "backup.sh",
        str(cluster.folder / "base"),
        environment={"BACKUP_DSN": cluster.dsn_of("quota_backup", "")},
    ).strip()


async def check_restored(site: Serving, day: Day) -> None:
    """Fail unless it is as at the time, and what is sent again ends as it did."""
    api = site.client
    await eventually(partial(is_served, site))
    assert await differences(site) == []
    states = [await state(api, each) for each in (day.held, day.refunded, day.ordered, day.paid)]
    assert states == ["held", "confirmed", None, None]

    again = (await api.reserve("orders-again", idempotency_key="orders-again")).json
    assert again["id"] == day.ordered["id"]
    outcomes = [
        (await api.pay(each, event=event)).json["outcome"]
        for each, event in (
            (day.held, "paid-late"),
            (day.ordered, "paid-orders-again"),
            (day.paid, "paid-only-pays-again"),
            (day.refunded, "paid-candidate-0"),
        )
    ]
    assert outcomes == ["confirmed", "confirmed", "refund_due", "confirmed"]
    assert await differences(site) == []


async def test_what_was_committed_by_the_time_is_there_and_the_rest_comes_back_by_its_payments(
    cluster: ShippedPostgres, tmp_path: Path
) -> None:
    with ShippedRedis(tmp_path / "redis") as surviving:
        with cluster.serving({"archive_timeout = 60s": "archive_timeout = 1s"}):
            async with site_on(surviving, cluster) as site:
                day = await until_both_are_lost(cluster, site)
            cluster.kill()
        shutil.rmtree(cluster.data)
        cluster.run("restore.sh", day.backup, day.time, str(cluster.data))
        with cluster.serving():
            assert await value(cluster, "SELECT count(*) FROM bookings") == day.bookings
            async with open_stores(settings_of(surviving, cluster), Metrics()) as stores:
                await stores.registry.refresh()
                found = (await audit(stores.maintenance, EXAM)).differences
            surviving.stop()
            with ShippedRedis(tmp_path / "empty") as empty:
                async with site_on(empty, cluster) as site:
                    await check_restored(site, day)
    # Three bookings are lost and one refund.
    assert [(each.place, each.expected, each.found) for each in found] == [
        (
            "jinan/general",
            f"{day.bookings} booked in Postgres",
            f"{day.bookings + 2} in Redis",
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere", "latest", "data"], "restore.sh: nowhere is not a backup"),
        (["base", "yesterday", "data"], "restore.sh: TIME is 'yesterday'; it takes latest, or"),
        (["base", "2026-03-01T12:00:00+08:00", "data"], r"TIME is '2026-03-01T12:00:00\+08:00'"),
        (["base", "latest", "base"], "restore.sh: base is there; move it away"),
        (["base", "latest"], "usage: restore.sh BACKUP TIME DATA"),
    ],
)
def test_a_restore_says_what_is_wrong_before_it_writes(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/backup_manifest").touch()

    script = DEPLOY / "postgres/restore.sh"
    done = subprocess.run(
        ["sh", script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert re.search(told, done.stderr)
    assert not (tmp_path / "data").exists()


def test_a_backup_says_what_is_missing(cluster: ShippedPostgres) -> None:
    with pytest.raises(ProgramFailedError, match=r"backup\.sh: BACKUP_DSN is not set"):
        cluster.run("backup.sh", str(cluster.folder / "none"))

    assert not (cluster.folder / "none").exists()


def test_an_archive_is_never_overwritten(tmp_path: Path) -> None:
    segment, copy = tmp_path / "segment", tmp_path / "copy"
    segment.write_text("ours")
    archive = ["sh", DEPLOY / "postgres/archive-wal.sh", segment, copy]

    done = [subprocess.run(archive, capture_output=True, check=False) for _ in range(2)]
    segment.write_text("another's")
    refused = subprocess.run(archive, capture_output=True, text=True, check=False)

    assert [each.returncode for each in done] == [0, 0]
    assert copy.read_text() == "ours"
    assert refused.returncode == 1
    assert f"{copy} is there and differs" in refused.stderr
