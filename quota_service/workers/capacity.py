"""The capacity worker: finishes imports that died between the two stores."""

from collections.abc import Mapping

from quota_service.registration.import_exam import finish_import
from quota_service.registration.stores import Stores
from quota_service.settings import Settings
from quota_service.workers.loop import each_of


class CapacityWorker:
    """Compares definition and capacities of every exam in a round."""

    name = "capacity"

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self._stores = stores
        self.interval_s = settings.capacity_interval_s

    async def run_once(self) -> Mapping[str, int]:
        """Give Redis the definitions and capacities of Postgres; returns {"finished": imports}."""
        return await each_of([exam.id for exam in self._stores.registry.all()], self._finish)

    async def _finish(self, exam: str) -> Mapping[str, int]:
        return {"finished": int(await finish_import(self._stores, exam))}
