"""Live holds: the holds of an exam, and what is between the stores, as Redis has them now.

Postgres knows holds only as far as the journal was drained.
"""

from collections.abc import AsyncIterator, Mapping

from quota_service.domain.errors import NotReady
from quota_service.domain.exam import Exam
from quota_service.domain.reservation import Reservation
from quota_service.registration.stores import MaintenanceStores
from quota_service.seats.keys import Shard
from quota_service.seats.record import FIELDS, parse_record

_HOLDS_AT_ONCE = 500
"""Records in one page, about."""
_VENUE = FIELDS.index("venue")


async def live_holds(
    stores: MaintenanceStores, exam: Exam, venue: str | None, subjects: frozenset[str]
) -> list[Reservation]:
    """Return the holds at a venue, at all where None, that have one of the subjects.

    Those that are being paid are among them, and bookings whose change of venue has not given their
    seats at this venue back. Raises NotReady when the shard is not open, and
    SeatsUnavailable.
    """
    found: dict[str, Reservation] = {}
    if stores.registry.is_archived(exam.id) or stores.registry.is_new(exam.id):
        return []
    shard = stores.registry.shard(exam.id)
    async for records in live_records(stores, shard):
        for serial, text in records.items():
            if venue is None or text.split("|", _VENUE + 1)[_VENUE] == venue:
                held = parse_record(exam.id, serial, text)
                if not subjects.isdisjoint(held.subjects):
                    found[held.id] = held
    if not (await stores.recovery.status(shard)).is_open:
        raise NotReady(f"shard {shard.tag} is not open")
    return list(found.values())


async def live_records(stores: MaintenanceStores, shard: Shard) -> AsyncIterator[Mapping[str, str]]:
    """Yield the records of holds, and of what is between the stores, by serial, page by page.

    One may come twice. Whether the shard is open is not asked.
    """
    for index in ("due", "pinned"):  # in this order: a payment moves a hold to the second
        cursor = ""
        while cursor != "0":
            cursor, records = await stores.recovery.live_records(
                shard, index, cursor or "0", _HOLDS_AT_ONCE
            )
            yield records
