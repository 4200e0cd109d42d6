"""Leave the waiting list: an entry that waits ends, one that has an offer gives it back.

An entry that waits:

    1. end it in Postgres                                                        <- the decision
    2. remove it from Redis

    1 to 2     Redis has an entry that does not wait: seats that come back wait for one dealing,
               which removes it

An entry with an offer:

    1. release the hold, as its candidate does (`release`)                       <- the decision
    2. end the entry in Postgres

    1 to 2     the entry is shown as it is (`view_list`); a dealing, or the same call again, does 2

The state is written only where it is as it was read. Where a dealing was quicker it is read again.
"""

from contextlib import suppress

from quota_service.domain.errors import AlreadyConfirmed, Unavailable, UnknownReservation
from quota_service.domain.reservation import State
from quota_service.registration.release import release
from quota_service.registration.stores import WaitingListStores
from quota_service.registration.view_list import find_entry
from quota_service.waiting_list.entry import Entry, EntryState


async def leave_list(stores: WaitingListStores, exam_id: str, entry_id: str) -> Entry:
    """End an entry; one that has ended is returned as it ended.

    Raises UnknownEntry, AlreadyConfirmed where its offer was paid for, and PaymentInProgress.
    """
    entry = await find_entry(stores, exam_id, entry_id)
    if entry.state is EntryState.WAITING:
        left = await stores.list_ledger.end(entry, EntryState.LEFT)
        stores.failpoint("leave list: after commit")
        if left is not None:
            with suppress(Unavailable):  # a dealing does it when this fails
                shard = stores.registry.shard(exam_id)
                await stores.lists.delist(shard, [(entry.serial, entry.number)])
            return left
        entry = await find_entry(stores, exam_id, entry_id)
    if entry.state is EntryState.OFFERED and entry.reservation is not None:
        entry = await _decline(stores, entry, entry.reservation)
    if entry.state is EntryState.SERVED:
        raise AlreadyConfirmed
    return entry


async def _decline(stores: WaitingListStores, entry: Entry, reservation_id: str) -> Entry:
    """Give an offer back; one that has run out was missed."""
    ends_as = EntryState.DECLINED
    with suppress(UnknownReservation):  # a Redis that lost it has no seats of it either
        offer = await release(stores, reservation_id)
        if offer.state is State.EXPIRED:
            ends_as = EntryState.MISSED
        if offer.state is State.REFUNDED:
            ends_as = EntryState.SERVED
    stores.failpoint("leave list: after release")
    ended = await stores.list_ledger.end(entry, ends_as)
    return ended or await find_entry(stores, entry.exam, entry.id)
