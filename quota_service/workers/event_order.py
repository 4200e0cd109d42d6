"""The event order worker: numbers the events that can be told.

As the journal worker it keeps its pace: in a rush there is always an event more, and a transaction
costs nearly the same for one as for hundreds.
"""

from collections import Counter
from collections.abc import Mapping

from quota_service.registration.order_events import order_events
from quota_service.registration.stores import MaintenanceStores

_BATCH_MAX = 5000
"""Events numbered in one transaction: what it costs grows with all that wait."""
_BATCHES_MAX = 20
"""Batches in a round."""


class EventOrderWorker:
    """What waits, to a bound, a round. Any number may run; one of them numbers at a time."""

    name = "event_order"
    interval_s = 0.1

    def __init__(self, stores: MaintenanceStores) -> None:
        self._stores = stores

    async def run_once(self) -> Mapping[str, int]:
        """Give numbers to what waits; returns {"placed": events, "numbered": events}."""
        counts: Counter[str] = Counter(placed=0, numbered=0)
        for _ in range(_BATCHES_MAX):
            ordered = await order_events(self._stores, _BATCH_MAX)
            counts.update(placed=ordered.placed, numbered=ordered.numbered)
            if ordered.numbered < _BATCH_MAX:
                break
        return counts
