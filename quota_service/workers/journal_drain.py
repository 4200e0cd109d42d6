"""The journal worker: moves the audit trail from Redis to Postgres and keeps Redis small.

A transaction costs the same for one entry as for hundreds, and in a rush there is always an entry
more. So the worker pauses whenever fewer wait than fill a batch: it drains as often as its interval
says, in large batches, and leaves the machine to those who reserve.
"""

from collections import Counter
from collections.abc import Mapping

from quota_service.registration.drain_journal import drain_journal, undrained_shards
from quota_service.registration.stores import MaintenanceStores
from quota_service.seats.keys import Shard
from quota_service.settings import Settings
from quota_service.workers.loop import each_of
from quota_service.workers.schedule import Schedule

_BATCH_MAX = 500
"""Entries drained in one transaction."""
_TRIES_MAX = 3
"""Tries before an entry that cannot be stored is quarantined."""
_BATCHES_MAX = 100
"""Batches of one shard in a round; then it is the next one's turn."""


class JournalDrainWorker:
    """What waits in each shard, to a bound, a round; it keeps pace."""

    name = "journal_drain"

    def __init__(
        self, stores: MaintenanceStores, settings: Settings, *, tries_max: int = _TRIES_MAX
    ) -> None:
        self._stores = stores
        self._schedule = Schedule(stores.registry)
        self._tries_max = tries_max
        self.interval_s = settings.journal_interval_ms / 1000

    async def run_once(self) -> Mapping[str, int]:
        """Drain what waits; returns {"stored": entries, "quarantined": entries}."""
        registry = self._stores.registry
        shards = registry.open_shards_of(self._stores.registry.progress().watched)
        if over := self._schedule.over():
            shards += await undrained_shards(self._stores, registry.open_shards_of(over))
        return await each_of(shards, self._drain)

    async def _drain(self, shard: Shard) -> Mapping[str, int]:
        counts: Counter[str] = Counter(stored=0, quarantined=0)
        for _ in range(_BATCHES_MAX):
            drained = await drain_journal(self._stores, shard, _BATCH_MAX, self._tries_max)
            counts.update(stored=drained.stored, quarantined=drained.quarantined)
            if drained.stored + drained.quarantined < _BATCH_MAX:
                break
        return counts
