"""Expire: gives back the seats of holds that were not paid in time.

    1. read the serials that are due, by Redis's clock
    2. one script call checks each again and gives it back

Any number of workers may do both at once: between 1 and 2 a hold may have been paid, released or
expired by another worker, and the script finds it so.
"""

from collections.abc import Sequence

from quota_service.registration.stores import ExamStores
from quota_service.seats.keys import Shard


async def expire_holds(stores: ExamStores, shard: Shard, serials: Sequence[str]) -> int:
    """Expire the holds that were found due, in one call; return how many."""
    if not serials:
        return 0
    expired, lag_ms = await stores.seats.expire(shard, serials)
    if expired:
        stores.metrics.holds_expired.labels(exam=shard.exam).inc(expired)
        stores.metrics.holds_ended_unpaid.labels(exam=shard.exam, end="expired").inc(expired)
        stores.metrics.expiry_lag.observe(lag_ms / 1000)
    return expired
