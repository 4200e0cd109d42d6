"""Offers: makes holds for waiting entries, records them in Postgres, and settles those of before.

    1. one script call makes the holds of a batch of planned offers, in order; each entry leaves the
       list in the same step, and the offer is noted as not finished
    2. record the offers in Postgres, fenced by the lease of the leader: the entries are `offered`
    3. what costs nothing is confirmed at once: nothing of it can be paid for
    4. give back the hold of an entry that has ended meanwhile
    5. the offers are finished: forget that they were not

A process that dies before 1 has offered nothing. One that dies after it leaves offers that are not
finished: the next leader reads them before it makes any, and does 2 to 5 again by the records of
the holds, which ends the same. A leader that was overtaken is refused in 1 by Redis and in 2 by
Postgres, and leaves 5 to the other. The serial of a hold is derived from entry and number of offers
made to it, so an offer that is made again is the same one.

A hold of an offer is one like any other from then on: it is paid, given back or expires.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

from quota_service.domain.definition import rfc3339
from quota_service.domain.errors import ReservationEnded
from quota_service.domain.exam import Exam
from quota_service.domain.reservation import Reservation, ReservationId, State, derive_serial
from quota_service.ledger.dealing import DealingLease, Offered
from quota_service.registration.confirm_free import confirm_free
from quota_service.registration.stores import DealingStores
from quota_service.seats.codes import Code
from quota_service.seats.dealing import MadeOffer, OfferReply, OvertakenError
from quota_service.seats.keys import Shard
from quota_service.waiting_list.entry import Entry, EntryId, EntryState

log = logging.getLogger(__name__)


def offer_serial(id_key: bytes | None, exam: str, entry: Entry) -> str:
    """Return the serial of the hold of the next offer to an entry.

    No idempotency key has the separator, so no request makes the same serial.
    """
    key = f"offer\n{entry.serial}\n{entry.offers + 1}"
    return derive_serial(id_key, exam, entry.candidate, key)


async def make_offers(
    stores: DealingStores,
    exam: Exam,
    shard: Shard,
    lease: DealingLease,
    offers: Sequence[MadeOffer],
) -> list[OfferReply]:
    """Make a batch of offers and record them; return how each ended up to the first refused.

    Raises OvertakenError where another leader has taken over.
    """
    replies = await stores.dealing.offer(shard, exam, lease.epoch, offers)
    stores.failpoint("deal: offered")
    known = {
        offer.serial: (offer.planned.entry.serial, offer.deadline_ms, reply.reservation)
        for offer, reply in zip(offers, replies, strict=False)
        if reply.code >= Code.DONE or reply.code is Code.ENDED
    }
    again = [
        (offer.planned.entry.serial, offer.planned.entry.number)
        for offer, reply in zip(offers, replies, strict=False)
        if reply.code is Code.DONE_BEFORE
    ]
    await stores.lists.delist(shard, again)
    await _settle(stores, exam, shard, lease, known)
    return replies


async def settle_unfinished(
    stores: DealingStores,
    exam: Exam,
    shard: Shard,
    lease: DealingLease,
    unfinished: Mapping[str, str],
) -> int:
    """Record the offers of a leader before that Postgres may not know; return how many."""
    if not unfinished:
        return 0
    serials = list(unfinished)
    # A recovery lets entries wait that do by Postgres, those with an unfinished offer among them.
    entries = await stores.deals.some(exam.id, list(unfinished.values()))
    await stores.lists.delist(shard, [(e.serial, e.number) for e in entries.values()])
    holds = await stores.seats.read_many(shard, serials)
    now_ms = await stores.seats.clock_ms(shard)
    known = {
        serial: (unfinished[serial], hold.deadline_ms if hold else now_ms, hold)
        for serial, hold in zip(serials, holds, strict=True)
    }
    await _settle(stores, exam, shard, lease, known)
    return len(known)


async def _settle(
    stores: DealingStores,
    exam: Exam,
    shard: Shard,
    lease: DealingLease,
    known: Mapping[str, tuple[str, int, Reservation | None]],
) -> None:
    """Record offers by the serials of their holds: the entry, the deadline and the hold of each."""
    if not known:
        return
    ids = {serial: str(ReservationId(exam.id, serial)) for serial in known}
    recorded = await stores.deals.record(
        lease,
        [
            Offered(entry, ids[serial], deadline_ms)
            for serial, (entry, deadline_ms, _) in known.items()
        ],
    )
    stores.failpoint("deal: recorded")
    missing = {entry: serial for serial, (entry, _, _) in known.items() if entry not in recorded}
    gone = await _gone(stores, exam, lease, missing, ids)
    for serial, (entry, deadline_ms, hold) in known.items():
        if serial not in gone and hold is not None:
            if not hold.amount and hold.state is State.HELD:
                with suppress(ReservationEnded):
                    await confirm_free(stores.payments, hold)
            if entry in recorded:
                _tell(exam, entry, hold, deadline_ms)
    for serial in gone:
        await stores.seats.release(shard, serial)
        log.info("offer of an entry that has ended", extra={"exam": exam.id, "hold": ids[serial]})
    stores.metrics.list_offers.labels(exam=exam.id, outcome="made").inc(len(recorded))
    stores.metrics.list_offers.labels(exam=exam.id, outcome="gone").inc(len(gone))
    await stores.dealing.finish(shard, list(known))


async def _gone(
    stores: DealingStores,
    exam: Exam,
    lease: DealingLease,
    missing: Mapping[str, str],
    ids: Mapping[str, str],
) -> list[str]:
    """Return the serials of the holds whose entries have ended without them.

    Raises OvertakenError where an entry waits still: the record was refused by the fence.
    """
    if not missing:
        return []
    entries = await stores.deals.some(exam.id, list(missing))
    gone = []
    for entry_serial, serial in missing.items():
        entry = entries.get(entry_serial)
        if entry is not None and entry.reservation == ids[serial]:
            continue  # it was recorded before
        if entry is not None and entry.state is EntryState.WAITING:
            raise OvertakenError(f"the lease of epoch {lease.epoch} is over")
        gone.append(serial)
    return gone


def _tell(exam: Exam, entry: str, hold: Reservation, deadline_ms: int) -> None:
    log.info(
        "offer",
        extra={
            "exam": exam.id,
            "entry": str(EntryId(exam.id, entry)),
            "reservation": hold.id,
            "candidate": hold.candidate,
            "venue": hold.venue,
            "deadline": rfc3339(deadline_ms),
        },
    )
