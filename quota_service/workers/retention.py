"""The retention worker: removes what is not needed any more, in bounded batches."""

from collections.abc import Mapping

from quota_service.registration.archive import forget_archived
from quota_service.registration.retain import prune_journals, retire_exam
from quota_service.registration.stores import MaintenanceStores
from quota_service.settings import Settings
from quota_service.workers.loop import each_of
from quota_service.workers.schedule import SELDOM_S, Schedule

_BATCH_MAX = 5000
_REFUSALS_MAX = 50_000
"""Rows in a batch of refusals: a rush leaves millions, and they go within hours."""
_EVENTS_MAX = 50_000
"""Rows in a batch of events: an exam leaves some for each reservation."""
_EVENT_DAYS = 30
"""How long events are kept for those who ask for them late."""
_INTERVAL_S = 60.0


class RetentionWorker:
    """Looks at the exams whose turn it is; any number may run."""

    name = "retention"
    interval_s = _INTERVAL_S

    def __init__(self, stores: MaintenanceStores, settings: Settings) -> None:
        self._stores = stores
        self._schedule = Schedule(stores.registry, SELDOM_S)
        self._journal_days = settings.journal_retention_days

    async def run_once(self) -> Mapping[str, int]:
        """Remove one batch of each kind.

        Returns {"forgotten": archived exams, "retired": exams, "attempts": rows, "journal": rows,
        "refusals": rows, "revocations": rows, "events": rows, "deliveries": rows}.
        """
        attempts = await self._stores.payments.confirmations.prune_attempts(_BATCH_MAX)
        journal = await prune_journals(self._stores, self._journal_days, _BATCH_MAX)
        refusals = await self._stores.payments.refusals.prune(_REFUSALS_MAX)
        tokens = await self._stores.revoked_tokens.prune(_BATCH_MAX)
        events = await self._stores.events.prune(_EVENT_DAYS, _EVENTS_MAX)
        deliveries = await self._stores.webhooks.prune(_BATCH_MAX)
        retired = await each_of(self._schedule.exams(), self._retire)
        forgotten = await forget_archived(self._stores)
        return {
            "forgotten": forgotten,
            "retired": retired["retired"],
            "attempts": attempts,
            "journal": journal,
            "refusals": refusals,
            "revocations": tokens,
            "events": events,
            "deliveries": deliveries,
        }

    async def _retire(self, exam: str) -> Mapping[str, int]:
        return {"retired": int(await retire_exam(self._stores, self._stores.registry.find(exam)))}
