"""The capacity worker: finishes imports that died between the two stores."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quota_service.registration.stores import ExamStores
from quota_service.registration.sync_shard import definition_is_in_force, finish_import
from quota_service.workers.loop import each_of
from quota_service.workers.schedule import SELDOM_S, Schedule

_LEFT_ALONE = 20
"""How many times as long as the comparison took, an exam that was level is not compared again."""


@dataclass(frozen=True, slots=True)
class _Level:
    """What was found level: of which definition and epoch, at which version of the shard."""

    revision: int
    epoch: int
    version: int
    until_s: float


class CapacityWorker:
    """Compares definition and capacities of the exams whose turn it is.

    The definition is compared each time. The capacities were put level with it by an import, so
    they are read again when there is another definition, and else while the shard takes steps: the
    less often, the longer that takes.
    """

    name = "capacity"
    interval_s = 5.0
    """Pause between two rounds."""

    def __init__(
        self,
        stores: ExamStores,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._schedule = Schedule(stores.registry, SELDOM_S)
        self._level: dict[str, _Level] = {}

    async def run_once(self) -> Mapping[str, int]:
        """Give Redis the definitions and capacities of Postgres; returns {"finished": imports}."""
        return await each_of(self._schedule.exams(), self._finish)

    async def _finish(self, exam_id: str) -> Mapping[str, int]:
        registry = self._stores.registry
        if registry.is_new(exam_id):
            return {"finished": int(await finish_import(self._stores, exam_id))}
        revision, shard = registry.find(exam_id).revision, registry.shard(exam_id)
        version = (await self._stores.seats.totals(shard)).version
        level, began_s = self._level.get(exam_id), self._clock()
        if (
            level is not None
            and (level.revision, level.epoch) == (revision, shard.epoch)
            and (level.version == version or began_s < level.until_s)
            and await definition_is_in_force(self._stores, exam_id)
        ):
            return {"finished": 0}
        finished = await finish_import(self._stores, exam_id)
        if not finished:
            ended_s = self._clock()
            until_s = ended_s + _LEFT_ALONE * (ended_s - began_s)
            self._level[exam_id] = _Level(revision, shard.epoch, version, until_s)
        return {"finished": int(finished)}
