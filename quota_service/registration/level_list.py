"""Keeps the waiting list in Redis level with Postgres, which decides who waits.

Redis has entries that Postgres never got (a process died while a candidate joined) or has ended
(one died while a candidate left), and lacks entries when it has lost them. The leader of the
dealing compares both now and then; a recovery does before it opens a shard, so that no seat that
comes back goes past an entry.

An offer that one store does not know is settled too: an entry that waits while the journal tells of
the hold that it was offered has that offer; one whose hold is in no store waits again, at its old
place.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence

from quota_service.domain.exam import Exam
from quota_service.domain.reservation import ReservationId
from quota_service.ledger.dealing import DealingLease, EndedEntry, Offered
from quota_service.ledger.waiting_list import WaitingListLedger
from quota_service.registration.offers import offer_serial
from quota_service.registration.stores import DealingStores
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.lists import ListStore, wish_of
from quota_service.seats.record import parse_record
from quota_service.waiting_list.entry import Entry, EntryId, EntryState

log = logging.getLogger(__name__)

_PAGE_MAX = 2000
_PHANTOM_AGE_S = 60.0
"""How long an entry may be in Redis alone: by then its join has ended one way or the other."""
UNTOLD_AGE_S = 10.0
"""How long the journal may take to tell of an offer."""


async def level_list(
    lists: ListStore, ledger: WaitingListLedger, shard: Shard, exam: Exam | None
) -> None:
    """Have exactly the entries wait in a shard that is recovered which wait by Postgres.

    The shard is fenced: no candidate joins meanwhile. `exam` is None where it cannot be read.
    """
    waiting = await waiting_entries(ledger, shard.exam, exam)
    listed = [(each.serial, each.number) async for each in lists.listed(shard)]
    await lists.delist(shard, [each for each in listed if each[0] not in waiting])
    await lists.relist(shard, list(waiting.values()))


async def delist_ended(
    stores: DealingStores, exam: Exam, shard: Shard, ended: Sequence[EndedEntry]
) -> None:
    """Take entries off the list in Redis that Postgres has ended, and tell of it."""
    await stores.lists.delist(shard, [(entry.serial, entry.number) for entry in ended])
    for entry in ended:
        told = {"exam": exam.id, "entry": str(EntryId(exam.id, entry.serial)), "state": entry.state}
        log.info("entry ended", extra=told)


class LevelledLists:
    """The lists that this process leads the dealing of, and when it compared each last."""

    def __init__(self, stores: DealingStores, interval_s: float) -> None:
        self._stores = stores
        self._interval_s = interval_s
        self._last: dict[str, tuple[tuple[int, int, int], float]] = {}
        self._phantoms: dict[str, dict[str, float]] = {}

    async def level(self, exam: Exam, shard: Shard, lease: DealingLease) -> bool:
        """Compare a list when it is time, or when leader, shard or definition are others.

        By another definition entries may want other sessions. Returns True where entries were
        added: they may be served by seats on open sale.
        """
        now_s = time.monotonic()
        now = (lease.epoch, shard.epoch, exam.revision)
        before, last_s = self._last.get(exam.id, ((-2, 0, 0), 0.0))
        # An epoch that is the next one is of a lease of ours that ended: nobody has led since.
        is_new = before[1:] != now[1:] or lease.epoch - before[0] > 1
        if not is_new and now_s < last_s + self._interval_s:
            self._last[exam.id] = now, last_s
            return False
        waiting = await waiting_entries(self._stores.list_ledger, exam.id, exam)
        if is_new:
            for serial in await self._adopt(exam, shard, lease, waiting):
                del waiting[serial]
        listed = {each.serial: each async for each in self._stores.lists.listed(shard)}
        extra = {serial: each.number for serial, each in listed.items() if serial not in waiting}
        await self._remove(exam, shard, extra)
        wishes = {serial: each.wish for serial, each in listed.items()}
        lacking = [e for serial, e in waiting.items() if wishes.get(serial) != wish_of(e)]
        added = await self._add(exam, shard, lacking)
        added += await self._let_wait_again(exam, shard, lease)
        self._last[exam.id] = now, now_s
        return added > 0

    async def _adopt(
        self, exam: Exam, shard: Shard, lease: DealingLease, waiting: Mapping[str, Entry]
    ) -> set[str]:
        """Record offers that the journal tells of and no entry has: their leader died.

        Returns the serials of the entries, which do not wait any more.
        """
        id_key = self._stores.registry.id_key(exam.id)
        entries = {
            str(ReservationId(exam.id, offer_serial(id_key, exam.id, entry))): entry
            for entry in waiting.values()
        }
        known = await self._stores.deals.known_holds(list(entries)) if entries else {}
        if not known:
            return set()
        offers = []
        for reservation, text in known.items():
            hold = parse_record(exam.id, reservation.rpartition(".")[2], text)
            offers.append(Offered(entries[reservation].serial, reservation, hold.deadline_ms))
        recorded = await self._stores.deals.record(lease, offers)
        numbers = [(e.serial, e.number) for e in entries.values() if e.serial in recorded]
        await self._stores.lists.delist(shard, numbers)
        log.warning("offers adopted", extra={"exam": exam.id, "count": len(recorded)})
        return recorded

    async def _remove(self, exam: Exam, shard: Shard, extra: dict[str, int | None]) -> None:
        """Remove entries that do not wait; those without a number once their join has ended."""
        now_s, seen_s = time.monotonic(), self._phantoms.get(exam.id, {})
        since_s = {serial: seen_s.get(serial, now_s) for serial in extra}
        due = [
            serial
            for serial, number in extra.items()
            if number is not None or now_s - since_s[serial] >= _PHANTOM_AGE_S
        ]
        self._phantoms[exam.id] = {s: at for s, at in since_s.items() if s not in due}
        # It may have got there between the two readings.
        still = await self._stores.deals.waiting_of(exam.id, due) if due else {}
        gone = [(serial, extra[serial]) for serial in due if serial not in still]
        if removed := await self._stores.lists.delist(shard, gone):
            log.info("entries removed from redis", extra={"exam": exam.id, "count": removed})

    async def _add(self, exam: Exam, shard: Shard, missing: Iterable[Entry]) -> int:
        """Add entries that wait and are not there as they are; return how many were not there."""
        serials = [entry.serial for entry in missing]
        still = await self._stores.deals.waiting_of(exam.id, serials) if serials else {}
        told = [entry.in_sessions_of(exam) for entry in still.values()]
        added = await self._stores.lists.relist(shard, told)
        if added:
            log.warning("entries were missing in redis", extra={"exam": exam.id, "count": added})
        return added

    async def _let_wait_again(self, exam: Exam, shard: Shard, lease: DealingLease) -> int:
        """Let entries wait whose hold is in no store; return how many."""
        deals = self._stores.deals
        lost = []
        for entry in await deals.untold(exam.id, UNTOLD_AGE_S):
            serial = (entry.reservation or "").rpartition(".")[2]
            if (await self._stores.seats.recall(shard, serial)).code is Code.UNKNOWN:
                lost.append(entry.serial)
        if not lost:
            return 0
        back = await deals.take_back(lease, lost)
        log.warning("lost offers", extra={"exam": exam.id, "count": len(back)})
        return await self._stores.lists.relist(shard, [e.in_sessions_of(exam) for e in back])


async def waiting_entries(
    ledger: WaitingListLedger, exam_id: str, exam: Exam | None
) -> dict[str, Entry]:
    """Return the entries that wait by Postgres, by serial.

    They are in the sessions that their subjects have in `exam`.
    """
    found: dict[str, Entry] = {}
    after = 0
    while page := await ledger.page(exam_id, after, _PAGE_MAX, states=[EntryState.WAITING]):
        found |= {e.serial: e.in_sessions_of(exam) if exam else e for e in page}
        after = page[-1].number
    return found
