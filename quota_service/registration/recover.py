"""Recover: finishes or gives up what died between the two stores.

Redis lists the attempts that go on for longer than any payment or change of venue takes. Deciding
them in Postgres waits for one that is still under way and decides every other one, so an attempt
taken over too early does no harm: its use case finds out. A hold that is abandoned here was paid in
time as far as anybody knows, so it is kept until the provider had time to say so again.
"""

from dataclasses import dataclass

from quota_service.domain.reservation import Reservation, State
from quota_service.registration.change_venue import finish_changes
from quota_service.registration.confirm import decide_attempts
from quota_service.registration.stores import PaymentStores
from quota_service.seats.keys import Shard

_CLOCK_AHEAD_MS = 1000
"""An attempt from later than that began before Redis's clock was set back."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many payments were finished and abandoned, how many changes moved and stayed."""

    finished: int = 0
    abandoned: int = 0
    moved: int = 0
    stayed: int = 0


async def recover_attempts(
    stores: PaymentStores, shard: Shard, age_ms: int, limit: int
) -> Recovered:
    """Decide at most `limit` attempts older than `age_ms`."""
    serials = await stores.seats.overdue(shard, "pinned", age_ms, limit, _CLOCK_AHEAD_MS)
    found = await stores.seats.read_many(shard, serials)
    paying: list[Reservation] = [r for r in found if r and r.state is State.CONFIRMING]
    changing: list[Reservation] = [r for r in found if r and r.state is State.CHANGING_VENUE]
    finished = abandoned = moved = stayed = 0
    try:
        if paying:
            grace_ms = stores.retry_grace_ms
            finished, abandoned = await decide_attempts(stores, shard, paying, grace_ms)
    finally:  # payments that cannot be decided now do not keep changes waiting
        if changing:
            moved, stayed = await finish_changes(stores, shard, changing)
    recovered = Recovered(finished, abandoned, moved, stayed)
    for result, count in (
        ("finished", finished),
        ("unpinned", abandoned),
        ("moved", moved),
        ("stayed", stayed),
    ):
        stores.metrics.recoveries.labels(result=result).inc(count)
    return recovered
