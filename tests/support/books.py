"""Audits a shard: every counter, index, claim and journal entry against the records themselves."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import redis.asyncio

from quota_service.domain.reservation import Reservation, State
from quota_service.seats.keys import SHARD_KEYS, Shard
from quota_service.seats.record import WITHOUT_RECORD, parse_record

COUNTERS = ("held", "confirming", "confirmed")
UNDER_ATTEMPT = {State.CONFIRMING, State.CHANGING_VENUE}
DAY_MS = 86_400_000


async def check_books(client: "redis.asyncio.Redis", shard: Shard) -> None:
    """Fail unless all that Redis keeps of a shard tells the same story (promises P3, P7, P9)."""
    records = await read_records(client, shard)
    await _check_keys(client, shard)
    await _check_counters(client, shard, records)
    await _check_indexes(client, shard, records)
    await _check_claims(client, shard, records)
    await _check_unpaid(client, shard, records)
    await _check_key_shares(client, shard, records)
    await _check_lifetimes(client, shard, records)
    await _check_journal(client, shard, records)


async def read_records(client: "redis.asyncio.Redis", shard: Shard) -> dict[str, Reservation]:
    """Return every reservation of a shard by its serial."""
    prefix = shard.record_key("")
    found = {}
    async for key in client.scan_iter(match=f"{prefix}*", count=1000):
        serial = key.removeprefix(prefix)
        text = await client.get(key)
        assert isinstance(text, str)
        found[serial] = parse_record(shard.exam, serial, text)
    return found


async def read_journal(
    client: "redis.asyncio.Redis", shard: Shard
) -> list[tuple[str, dict[str, str]]]:
    """Return every journal entry that waits, oldest first."""
    entries: list[Any] = await client.xrange(shard.key("journal"))
    return [(entry, fields) for entry, fields in entries]


async def _check_keys(client: "redis.asyncio.Redis", shard: Shard) -> None:
    async for key in client.scan_iter(match=f"{shard.tag}*", count=1000):
        name = key.removeprefix(f"{shard.tag}:")
        wanted = "string" if name.startswith("r:") else SHARD_KEYS.get(name, "not in the catalogue")
        assert await client.type(key) == wanted, key


async def _counter(client: "redis.asyncio.Redis", shard: Shard, name: str) -> Counter[str]:
    counts: Any = await client.hgetall(shard.key(name))
    assert [quota for quota, seats in counts.items() if int(seats) < 0] == [], name
    return Counter({quota: int(seats) for quota, seats in counts.items() if int(seats)})


async def _check_counters(
    client: "redis.asyncio.Redis", shard: Shard, records: dict[str, Reservation]
) -> None:
    seats = seats_taken(records.values())
    taken: Counter[str] = Counter()
    for name in COUNTERS:
        counted = await _counter(client, shard, name)
        assert counted == seats[name], name
        taken += counted
    free: Counter[str] = Counter()
    for name in ("remaining", "returned", "aside"):
        free += await _counter(client, shard, name)
    assert free + taken == await _counter(client, shard, "capacity")
    assert "0" not in await client.hvals(shard.key("returned"))
    left: Counter[str] = Counter()
    for field, seats_left in (await _counter(client, shard, "aside_left")).items():
        left[field.partition("/")[2]] += seats_left
    assert left == await _counter(client, shard, "aside")
    await _check_set_asides(client, shard, records)


async def _check_set_asides(
    client: "redis.asyncio.Redis", shard: Shard, records: dict[str, Reservation]
) -> None:
    """What is kept for a group is left of it or used, and each use of a code is a reservation."""
    used: Counter[str] = Counter()
    uses: Counter[str] = Counter()
    for r in records.values():
        set_aside, _, code = r.set_aside.partition(":")
        if set_aside and not r.state.is_ended:
            used.update(f"{set_aside}/{r.venue}/{subject}" for subject in r.subjects)
            uses.update([code] if code else [])
    assert await _counter(client, shard, "code_uses") == uses
    kept = await _counter(client, shard, "aside_seats")
    left = await _counter(client, shard, "aside_left")
    assert {field: left[field] + used[field] for field in kept} == dict(kept)


def seats_taken(reservations: Iterable[Reservation]) -> dict[str, Counter[str]]:
    """Return the seats that reservations take, by counter; a change has them at both venues."""
    seats: dict[str, Counter[str]] = {name: Counter() for name in COUNTERS}
    for r in reservations:
        match r.state:
            case State.HELD | State.CONFIRMING | State.CONFIRMED:
                taken = {r.state.value: r.venue}
            case State.CHANGING_VENUE:
                taken = {"confirmed": r.venue, "confirming": r.to_venue}
            case _:
                taken = {}
        for name, venue in taken.items():
            seats[name].update(f"{venue}/{subject}" for subject in r.subjects)
    return seats


async def _check_indexes(
    client: "redis.asyncio.Redis", shard: Shard, records: dict[str, Reservation]
) -> None:
    due: Any = await client.zrange(shard.key("due"), 0, -1, withscores=True)
    attempts: Any = await client.zrange(shard.key("pinned"), 0, -1, withscores=True)
    assert {serial: int(at) for serial, at in due} == {
        serial: r.due_ms for serial, r in records.items() if r.state is State.HELD
    }
    assert {serial: int(at) for serial, at in attempts} == {
        serial: r.attempt_began_ms for serial, r in records.items() if r.state in UNDER_ATTEMPT
    }


async def _check_claims(
    client: "redis.asyncio.Redis", shard: Shard, records: dict[str, Reservation]
) -> None:
    live = [
        (f"{r.candidate}/{session}", serial)
        for serial, r in records.items()
        if not r.state.is_ended
        for session in r.sessions
    ]
    assert len(dict(live)) == len(live), "two live reservations in one session"
    assert await client.hgetall(shard.key("claims")) == dict(live)


async def _check_unpaid(
    client: "redis.asyncio.Redis", shard: Shard, records: dict[str, Reservation]
) -> None:
    """Count what ended unpaid; what has no record any more is counted and is spent."""
    ended = [r for r in records.values() if r.state in {State.RELEASED, State.EXPIRED}]
    told: Any = await client.hgetall(shard.key("unpaid"))
    holds = {candidate: int(text.partition("|")[0]) for candidate, text in told.items()}
    forgotten = await client.smembers(shard.key("spent")) - records.keys()
    mine = Counter(r.candidate for r in ended)
    assert all(holds.get(candidate, 0) >= count for candidate, count in mine.items())
    assert 0 <= sum(holds.values()) - len(ended) <= len(forgotten)


async def _check_key_shares(
    client: "redis.asyncio.Redis", shard: Shard, records: dict[str, Reservation]
) -> None:
    held = [r for r in records.values() if r.state is State.HELD and r.key_id]
    seats = Counter(f"{r.key_id}/{r.venue}/{subject}" for r in held for subject in r.subjects)
    assert await _counter(client, shard, "key_held") == seats


async def _check_lifetimes(
    client: "redis.asyncio.Redis", shard: Shard, records: dict[str, Reservation]
) -> None:
    for serial, reservation in records.items():
        left_ms = await client.pttl(shard.record_key(serial))
        if reservation.state.is_ended:
            assert DAY_MS - 60_000 < left_ms <= DAY_MS, serial
        else:
            assert left_ms == -1, serial


async def _check_journal(
    client: "redis.asyncio.Redis", shard: Shard, records: dict[str, Reservation]
) -> None:
    """Every step has one entry; the last entry of each reservation is its record."""
    entries = await read_journal(client, shard)
    version = int(str(await client.get(shard.key("version"))))
    ids = [entry for entry, _ in entries]
    versions = [int(entry.partition("-")[2]) for entry in ids]
    assert versions == list(range(version - len(ids) + 1, version + 1))
    last = {e["subject"]: e["body"] for _, e in entries if e["verb"] not in WITHOUT_RECORD}
    for serial, body in last.items():
        told = parse_record(shard.exam, serial, body)
        if serial in records:
            assert told.state is records[serial].state, serial
            assert told.attempt == records[serial].attempt, serial
            assert told.payment_seen == records[serial].payment_seen, serial
