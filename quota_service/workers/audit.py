"""The audit worker: checks the promises over both stores and exports what differs."""

import logging
from collections.abc import Mapping

from quota_service.registration.audit import audit
from quota_service.registration.stores import Stores
from quota_service.settings import Settings
from quota_service.workers.loop import each_of

log = logging.getLogger(__name__)


class AuditWorker:
    """Audits every exam in a round, not in full; differences stay for ops to repair."""

    name = "audit"

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self._stores = stores
        self.interval_s = settings.audit_interval_s

    async def run_once(self) -> Mapping[str, int]:
        """Audit; returns nothing done: a difference does not bring the next round forward."""
        return await each_of([exam.id for exam in self._stores.registry.all()], self._audit)

    async def _audit(self, exam: str) -> Mapping[str, int]:
        found = await audit(self._stores, exam, in_full=False)
        for difference in found.differences:
            log.error("audit", extra={"exam": exam, "cause": str(difference)})
        return {}
