"""The journal worker: moves the audit trail from Redis to Postgres and keeps Redis small."""

from collections.abc import Mapping

from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.stores import Stores
from quota_service.seats.keys import Shard
from quota_service.settings import Settings
from quota_service.workers.loop import each_shard


class JournalDrainWorker:
    """One bounded batch of each shard a round."""

    name = "journal_drain"

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self._stores = stores
        self._batch_max = settings.journal_batch_max
        self._tries_max = settings.journal_tries_max
        self.interval_s = settings.journal_interval_ms / 1000

    async def run_once(self) -> Mapping[str, int]:
        """Drain what waits; returns {"stored": entries, "quarantined": entries}."""
        return await each_shard(self._stores.registry, self._drain)

    async def _drain(self, shard: Shard) -> Mapping[str, int]:
        drained = await drain_journal(self._stores, shard, self._batch_max, self._tries_max)
        return {"stored": drained.stored, "quarantined": drained.quarantined}
