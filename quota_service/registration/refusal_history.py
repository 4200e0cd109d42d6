"""Refusals of candidates are kept for a day, so that ops see what a candidate met.

A refusal is the most frequent answer at an opening, so it waits for no store:

    1. the refusal is counted in memory, under its candidate or reservation, its slug and its
       minute, with the key and the request of the last one, and answered
    2. a task beside the requests takes some of what was counted out of memory
    3. one statement adds it to its rows in Postgres                            <- ops see it

A process that is killed before 3 loses what it had not written; one that is stopped writes it. When
the answer of 3 is lost, the same is written again, and its counts may be too high. While Postgres
is away memory keeps as much as it may; beyond that refusals are missing, as they are where more
come than are written. A metric counts what is missing. Answers and log do not depend on any of it.

`QUOTA_LOG_CANDIDATES` is for the log, which goes where others read it; these rows are in the
database that has the reservations of the same candidates, and only for a day.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from quota_service.domain.errors import LedgerUnavailable, QuotaError, UnknownReservation
from quota_service.domain.reservation import ReservationId
from quota_service.ledger.refusals import RefusalKey, RefusalLedger, Refusals
from quota_service.observability.caller import Caller
from quota_service.observability.metrics import Metrics

WRITE_INTERVAL_S = 0.25
"""How often a batch is written."""


@dataclass(frozen=True, slots=True)
class RefusalLimits:
    """How much of a flood each process keeps."""

    waiting_max: int = 20_000
    """Rows that wait in memory: some 12 MB."""
    batch_max: int = 500
    """Rows of a statement; it makes 2000 a second."""
    last_writes_s: float = 1.0
    """How long a process that is stopped may take to write what is left."""


class RefusalHistory:
    """The refusals that this process has not written yet."""

    def __init__(self, ledger: RefusalLedger, metrics: Metrics, limits: RefusalLimits) -> None:
        self._ledger = ledger
        self._dropped = metrics.refusals_dropped
        self._limits = limits
        self._waiting: dict[RefusalKey, Refusals] = {}

    def add(self, slug: str, params: Mapping[str, str], candidate: str, by: Caller) -> None:
        """Count a refusal, by the clock of this process.

        `params` are the variable parts of the address. What names neither a candidate nor a
        reservation of a candidate is left out.
        """
        exam, reservation = params.get("exam", ""), ""
        if "\0" in exam:  # no text of Postgres, and no exam
            return
        if not candidate:
            reservation = params.get("reservation", "")
            parts = ReservationId.parse(reservation)
            if parts is None or slug == UnknownReservation.slug:
                return
            exam = parts.exam
        now_ms = round(time.time() * 1000)
        key = RefusalKey(exam, candidate, reservation, slug, now_ms // 60_000)
        self._add(key, Refusals(1, now_ms, by))

    async def write(self) -> int:
        """Write one batch and return how many rows it has.

        Raises LedgerUnavailable, and keeps them then. What Postgres refuses is dropped.
        """
        batch = {
            key: self._waiting.pop(key)
            for key in list(islice(self._waiting, self._limits.batch_max))
        }
        if not batch:
            return 0
        try:
            await self._ledger.add(batch)
        except (LedgerUnavailable, asyncio.CancelledError):
            for key, row in batch.items():
                self._add(key, row)
            raise
        except Exception:
            self._dropped.inc(_count(batch))
            raise
        return len(batch)

    async def write_rest(self) -> None:
        """Write what is left, as far as Postgres takes it in the time for it."""
        try:
            async with asyncio.timeout(self._limits.last_writes_s):
                while await self.write():
                    pass
        except (QuotaError, TimeoutError):
            self._dropped.inc(_count(self._waiting))

    def _add(self, key: RefusalKey, row: Refusals) -> None:
        known = self._waiting.get(key)
        if known is not None:
            known.count += row.count
            if row.last_ms >= known.last_ms:
                known.last_ms, known.by = row.last_ms, row.by
        elif len(self._waiting) < self._limits.waiting_max:
            self._waiting[key] = row
        else:
            self._dropped.inc(row.count)


def _count(rows: Mapping[RefusalKey, Refusals]) -> int:
    return sum(row.count for row in rows.values())
