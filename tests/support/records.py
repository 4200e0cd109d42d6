"""Reads and moves what scripts have written, so that no test has to wait for a deadline."""

import redis.asyncio

from quota_service.domain.reservation import ReservationId
from quota_service.seats.keys import Shard
from quota_service.seats.record import FIELDS

HOUR_MS = 3_600_000


async def redis_now_ms(client: "redis.asyncio.Redis") -> int:
    """Return the time by Redis's clock."""
    seconds, micros = await client.time()
    return int(seconds) * 1000 + int(micros) // 1000


async def read_fields(client: "redis.asyncio.Redis", shard: Shard, serial: str) -> dict[str, str]:
    """Return the fields of a record by name."""
    text = await client.get(shard.record_key(serial))
    assert isinstance(text, str), f"no record of {serial}"
    # A record whose seats are of no set-aside ends before that field.
    return dict(zip(FIELDS, text.split("|"), strict=False))


async def change_fields(
    client: "redis.asyncio.Redis", shard: Shard, serial: str, **changes: str | int
) -> None:
    """Replace fields of a record where it lies, its lifetime left as it is."""
    fields = {**await read_fields(client, shard, serial), **changes}
    text = "|".join(str(value) for value in fields.values())
    await client.set(shard.record_key(serial), text, keepttl=True)


async def move_due(
    client: "redis.asyncio.Redis", shard: Shard, serial: str, *, ago_ms: int = HOUR_MS
) -> None:
    """Let the due time of a live hold be `ago_ms` ago by Redis's clock; negative: still to come."""
    fields = await read_fields(client, shard, serial)
    assert fields["state"] == "held", fields["state"]
    due_ms = await redis_now_ms(client) - ago_ms
    slack_ms = int(fields["due_ms"]) - int(fields["deadline_ms"])
    await change_fields(client, shard, serial, deadline_ms=due_ms - slack_ms, due_ms=due_ms)
    await client.zadd(shard.key("due"), {serial: due_ms})


async def move_due_into_the_past(client: "redis.asyncio.Redis", reservation: str) -> None:
    """Let a live hold of an exam that was just opened be overdue, by its id."""
    parts = ReservationId.parse(reservation)
    assert parts is not None
    await move_due(client, Shard(parts.exam, 0), parts.serial)


async def move_attempt(
    client: "redis.asyncio.Redis", shard: Shard, serial: str, *, ago_ms: int = HOUR_MS
) -> None:
    """Let the attempt on a reservation have begun `ago_ms` ago by Redis's clock."""
    attempt_began_ms = await redis_now_ms(client) - ago_ms
    await change_fields(client, shard, serial, attempt_began_ms=attempt_began_ms)
    await client.zadd(shard.key("pinned"), {serial: attempt_began_ms})
