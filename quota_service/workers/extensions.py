"""The worker of extensions: goes on with those whose process has died or met a fault."""

from collections.abc import Mapping

from quota_service.registration.extend_holds import finish_extensions
from quota_service.registration.stores import MaintenanceStores
from quota_service.seats.keys import Shard
from quota_service.workers.loop import each_of


class ExtensionWorker:
    """All that are not ended a round, exam by exam."""

    name = "extensions"
    interval_s = 1.0
    """Pause between two rounds: holds that are not extended yet expire meanwhile."""

    def __init__(self, stores: MaintenanceStores) -> None:
        self._stores = stores

    async def run_once(self) -> Mapping[str, int]:
        """Carry out what is not ended; returns {"ended": extensions}."""
        exams = await self._stores.extensions.exams()
        return await each_of(self._stores.registry.open_shards_of(exams), self._finish)

    async def _finish(self, shard: Shard) -> Mapping[str, int]:
        return {"ended": await finish_extensions(self._stores, shard.exam)}
