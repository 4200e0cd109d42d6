"""The rebuild worker: notices shards that Redis has lost, and puts them together again."""

from collections.abc import Mapping

from quota_service.registration.rebuild import rebuild_if_lost
from quota_service.registration.registry import UsedShard
from quota_service.registration.stores import Stores
from quota_service.settings import Settings
from quota_service.workers.loop import each_of


class RebuildWorker:
    """Looks at every shard in a round."""

    name = "rebuild"

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self._stores = stores
        self.interval_s = settings.rebuild_interval_s

    async def run_once(self) -> Mapping[str, int]:
        """Rebuild what is lost; returns {"rebuilt": shards}."""
        # A server that was started again is found out by asking for our scripts.
        await self._stores.seats.check()
        return await each_of(self._stores.registry.used_shards(), self._rebuild)

    async def _rebuild(self, used: UsedShard) -> Mapping[str, int]:
        rebuilt = await rebuild_if_lost(self._stores, used)
        return {"rebuilt": int(rebuilt is not None)}
