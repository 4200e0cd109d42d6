"""Bringing a shard level with Postgres: from the last step Redis has, or as a whole.

The shard is claimed by a recovery, so only it reads and writes it, and in Postgres nothing of it
is booked, moved, refunded or drained meanwhile. What is written are states, not steps: it may be
done twice.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping

from quota_service.domain.errors import DefinitionRefused
from quota_service.domain.reservation import ReservationId, State
from quota_service.ledger.recoveries import Fenced, Records, Step
from quota_service.registration.confirm import has_ended
from quota_service.registration.level_ceilings import level_ceilings
from quota_service.registration.level_returned import level_returned
from quota_service.registration.level_set_asides import level_set_asides
from quota_service.registration.stores import MaintenanceStores
from quota_service.registration.sync_shard import set_capacity
from quota_service.seats.keys import Shard
from quota_service.seats.record import FIELDS, parse_record, record_text
from quota_service.slices import in_slices

_PAGE_MAX = 2000
_READ_MAX = 500
_BETWEEN = (State.CONFIRMING, State.CHANGING_VENUE)
"""The states of what is between the stores."""
_OF_A_HOLD = (State.HELD, State.CONFIRMING)
"""How records begin that have seats and no booking."""
_SUBJECTS, _SESSIONS = FIELDS.index("subjects"), FIELDS.index("sessions")
_OF_A_BOOKING = ("confirmed|", "changing_venue|", "refunded|")
"""How records begin that the ledger has to have a booking of."""


class ContradictionError(Exception):
    """Redis cannot be brought level from its last step."""


async def reconcile(
    stores: MaintenanceStores, shard: Shard, fenced: Fenced, origin: Step, known: Step
) -> tuple[int, int]:
    """Write what Postgres knows of steps after the origin, and what was between the stores.

    Bookings, changes and refunds are the ledger's; holds are as in their last journal entry, up
    to the step that is `known`. Returns how many bookings and holds were written. Raises
    ContradictionError.
    """
    recoveries, exam = stores.recoveries, shard.exam
    await _check_definition(stores, shard)
    if known > origin:
        if origin[0] < fenced.steps_since:
            raise ContradictionError(f"bookings of epoch {origin[0]} have no step")
        entries = await recoveries.entries_between(exam, origin, known)
        if entries != known[1] - origin[1]:
            raise ContradictionError(f"the journal between {origin} and {known} is not whole")
    await stores.recovery.seed(shard, known[1])
    put = Put(stores, shard, fit=False)
    if known > origin:
        await put.all(_unbooked(recoveries.holds_after(exam, origin, _PAGE_MAX)))
    holds = put.count
    stores.failpoint("recover: holds written")
    await put.all(recoveries.bookings_after(exam, origin, _PAGE_MAX))
    await put.all(recoveries.refunds_after(exam, origin, _PAGE_MAX))
    bookings = put.count - holds
    await _end_attempts(stores, shard)
    await _level_capacity(stores, shard)
    await level_returned(stores, shard)
    await _verify(stores, shard, is_retired=fenced.is_retired)
    return bookings, holds


async def rebuild(
    stores: MaintenanceStores, shard: Shard, fenced: Fenced, known: Step
) -> tuple[int, int, int]:
    """Remove everything and write it anew: what ended unpaid, bookings, holds, what ended lately.

    Of an exam that is retired only the counters are written. Returns how many bookings and holds
    were written, and how many holds were left out: their seats or session went to a booking.
    """
    recoveries, exam = stores.recoveries, shard.exam
    async with stores.ledger.connection() as connection:
        capacity = await stores.exams.capacity(connection, exam)
        booked = await stores.exams.confirmed(connection, exam) if fenced.is_retired else {}
    await stores.recovery.clear(shard)
    await stores.recovery.seed(shard, known[1], capacity, booked)
    await level_set_asides(stores, shard)
    await level_ceilings(stores, shard)
    if fenced.is_retired:
        await stores.recovery.forget_room(shard)
        return 0, 0, 0
    async for candidates in recoveries.unpaid(exam, _PAGE_MAX):
        await stores.recovery.put_unpaid(shard, candidates)
    bookings, holds = Put(stores, shard, fit=True), Put(stores, shard, fit=True)
    await bookings.all(recoveries.bookings(exam, _PAGE_MAX))
    stores.failpoint("recover: bookings written")
    await holds.all(recoveries.holds(exam, _PAGE_MAX))
    await Put(stores, shard, fit=True).all(recoveries.ended(exam, _PAGE_MAX))
    async for page in recoveries.spent(exam, _PAGE_MAX):
        await stores.recovery.spend(shard, [id_.rpartition(".")[2] for id_ in page])
    await level_set_asides(stores, shard)
    await level_returned(stores, shard)
    return bookings.count, holds.count - holds.left_out, holds.left_out


async def _check_definition(stores: MaintenanceStores, shard: Shard) -> None:
    """Raise ContradictionError when Redis is older than the definition that Postgres has.

    Then holds may take sessions that their subjects have left since.
    """
    in_force = int((await stores.seats.definition(shard)).get("revision", 0))
    stored = stores.registry.revision(shard.exam)
    if 0 < in_force < stored:
        raise ContradictionError(f"redis is at the definition {in_force}, postgres at {stored}")


async def _unbooked(pages: AsyncIterator[Records]) -> AsyncIterator[Records]:
    """Yield pages of what is not booked; ContradictionError when Redis says that one was."""
    async for page in pages:
        for reservation, record in page:
            if record.startswith(_OF_A_BOOKING):
                raise ContradictionError(f"{reservation} was booked, and is not in the ledger")
        yield page


async def _end_attempts(stores: MaintenanceStores, shard: Shard) -> None:
    """End what was between the stores as Postgres has it.

    No transaction can book or move under the old epoch any more.
    """
    put = Put(stores, shard, fit=False)
    while serials := await stores.seats.with_attempt(shard, _READ_MAX):
        found = await stores.seats.read_many(shard, serials)
        ids = {r.id: r for r in found if r and r.state in _BETWEEN}
        if len(ids) < len(serials):
            raise ContradictionError("a payment in progress has no record")
        booked = await stores.recoveries.booked(list(ids))
        for reservation in ids.values():
            is_changing = reservation.state is State.CHANGING_VENUE
            if reservation.id not in booked and is_changing:
                raise ContradictionError(f"{reservation.id} changes its venue and is not booked")
        await put.page([(id_, booked.get(id_) or record_text(r)) for id_, r in ids.items()])


async def _level_capacity(stores: MaintenanceStores, shard: Shard) -> None:
    async with stores.ledger.connection() as connection:
        capacity = await stores.exams.capacity(connection, shard.exam)
    try:
        await set_capacity(stores, shard, capacity)
        await level_set_asides(stores, shard)
        await level_ceilings(stores, shard)
    except DefinitionRefused as error:
        raise ContradictionError(str(error)) from error


async def _verify(stores: MaintenanceStores, shard: Shard, *, is_retired: bool) -> None:
    """Raise ContradictionError unless the books balance and Postgres has the same bookings.

    A retired exam has counters only.
    """
    seen = await stores.seats.snapshot(shard)
    async with stores.ledger.connection() as connection:
        booked = await stores.exams.confirmed(connection, shard.exam)
    taken = 0
    async for quota, capacity in in_slices(seen.capacity.items()):
        parts = seen.parts_of(quota)
        taken += seen.taken(quota)
        if sum(parts) != capacity or min(parts) < 0:
            raise ContradictionError(f"{quota}: {parts} of {capacity} seats")
        if parts[-1] != booked.get(quota, 0):
            told = f"{parts[-1]} booked in redis, {booked.get(quota, 0)} in postgres"
            raise ContradictionError(f"{quota}: {told}")
    if seen.claims != (0 if is_retired else taken):
        raise ContradictionError(f"{seen.claims} sessions are taken by {taken} seats")


class Put:
    """Writes pages of records; counts them, and those that did not fit any more."""

    def __init__(self, stores: MaintenanceStores, shard: Shard, *, fit: bool) -> None:
        self._stores = stores
        self._shard = shard
        self._fit = fit
        is_loaded = shard.exam not in stores.registry.not_loaded()
        self._exam = stores.registry.find(shard.exam) if is_loaded else None
        self.count = 0
        self.left_out = 0

    async def all(self, pages: AsyncIterator[Records]) -> None:
        """Write all pages."""
        async for page in _ahead(pages):
            if page:
                await self.page(page)
            await asyncio.sleep(0)  # let the rest of the process have its turn

    async def page(self, page: Records) -> None:
        """Write one page of records."""
        graces = await self._graces(page)
        records = []
        for reservation, record in page:
            parts = ReservationId.parse(reservation)
            if parts is None:
                raise AssertionError(f"{reservation!r} is no reservation id")
            records.append((parts.serial, graces[reservation], self._in_its_sessions(record)))
        left_out = await self._stores.recovery.put(self._shard, records, fit=self._fit)
        self.count += len(records)
        self.left_out += len(left_out)

    def _in_its_sessions(self, record: str) -> str:
        """Return the record of a hold in the sessions that its subjects are in now.

        It may have ended when they were moved, and Redis have lost that.
        """
        if self._exam is None or not record.startswith(_OF_A_HOLD):
            return record
        fields = record.split("|")
        pairs = zip(fields[_SUBJECTS].split(","), fields[_SESSIONS].split(","), strict=True)
        session_of = self._exam.session_of
        fields[_SESSIONS] = ",".join(session_of.get(subject, before) for subject, before in pairs)
        return "|".join(fields)

    async def _graces(self, page: Records) -> Mapping[str, int]:
        """Return how long each hold is kept for its payment to be sent again, in ms.

        A payment that has ended is not sent again.
        """
        graces = defaultdict(lambda: self._stores.payments.retry_grace_ms)
        paying = {}
        for reservation, record in page:
            parts = ReservationId.parse(reservation)
            if parts is not None and record.startswith(State.CONFIRMING):
                paying[reservation] = parse_record(parts.exam, parts.serial, record)
        if paying:
            events = await self._stores.payments.confirmations.events_of(list(paying))
            for id_, confirming in paying.items():
                if has_ended(confirming, events.get(id_, ())):
                    graces[id_] = 0
        return graces


async def _ahead(pages: AsyncIterator[Records]) -> AsyncIterator[Records]:
    """Yield pages, reading the next one while one is processed."""
    coming = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await coming) is not None:
            coming = asyncio.ensure_future(anext(pages, None))
            yield page
    finally:
        coming.cancel()
        await asyncio.wait({coming})
        if not coming.cancelled():
            coming.exception()  # the first failure is raised
