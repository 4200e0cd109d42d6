"""The dealing worker: offers returned seats to waiting lists, where no other process leads it.

Exams whose seats go back on open sale at once have nothing to deal. All others are looked at in
each round, with one small script call each that leave as one batch; what is due is dealt at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from quota_service.domain.exam import ReturnRule
from quota_service.registration.deal import Dealing
from quota_service.registration.stores import DealingStores
from quota_service.seats.keys import Shard
from quota_service.settings import Settings
from quota_service.workers.loop import ServersApart, each_of

_LOOKS_AT_ONCE = 50


class DealingWorker:
    """One look at every exam with a rule for returned seats a round, and its dealing.

    Any number may run; one of them leads the dealing of an exam and the others stand by.
    """

    name = "dealing"
    interval_s = 0.2
    """Pause when nothing is due."""

    def __init__(self, stores: DealingStores, settings: Settings) -> None:
        self._stores = stores
        self._dealing = Dealing(stores, settings)
        self._looks = ServersApart(stores.seats.server_of, self._visit_all)

    async def run_once(self) -> Mapping[str, int]:
        """Deal what is due; returns {"offers", "opened": seats, "ended": entries, "settled"}."""
        registry = self._stores.registry
        going_on = set(registry.progress().going_on)
        exams = [
            exam.id
            for exam in registry.all()
            if exam.returned.rule is not ReturnRule.AT_ONCE and exam.id in going_on
        ]
        return await self._looks.run_once(registry.open_shards_of(exams))

    async def _visit_all(self, shards: Sequence[Shard]) -> Mapping[str, int]:
        return await each_of(shards, self._visit, at_once=_LOOKS_AT_ONCE)

    async def _visit(self, shard: Shard) -> Mapping[str, int]:
        exam = self._stores.registry.find(shard.exam)
        return asdict(await self._dealing.visit(exam, shard))
