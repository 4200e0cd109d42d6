"""The set-aside worker: closes set-asides within a second of their time."""

from collections.abc import Mapping

from quota_service.registration.close_set_asides import close_set_asides
from quota_service.registration.stores import ExamStores

_INTERVAL_S = 0.5
"""Pause when none is due; a look is one question to Postgres, by an index."""


class SetAsideWorker:
    """Closes what is due."""

    name = "set-asides"

    def __init__(self, stores: ExamStores) -> None:
        self._stores = stores
        self.interval_s = _INTERVAL_S

    async def run_once(self) -> Mapping[str, int]:
        """Close what is due; returns {"closed": set-asides}."""
        return {"closed": await close_set_asides(self._stores)}
