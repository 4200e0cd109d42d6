"""The audit worker: checks the promises over both stores and exports what differs."""

import logging
from collections.abc import Mapping

from quota_service.registration.audit import audit
from quota_service.registration.stores import MaintenanceStores
from quota_service.workers.loop import each_of
from quota_service.workers.schedule import SELDOM_S, Schedule

log = logging.getLogger(__name__)


class AuditWorker:
    """Audits the exams whose turn it is, not in full; differences stay for ops to repair."""

    name = "audit"
    interval_s = 60.0
    """Pause between two rounds."""

    def __init__(self, stores: MaintenanceStores) -> None:
        self._stores = stores
        self._schedule = Schedule(stores.registry, SELDOM_S)

    async def run_once(self) -> Mapping[str, int]:
        """Audit; returns nothing done: a difference does not bring the next round forward."""
        return await each_of(self._schedule.exams(), self._audit)

    async def _audit(self, exam: str) -> Mapping[str, int]:
        found = await audit(self._stores, exam, in_full=False)
        for difference in found.differences:
            log.error("audit", extra={"exam": exam, "cause": str(difference)})
        return {}
