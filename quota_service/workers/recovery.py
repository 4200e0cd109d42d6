"""The recovery worker: ends payments whose process died between the two stores."""

from collections.abc import Mapping

from quota_service.registration.recover import recover_pins
from quota_service.registration.stores import Stores
from quota_service.settings import Settings


class RecoveryWorker:
    """One bounded batch of each shard a round."""

    name = "recovery"

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self._stores = stores
        self._age_ms = round(settings.recovery_age_s * 1000)
        self._batch_max = settings.recovery_batch_max
        self.interval_s = settings.recovery_interval_s

    async def run_once(self) -> Mapping[str, int]:
        """Settle old pins; returns {"finished": bookings, "unpinned": holds}."""
        finished = unpinned = 0
        for shard in self._stores.registry.open_shards():
            counts = await recover_pins(self._stores, shard, self._age_ms, self._batch_max)
            finished, unpinned = finished + counts[0], unpinned + counts[1]
        return {"finished": finished, "unpinned": unpinned}
