"""The recovery worker: ends what died between the two stores: payments, changes, refunds."""

import dataclasses
from collections import Counter
from collections.abc import Mapping

from quota_service.registration.recover import recover_attempts
from quota_service.registration.refund import return_seats
from quota_service.registration.stores import PaymentStores
from quota_service.seats.keys import Shard
from quota_service.settings import Settings
from quota_service.workers.loop import each_of
from quota_service.workers.schedule import Schedule

_BATCH_MAX = 500
"""Payments or refunds of one shard in a round; then it is the next one's turn."""


class RecoveryWorker:
    """One bounded batch of each shard a round."""

    name = "recovery"
    interval_s = 1.0
    """Pause when nothing is overdue."""

    def __init__(self, stores: PaymentStores, settings: Settings) -> None:
        self._stores = stores
        self._schedule = Schedule(stores.registry)
        self._age_ms = round(settings.recovery_age_s * 1000)

    async def run_once(self) -> Mapping[str, int]:
        """Decide old attempts and return the seats of refunds.

        Returns {"finished": bookings, "abandoned": holds, "moved": bookings, "stayed": bookings,
        "returned": refunds}.
        """
        counts = await each_of(self._schedule.shards(), self._recover)
        unfinished = await self._stores.refunds.exams_to_return()
        shards = self._stores.registry.open_shards_of(unfinished)
        return counts + Counter(await each_of(shards, self._return))

    async def _recover(self, shard: Shard) -> Mapping[str, int]:
        recovered = await recover_attempts(self._stores, shard, self._age_ms, _BATCH_MAX)
        return dataclasses.asdict(recovered)

    async def _return(self, shard: Shard) -> Mapping[str, int]:
        return {"returned": await return_seats(self._stores, shard, _BATCH_MAX)}
