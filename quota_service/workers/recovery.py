"""The recovery worker: ends what died between the two stores: payments, changes, refunds."""

import dataclasses
from collections.abc import Mapping

from quota_service.registration.recover import recover_pins
from quota_service.registration.refund import return_seats
from quota_service.registration.stores import Stores
from quota_service.seats.keys import Shard
from quota_service.settings import Settings
from quota_service.workers.loop import each_shard


class RecoveryWorker:
    """One bounded batch of each shard a round."""

    name = "recovery"

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self._stores = stores
        self._age_ms = round(settings.recovery_age_s * 1000)
        self._batch_max = settings.recovery_batch_max
        self.interval_s = settings.recovery_interval_s

    async def run_once(self) -> Mapping[str, int]:
        """Settle old pins and return the seats of refunds.

        Returns {"finished": bookings, "unpinned": holds, "moved": bookings, "stayed": bookings,
        "returned": refunds}.
        """
        return await each_shard(self._stores.registry, self._recover)

    async def _recover(self, shard: Shard) -> Mapping[str, int]:
        recovered = await recover_pins(self._stores, shard, self._age_ms, self._batch_max)
        returned = await return_seats(self._stores, shard, self._batch_max)
        return {**dataclasses.asdict(recovered), "returned": returned}
