"""Looks at an entry of a waiting list, as it is at this moment.

Postgres has the entry, and Redis the reservation that was offered. An offer that has ended there,
or was paid for, is shown so before a dealing has written it to the entry.
"""

from dataclasses import dataclass, replace

from quota_service.domain.errors import UnknownEntry, UnknownReservation
from quota_service.domain.exam import Exam, ListOrder
from quota_service.domain.reservation import Reservation, State
from quota_service.ledger.dealing import DrawWindow
from quota_service.registration.stores import ExamStores, WaitingListStores
from quota_service.registration.view import read_reservation
from quota_service.waiting_list.entry import Entry, EntryId, EntryState
from quota_service.waiting_list.position import Band, band_of

_SHOWN = {
    State.RELEASED: EntryState.DECLINED,
    State.EXPIRED: EntryState.MISSED,
    State.CONFIRMED: EntryState.SERVED,
    State.CHANGING_VENUE: EntryState.SERVED,
    State.REFUNDED: EntryState.SERVED,
}
"""What an offer makes of its entry, by the state of its reservation; else it goes on."""


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """An entry as it is now, and the reservation of its offer where that was live by Postgres.

    `position` and `offered_within_a_day` are those of `ListPositions`; None where it does not wait,
    the first where its place is drawn later too. `draw` is the window of the draw that it joined
    in; None where the list goes by number.
    """

    entry: Entry
    offer: Reservation | None
    position: Band | None = None
    offered_within_a_day: int | None = None
    draw: DrawWindow | None = None


async def find_entry(stores: WaitingListStores, exam_id: str, entry_id: str) -> Entry:
    """Return an entry as Postgres has it; raises UnknownEntry, UnknownExam and ExamArchived."""
    stores.registry.find(exam_id)
    parts = EntryId.parse(entry_id)
    entry = None
    if parts is not None and parts.exam == exam_id:
        entry = await stores.list_ledger.find(exam_id, parts.serial)
    if entry is None:
        raise UnknownEntry
    return entry


async def view_entry(stores: WaitingListStores, exam_id: str, entry_id: str) -> ListedEntry:
    """Return an entry as it is now. Raises as `find_entry`."""
    exam = stores.registry.find(exam_id)
    entry = await find_entry(stores, exam_id, entry_id)
    shown = await as_it_is(stores, exam, entry, stores.clock.earliest_ms())
    if _is_drawn(exam):
        shown = replace(shown, draw=await stores.deals.window(exam_id, entry.window))
    if shown.entry.state is not EntryState.WAITING:
        return shown
    position = None
    if not (_is_drawn(exam) and entry.rank is None):
        position = band_of(await stores.positions.ahead(entry))
    return replace(
        shown,
        position=position,
        offered_within_a_day=await stores.positions.offered_within_a_day(entry),
    )


async def as_it_is(stores: ExamStores, exam: Exam, entry: Entry, now_ms: int) -> ListedEntry:
    """Return an entry with the state that its offer, or the time, has brought it to."""
    if entry.state is EntryState.WAITING:
        ends_ms = exam.registration.closes_at_ms
        if entry.until_ms is not None:
            ends_ms = min(ends_ms, entry.until_ms)
        if now_ms >= ends_ms:
            entry = replace(entry, state=EntryState.OVER, ended_ms=ends_ms)
        elif exam.waiting_list is None:
            entry = replace(entry, state=EntryState.OVER)
        return ListedEntry(entry, None)
    if entry.state is not EntryState.OFFERED or entry.reservation is None:
        return ListedEntry(entry, None)
    try:
        offer = await read_reservation(stores, entry.reservation)
    except UnknownReservation:
        return ListedEntry(entry, None)
    return ListedEntry(replace(entry, state=_SHOWN.get(offer.state, entry.state)), offer)


async def entries_of(stores: WaitingListStores, exam_id: str, candidate: str) -> list[ListedEntry]:
    """Return the entries of a candidate as they are now, newest first, without positions."""
    stores.registry.check_known(exam_id)
    entries = await stores.list_ledger.of_candidate(exam_id, candidate)
    if stores.registry.is_archived(exam_id):
        return [ListedEntry(entry, None) for entry in entries]
    exam, now_ms = stores.registry.find(exam_id), stores.clock.earliest_ms()
    return [await as_it_is(stores, exam, entry, now_ms) for entry in entries]


def _is_drawn(exam: Exam) -> bool:
    """Return whether the places of the list are drawn."""
    return exam.waiting_list is not None and exam.waiting_list.order is ListOrder.DRAW
