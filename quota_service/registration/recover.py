"""Recover: finishes or gives up payments whose process died between the two stores.

Redis lists the reservations pinned for longer than any confirmation takes. Settling their pins in
Postgres waits for a confirmation that is still under way and decides every other one, so a pin
taken over too early does no harm: its confirmation pins again. A hold that is unpinned here was
paid in time as far as anybody knows, so it is kept until the provider had time to say so again.
"""

from quota_service.domain.reservation import Reservation, State
from quota_service.registration.confirm import settle_pins
from quota_service.registration.stores import Stores
from quota_service.seats.keys import Shard


async def recover_pins(stores: Stores, shard: Shard, age_ms: int, limit: int) -> tuple[int, int]:
    """Settle at most `limit` pins older than `age_ms`; return how many were finished, unpinned."""
    serials = await stores.seats.overdue(shard, "pinned", age_ms, limit)
    found = await stores.seats.read_many(shard, serials)
    pinned: list[Reservation] = [r for r in found if r and r.state is State.CONFIRMING]
    if not pinned:
        return 0, 0
    finished, unpinned = await settle_pins(stores, shard, pinned, stores.payment_retry_grace_ms)
    stores.metrics.recoveries.labels(result="finished").inc(finished)
    stores.metrics.recoveries.labels(result="unpinned").inc(unpinned)
    return finished, unpinned
