"""The expiry worker: gives back unpaid holds within a second of their time."""

from collections.abc import Mapping

from quota_service.registration.expire import expire_due_holds
from quota_service.registration.stores import Stores
from quota_service.seats.keys import Shard
from quota_service.settings import Settings
from quota_service.workers.loop import each_shard


class ExpiryWorker:
    """One bounded batch of each shard a round."""

    name = "expiry"

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self._stores = stores
        self._batch_max = settings.expiry_batch_max
        self.interval_s = settings.expiry_interval_ms / 1000

    async def run_once(self) -> Mapping[str, int]:
        """Expire what is due; returns {"expired": holds}."""
        return await each_shard(self._stores.registry, self._expire)

    async def _expire(self, shard: Shard) -> Mapping[str, int]:
        return {"expired": await expire_due_holds(self._stores, shard, self._batch_max)}
