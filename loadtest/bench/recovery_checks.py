"""Reads for what was acknowledged before and after a loss, and reads what recoveries wrote down."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.bench.testbed import Testbed
from loadtest.bench.waiting import until
from quota_service.domain.errors import NotReady, SeatsUnavailable
from quota_service.domain.reservation import ReservationId, State
from quota_service.registration.audit import audit
from quota_service.seats.keys import Shard

_PAGE = 500
_QUIET_LIMIT_S = 120.0
_ENDED = (State.RELEASED, State.EXPIRED, State.REFUNDED)
_RECOVERIES = """
SELECT epoch, started_at, opened_at, way, bookings, holds
FROM   recoveries
WHERE  exam = $1
AND    epoch > $2
ORDER  BY epoch
"""


@dataclass(frozen=True, slots=True)
class Recovered:
    """A recovery as Postgres has it; `opened_at` and `way` are None when it was not finished."""

    epoch: int
    started_at: dt.datetime
    opened_at: dt.datetime | None
    way: str | None
    bookings: int
    holds: int


@dataclass(frozen=True, slots=True)
class Found:
    """What became of what was acknowledged, and what an audit says of both stores."""

    holds: int
    missing: int
    bookings: int
    bookings_missing: int
    differences: tuple[str, ...]


async def recovered_since(testbed: Testbed, exam: str, epoch: int) -> list[Recovered]:
    """Return the recoveries of an exam that were begun after an epoch, oldest first."""
    async with testbed.service.stores.ledger.connection() as connection:
        rows = await connection.fetch(_RECOVERIES, exam, epoch)
    return [Recovered(**row) for row in rows]


async def look(testbed: Testbed, exam: str, held: Sequence[str], paid: Sequence[str]) -> Found:
    """Look for holds and bookings by their reservations once nothing is between the stores.

    A hold is missing when it has no record, or one that has ended: none was given back, and none
    was due. A booking is missing when one of the stores does not have it.
    """
    shard = await _quiet(testbed, exam)
    standing = await _states(testbed, shard, held)
    booked = await _booked(testbed, paid)
    bookings_missing = [
        each for each in paid if each not in booked or standing.get(each) is not State.CONFIRMED
    ]
    audited = await audit(testbed.service.stores.maintenance, exam)
    return Found(
        holds=len(held),
        missing=sum(standing[each] is None or standing[each] in _ENDED for each in held),
        bookings=len(paid),
        bookings_missing=len(bookings_missing),
        differences=tuple(map(str, audited.differences)),
    )


async def _quiet(testbed: Testbed, exam: str) -> Shard:
    """Return the shard once it is open, its journal is drained and no payment is under way."""
    stores = testbed.service.stores
    found: list[Shard] = []

    async def is_quiet() -> bool:
        await stores.registry.refresh()
        try:
            shard = stores.registry.shard(exam)
            seen = await stores.seats.snapshot(shard)
        except (NotReady, SeatsUnavailable):  # also the first call after its server died
            return False
        found[:] = [shard]
        return not seen.attempts and not seen.journal_entries

    await until(is_quiet, "both stores to be level", within_s=_QUIET_LIMIT_S)
    return found[0]


async def _states(testbed: Testbed, shard: Shard, held: Sequence[str]) -> dict[str, State | None]:
    """Return the states of reservations as Redis has them, None for those without a record."""
    states: dict[str, State | None] = {}
    for start in range(0, len(held), _PAGE):
        page = held[start : start + _PAGE]
        serials = [parsed.serial for each in page if (parsed := ReservationId.parse(each))]
        records = await testbed.service.stores.seats.read_many(shard, serials)
        told = [None if record is None else record.state for record in records]
        states.update(zip(page, told, strict=True))
    return states


async def _booked(testbed: Testbed, paid: Sequence[str]) -> set[str]:
    """Return those reservations that Postgres has as bookings."""
    booked: set[str] = set()
    for start in range(0, len(paid), _PAGE):
        booked |= (
            await testbed.service.stores.recoveries.booked(paid[start : start + _PAGE])
        ).keys()
    return booked
