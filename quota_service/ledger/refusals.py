"""What candidates were refused within a day: no part of the books, and nothing is decided by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import ms
from quota_service.observability.caller import Caller


class RefusalKey(NamedTuple):
    """What one row counts; `minute` since the Unix epoch. One of candidate and reservation is "".

    A tuple, because one is made and looked up for each refusal.
    """

    exam: str
    candidate: str
    reservation: str
    slug: str
    minute: int


@dataclass(slots=True)
class Refusals:
    """How often it was refused, and when (ms) and to whom the last time."""

    count: int
    last_ms: int
    by: Caller


@dataclass(frozen=True, slots=True)
class RefusedBefore:
    """What a candidate was refused in one minute; `reservation` is "" where none was named."""

    slug: str
    reservation: str
    count: int
    last_ms: int
    by: Caller


@dataclass(frozen=True, slots=True)
class RefusedInMinute:
    """How often the candidates of an exam were refused with a slug in the minute of `minute_ms`."""

    minute_ms: int
    slug: str
    count: int


class RefusalLedger:
    """The refusals of a day."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def add(self, rows: Mapping[RefusalKey, Refusals]) -> None:
        """Add to the rows of the same keys; those of unknown exams are left out."""
        # As one text: as arrays they cost the event loop twice as much.
        told = [
            {
                **key._asdict(),
                "count": row.count,
                "last_ms": row.last_ms,
                "key_id": row.by.key_id,
                "request_id": row.by.request_id,
            }
            for key, row in rows.items()
        ]
        await self._ledger.fetch("insert_refusals", orjson.dumps(told).decode())

    async def of_candidate(
        self, exam: str, candidate: str, reservations: Sequence[str]
    ) -> list[RefusedBefore]:
        """Return those of a candidate and of its reservations, newest first, at most 200."""
        rows = await self._ledger.fetch(
            "select_refusals_of_candidate", exam, candidate, list(reservations)
        )
        return [
            RefusedBefore(
                row["slug"],
                row["reservation"],
                row["count"],
                ms(row["last_at"]),
                Caller(row["key_id"], row["request_id"]),
            )
            for row in rows
        ]

    async def by_minute(self, exam: str, minutes: int) -> list[RefusedInMinute]:
        """Return those of the last so many minutes, this one among them; oldest first."""
        rows = await self._ledger.fetch("count_refusals_by_minute", exam, minutes)
        return [RefusedInMinute(ms(row["minute"]), row["slug"], row["count"]) for row in rows]

    async def prune(self, limit: int) -> int:
        """Remove at most `limit` rows that are older than a day; return how many."""
        rows = await self._ledger.fetch("prune_refusals", limit)
        return int(rows[0]["count"])
