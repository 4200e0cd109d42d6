"""The shard recovery worker: notices shards that may have lost something, and recovers them."""

from collections.abc import Mapping

from quota_service.registration.recover_shard import lost_shards, recover_if_lost
from quota_service.registration.registry import UsedShard
from quota_service.registration.stores import MaintenanceStores
from quota_service.settings import Settings
from quota_service.workers.loop import each_of
from quota_service.workers.schedule import Schedule

_CONNECTIONS_EACH = 2
"""Connections to Postgres of one recovery: for its lock, and for what it reads and writes."""


class ShardRecoveryWorker:
    """Looks at the shards whose turn it is; recovers as many at once as half of the pool allows."""

    name = "shard_recovery"
    interval_s = 0.25
    """Pause between two looks; a shard that lost something serves no request until it is seen."""

    def __init__(self, stores: MaintenanceStores, settings: Settings) -> None:
        self._stores = stores
        self._schedule = Schedule(stores.registry)
        self._run = ""
        self._at_once = settings.postgres_pool_max // (2 * _CONNECTIONS_EACH)

    async def run_once(self) -> Mapping[str, int]:
        """Recover what may have lost something; returns {"recovered": shards}."""
        lost = await self._lost()
        return await each_of(lost, self._recover, at_once=self._at_once)

    async def _lost(self) -> list[UsedShard]:
        """Return what may have lost something.

        Exams that are over are visited seldom, unless something happened to the server: it is in
        another run, or another shard has lost something.
        """
        stores, registry = self._stores, self._stores.registry
        everything = registry.used_shards()
        now = {*stores.registry.progress().watched, *self._schedule.over()}
        some = [each for each in everything if each.shard.exam in now or not each.is_open]
        lost = await lost_shards(stores, some)
        run = stores.recovery.run
        if len(some) < len(everything) and (lost or run != self._run):
            lost = await lost_shards(stores, everything)
        self._run = run
        return lost

    async def _recover(self, used: UsedShard) -> Mapping[str, int]:
        return {"recovered": int(await recover_if_lost(self._stores, used.shard.exam) is not None)}
