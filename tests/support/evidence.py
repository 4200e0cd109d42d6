"""Looks into both stores from outside: whether anything changed, and whether the books balance."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import redis.asyncio

from quota_service.domain.exam import Quota
from quota_service.domain.reservation import Reservation
from quota_service.seats.keys import Shard
from quota_service.seats.record import parse_record
from quota_service.settings import Settings
from tests.support.books import seats_taken

_COUNTERS = ("capacity", "remaining", "held", "confirming", "confirmed")


class Evidence:
    """Both stores of one test, read without the service."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def fingerprint(self) -> Mapping[str, object]:
        """Return the contents of both stores, to be compared with those at another moment.

        What processes report of their load each second is left out, and so are payment events that
        were signed and could not be understood, what is told of them, and refusals, which are kept
        on purpose.
        """
        seen: dict[str, object] = {}
        async with redis.asyncio.Redis.from_url(self._settings.redis_url) as client:
            async for key in client.scan_iter(count=1000):
                if not key.endswith(b":signals"):
                    seen[key.decode()] = await client.dump(key)
        async with self._ledger() as ledger:
            tables = await ledger.fetch(
                "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
                " AND tablename NOT IN ('unreadable_payments', 'refusals', 'events') ORDER BY 1"
            )
            # One query for all of them, as a test makes many fingerprints.
            parts = [
                f"SELECT '{table['name']}' AS name, count(*) AS rows,"  # noqa: S608
                f" sum(hashtextextended(t::text, 0)) AS hash FROM {table['name']} t"
                for table in tables
            ]
            for row in await ledger.fetch(" UNION ALL ".join(parts)):
                seen[f"table {row['name']}"] = (row["rows"], row["hash"])
        return seen

    async def rows(self, query: str, *args: Any) -> "list[asyncpg.Record]":
        """Return the rows of a query to Postgres."""
        async with self._ledger() as ledger:
            return await ledger.fetch(query, *args)

    async def payments(self) -> dict[str, tuple[str, str | None]]:
        """Return the outcome and reason of every recorded payment event."""
        rows = await self.rows("SELECT event, outcome, reason FROM payment_events")
        return {row["event"]: (row["outcome"], row["reason"]) for row in rows}

    async def bookings(self) -> list[str]:
        """Return the reservations that are booked."""
        rows = await self.rows("SELECT reservation FROM bookings ORDER BY reservation")
        return [row["reservation"] for row in rows]

    async def counters(self, exam: str = "exam-1") -> dict[str, dict[Quota, int]]:
        """Return every counter of an exam in Redis."""
        shard = Shard(exam, 0)
        found = {}
        async with self._client() as client:
            for name in _COUNTERS:
                seats = await client.hgetall(shard.key(name))
                found[name] = {Quota(*key.split("/")): int(n) for key, n in seats.items()}
        return found

    async def reservations(self, exam: str = "exam-1") -> list[Reservation]:
        """Return every reservation of an exam that Redis has a record of."""
        prefix = Shard(exam, 0).record_key("")
        found = []
        async with self._client() as client:
            async for key in client.scan_iter(match=f"{prefix}*", count=1000):
                text = await client.get(key)
                found.append(parse_record(exam, key.removeprefix(prefix), text))
        return found

    async def assert_books_balance(self, exam: str = "exam-1") -> None:
        """Check P1, P7 and P9: counters, records, claims and ledger all tell the same."""
        counters = await self.counters(exam)
        reservations = await self.reservations(exam)
        for quota, capacity in counters["capacity"].items():
            parts = {name: counters[name].get(quota, 0) for name in _COUNTERS[1:]}
            assert sum(parts.values()) == capacity, (quota, capacity, parts)
            assert min(parts.values()) >= 0, (quota, parts)
        for name, seats in seats_taken(reservations).items():
            counted = {str(quota): n for quota, n in counters[name].items() if n}
            assert counted == dict(seats), name
        standing = [r for r in reservations if not r.state.is_ended]
        claimed = {
            f"{r.candidate}/{session}": r.id.rpartition(".")[2]
            for r in standing
            for session in r.sessions
        }
        async with self._client() as client:
            assert await client.hgetall(Shard(exam, 0).key("claims")) == claimed
        assert len(claimed) == sum(len(r.sessions) for r in standing)
        ledger = await self.rows(
            "SELECT venue, subject, capacity, confirmed FROM quotas WHERE exam = $1", exam
        )
        for row in ledger:
            quota = Quota(row["venue"], row["subject"])
            assert row["capacity"] == counters["capacity"][quota], quota
            assert row["confirmed"] == counters["confirmed"][quota], quota

    def _client(self) -> "redis.asyncio.Redis":
        return redis.asyncio.Redis.from_url(self._settings.redis_url, decode_responses=True)

    @asynccontextmanager
    async def _ledger(self) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        connection = await asyncpg.connect(self._settings.postgres_dsn)
        try:
            yield connection
        finally:
            await connection.close()
