"""The admission worker: leads the waiting rooms that no other process leads."""

from collections.abc import Mapping, Sequence

from quota_service.registration.admit import Admission, AdmissionLimits
from quota_service.registration.stores import WaitingRoomStores
from quota_service.seats.keys import Shard
from quota_service.settings import Settings
from quota_service.workers.loop import ServersApart, each_of
from quota_service.workers.schedule import SELDOM_S, Schedule

_ROOMS_AT_ONCE = 8
"""Rooms of one server that take their step at once."""


class AdmissionWorker:
    """One step of every room a round. Its loop has to keep the pace: a step makes up for a second.

    Any number may run; one of them leads a room and the others stand by.
    """

    name = "admission"

    def __init__(self, stores: WaitingRoomStores, settings: Settings) -> None:
        self._stores = stores
        self._schedule = Schedule(stores.registry, SELDOM_S)
        self._admission = Admission(stores, settings)
        self._steps = ServersApart(self._server_of, self._take_steps)
        self.interval_s = settings.limits_of(AdmissionLimits).interval_s

    async def run_once(self) -> Mapping[str, int]:
        """Take a step for each room; returns {"admitted": candidates}."""
        return await self._steps.run_once(self._schedule.exams())

    def _server_of(self, exam: str) -> str:
        return self._stores.seats.server_of(Shard(exam, 0))

    async def _take_steps(self, exams: Sequence[str]) -> Mapping[str, int]:
        return await each_of(exams, self._step, at_once=_ROOMS_AT_ONCE)

    async def _step(self, exam: str) -> Mapping[str, int]:
        return {"admitted": round(await self._admission.admit(self._stores.registry.find(exam)))}
