"""What both stores hold about one exam when all is quiet, read around the service."""

import asyncio
import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import redis.asyncio

from quota_service.domain.reservation import Reservation
from quota_service.seats.keys import Shard
from quota_service.seats.record import parse_record
from tests.faults.deployment import Deployment

COUNTERS = ("capacity", "remaining", "returned", "held", "confirming", "confirmed")
_POLL_S = 0.05
_READ_LIMIT_S = 20.0
_PAGE = 500

_QUERIES = {
    "quotas": "SELECT * FROM quotas WHERE exam = $1",
    "bookings": "SELECT * FROM bookings WHERE exam = $1",
    "items": "SELECT * FROM booking_items WHERE exam = $1",
    "events": "SELECT * FROM payment_events WHERE split_part(reservation, '.', 1) = $1",
    "refunds": "SELECT * FROM refunds WHERE exam = $1",
    "due": "SELECT * FROM refunds_due WHERE split_part(reservation, '.', 1) = $1",
    "journal": "SELECT * FROM journal WHERE exam = $1 ORDER BY epoch, version",
    "drained": "SELECT id, state FROM reservations WHERE exam = $1",
    "quarantine": "SELECT * FROM journal_quarantine WHERE exam = $1",
    "gaps": "SELECT * FROM journal_gaps WHERE exam = $1 ORDER BY from_version",
    "entries": "SELECT * FROM waiting_list_entries WHERE exam = $1 ORDER BY number",
    "recoveries": "SELECT * FROM recoveries WHERE exam = $1 ORDER BY epoch",
}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """Both stores at one quiet moment; quotas are `venue/subject`, ids are reservations'.

    `clock_ms` is Redis's clock before anything was read.
    """

    exam: str
    clock_ms: int
    counters: dict[str, dict[str, int]]
    records: dict[str, Reservation]
    claims: dict[str, str]
    quotas: dict[str, Row]
    bookings: dict[str, Row]
    items: list[Row]
    events: dict[str, Row]
    refunds: dict[str, Row]
    due: dict[str, Row]
    journal: list[Row]
    drained: dict[str, Row]
    quarantine: list[Row]
    gaps: list[Row]
    entries: list[Row]
    recoveries: list[Row]
    unquiet: str


async def await_quiet(deployment: Deployment, exam: str, within_s: float) -> str:
    """Wait until nothing is under way; return what still is when the time is over, else ""."""
    deadline = time.monotonic() + within_s
    async with deployment.ledger() as ledger, deployment.redis.client(exam) as seats:
        while True:
            found = await _in_flight(ledger, seats, exam)
            if not found or time.monotonic() > deadline:
                return found
            await asyncio.sleep(_POLL_S)


async def _in_flight(ledger: Any, seats: "redis.asyncio.Redis", exam: str) -> str:
    row = await ledger.fetchrow(
        "SELECT s.state, s.epoch, p.drained_epoch, p.drained_version"
        " FROM shards s LEFT JOIN journal_positions p USING (exam) WHERE exam = $1",
        exam,
    )
    if row is None or row["state"] != "open":
        return "the shard is not open in postgres"
    shard = Shard(exam, 0)
    fence = await seats.get(shard.key("epoch")) or ""
    if fence.partition("@")[0] != str(row["epoch"]):
        return f"the shard is not open in redis: {fence!r}"
    version = int(await seats.get(shard.key("version")) or 0)
    drained = (row["drained_epoch"], row["drained_version"])
    if version and drained != (row["epoch"], version):
        return f"the journal is drained to {drained} of {(row['epoch'], version)}"
    if attempts := await seats.zcard(shard.key("pinned")):
        return f"{attempts} have an attempt"
    clock_s, micros = await seats.time()
    overdue = await seats.zcount(shard.key("due"), "-inf", clock_s * 1000 + micros // 1000)
    if overdue:
        return f"{overdue} holds are overdue"
    returning = await ledger.fetchval(
        "SELECT count(*) FROM refunds WHERE exam = $1 AND seats_returned_at IS NULL", exam
    )
    unfinished = len(set(await seats.hkeys(shard.key("offers"))) - {"leader"})
    found = {"refunds have their seats in redis": returning, "offers are not finished": unfinished}
    return ", ".join(f"{count} {what}" for what, count in found.items() if count)


async def look(deployment: Deployment, exam: str, within_s: float) -> Seen:
    """Wait for quiet and read both stores, at one version of the shard.

    Holds may still expire: whatever was taken as a step since it was found quiet, or while it was
    read, has it read again, also beyond the time.
    """
    version_key = Shard(exam, 0).key("version")
    deadline = time.monotonic() + within_s
    while True:
        async with deployment.redis.client(exam) as seats:
            before = await seats.get(version_key)
            unquiet = await await_quiet(deployment, exam, max(0.0, deadline - time.monotonic()))
            seen = await _read(deployment, seats, exam, unquiet)
            if await seats.get(version_key) == before:
                return seen
        if time.monotonic() > deadline + _READ_LIMIT_S:
            return dataclasses.replace(seen, unquiet=unquiet or "it goes on while it is read")


async def _read(
    deployment: Deployment, seats: "redis.asyncio.Redis", exam: str, unquiet: str
) -> Seen:
    shard = Shard(exam, 0)
    clock_s, micros = await seats.time()
    counters = {}
    for name in COUNTERS:
        found: Any = await seats.hgetall(shard.key(name))
        counters[name] = {quota: int(n) for quota, n in found.items()}
    claims: Any = await seats.hgetall(shard.key("claims"))
    records = await _records(seats, shard)
    async with deployment.ledger() as ledger:
        rows = {
            table: [dict(row) for row in await ledger.fetch(query, exam)]
            for table, query in _QUERIES.items()
        }
    return Seen(
        exam=exam,
        clock_ms=clock_s * 1000 + micros // 1000,
        counters=counters,
        records=records,
        claims=claims,
        quotas={f"{row['venue']}/{row['subject']}": row for row in rows["quotas"]},
        bookings=_by("reservation", rows["bookings"]),
        items=rows["items"],
        events=_by("event", rows["events"]),
        refunds=_by("reservation", rows["refunds"]),
        due=_by("event", rows["due"]),
        journal=rows["journal"],
        drained=_by("id", rows["drained"]),
        quarantine=rows["quarantine"],
        gaps=rows["gaps"],
        entries=rows["entries"],
        recoveries=rows["recoveries"],
        unquiet=unquiet,
    )


async def _records(seats: "redis.asyncio.Redis", shard: Shard) -> dict[str, Reservation]:
    prefix = shard.record_key("")
    keys = [key async for key in seats.scan_iter(match=f"{prefix}*", count=5000)]
    found = {}
    for at in range(0, len(keys), _PAGE):
        page = keys[at : at + _PAGE]
        for key, text in zip(page, await seats.mget(page), strict=True):
            if text is not None:
                record = parse_record(shard.exam, key.removeprefix(prefix), text)
                found[record.id] = record
    return found


def _by(name: str, rows: list[Row]) -> dict[str, Row]:
    return {row[name]: row for row in rows}
