"""The backlog: what waits in Redis for a Postgres that is away, and when it is enough.

Without Postgres, seats are still held and payments pinned, for a while. Beyond a bound no new seats
are held: payments that could not be recorded, and steps that are in Redis alone, must not pile up
without an end. When Postgres is back the workers bring the backlog down, and reserving goes on.
"""

from quota_service.domain.errors import LedgerUnavailable
from quota_service.registration.registry import ExamRegistry
from quota_service.seats.keys import Shard
from quota_service.seats.store import SeatStore


class Backlog:
    """Which shards have too much waiting, as it was at the last look."""

    def __init__(
        self, seats: SeatStore, registry: ExamRegistry, *, pins_max: int, journal_max: int
    ) -> None:
        self._seats = seats
        self._registry = registry
        self._pins_max = pins_max
        self._journal_max = journal_max
        self._full: frozenset[str] = frozenset()

    async def refresh(self) -> None:
        """Look at every open shard; Unavailable leaves what is known as it is."""
        full = set()
        for shard in self._registry.open_shards():
            pins, entries = await self._seats.waiting(shard)
            if pins > self._pins_max or entries > self._journal_max:
                full.add(shard.tag)
        self._full = frozenset(full)

    def check(self, shard: Shard) -> None:
        """Raise LedgerUnavailable when the shard is to take no more before Postgres is back."""
        if shard.tag in self._full:
            raise LedgerUnavailable("too much waits for postgres: no new holds until it is less")
