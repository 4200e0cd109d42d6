"""Moves the deadline of a hold, so that no test has to wait for one."""

import redis.asyncio

from quota_service.domain.reservation import ReservationId
from quota_service.seats.keys import Shard
from quota_service.seats.record import FIELDS

_BACK_MS = 10_000_000


async def move_due_into_the_past(client: "redis.asyncio.Redis", reservation: str) -> None:
    """Move every time of a live hold back by some hours; it is then overdue."""
    parts = ReservationId.parse(reservation)
    assert parts is not None
    shard = Shard(parts.exam, parts.shard, 0)
    key = shard.record_key(parts.serial)
    record = dict(zip(FIELDS, str(await client.get(key)).split("|"), strict=True))
    assert record["state"] == "held", record["state"]
    for name in ("deadline_ms", "due_ms"):
        record[name] = str(int(record[name]) - _BACK_MS)
    await client.set(key, "|".join(record.values()))
    await client.zadd(shard.key("due"), {parts.serial: int(record["due_ms"])})
