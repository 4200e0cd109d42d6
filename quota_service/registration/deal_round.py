"""One dealing of the returned seats of an exam: plan, offers, and what is left over for open sale.

Its steps, and what a process that dies between them leaves, are told in `deal.py`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from quota_service.domain.exam import Exam, ListOrder
from quota_service.ledger.dealing import DealingLease
from quota_service.registration.level_list import delist_ended
from quota_service.registration.offers import make_offers, offer_serial
from quota_service.registration.stores import DealingStores
from quota_service.seats.codes import Code
from quota_service.seats.dealing import Leftover, MadeOffer
from quota_service.seats.keys import Shard
from quota_service.slices import in_slices
from quota_service.waiting_list.entry import Entry
from quota_service.waiting_list.plan import Plan, PlannedOffer, Pool, plan
from quota_service.waiting_list.quiet_hours import deadline_ms, that_count
from quota_service.waiting_room.draw import rank

_BATCH_SEATS = 100
"""Seats of the offers in one script call."""
_PLANS_MAX = 50
"""Plans in one dealing; each further one follows a refusal that no plan could foresee."""
_FIRST = 500
"""Entries that are read at first, where few seats came back: most often these take them all."""
_OPENINGS_MAX = 3
"""Times a dealing at an instant is planned, for entries that have joined since the last plan."""
_ANY = 2**31
"""More entries than ever wait: seats are opened although some wait."""


@dataclass(slots=True)
class DealingRound:
    """One dealing, by the leader of the exam.

    `frozen` has the returned seats of it by quota; what it uses is taken off. With `has_all` every
    entry is looked at, else those that want one of the frozen seats: no other can be served by
    them. `is_instant` where the rest goes on open sale even if candidates join meanwhile.
    """

    stores: DealingStores
    exam: Exam
    shard: Shard
    lease: DealingLease
    frozen: dict[str, int]
    has_all: bool
    is_instant: bool
    offers: int = 0
    _entries: list[Entry] = field(default_factory=list)
    _is_over: bool = False

    async def run(self) -> tuple[int, int]:
        """Offer the seats, and open the rest; return the offers made and the seats opened.

        Raises OvertakenError where another leader has taken over, NotReady, SeatsUnavailable and
        LedgerUnavailable.
        """
        opened = 0
        for attempt in range(1, _OPENINGS_MAX + 1):
            planned = await self._offer_to_first()
            if planned is None:
                break
            self.stores.failpoint("deal: offers made")
            is_last = self.is_instant and attempt == _OPENINGS_MAX
            leftovers = self._leftovers(planned, even_if_wanted=is_last)
            seats, stay = await self.stores.dealing.open(
                self.shard, self.exam, self.lease.epoch, leftovers
            )
            opened += seats
            self.stores.metrics.list_opened.labels(exam=self.exam.id).inc(seats)
            if not stay or not self.is_instant:
                break
            self.frozen = {quota: planned.leftovers[quota] for quota in stay}
        return self.offers, opened

    async def _offer_to_first(self) -> Plan | None:
        """Offer the seats to those who are first; to all, where these do not take them."""
        if self._is_drawn:
            await self._draw()
        has_more = await self._read_entries(None if self.has_all else _FIRST)
        planned = await self._offer_all()
        if planned is None or not planned.leftovers or not has_more:
            return planned
        await self._read_entries(None)
        return await self._offer_all()

    @property
    def _is_drawn(self) -> bool:
        rules = self.exam.waiting_list
        return rules is not None and rules.order is ListOrder.DRAW

    async def _read_entries(self, limit: int | None) -> bool:
        """Read the first entries that may be served by this dealing; return whether there are more.

        Those that no dealing of this exam can serve any more are ended.
        """
        exam, deals = self.exam, self.stores.deals
        if exam.waiting_list is None:
            return False
        wanting = None if self.has_all else self._wanting()
        found = await deals.waiting(exam.id, drawn=self._is_drawn, wanting=wanting, limit=limit)
        entries = [entry.in_sessions_of(exam) async for entry in in_slices(found)]
        self._entries = [entry for entry in entries if entry.is_possible_in(exam)]
        if gone := [entry.serial for entry in entries if not entry.is_possible_in(exam)]:
            ended = await deals.end_waiting(self.lease, impossible=gone)
            await delist_ended(self.stores, exam, self.shard, ended)
        return len(found) == limit

    def _wanting(self) -> tuple[set[str], set[str]]:
        """Return the subjects and venues of which an entry has to want some to be served.

        Under a ceiling the place of a seat is worth something for each subject of its session.
        """
        venues, subjects = map(set, zip(*(quota.split("/") for quota in self.frozen), strict=True))
        if self.exam.ceilings:
            session_of = self.exam.session_of
            sessions = {session_of[subject] for subject in subjects if subject in session_of}
            subjects |= {each for each, session in session_of.items() if session in sessions}
        return subjects, venues

    async def _draw(self) -> None:
        """End the window that entries have joined, and draw those in it."""
        exam, deals = self.exam.id, self.stores.deals
        await deals.close_window(self.lease)
        self.stores.failpoint("deal: window closed")
        while undrawn := await deals.undrawn(exam):
            ranks = {serial: rank(seed, exam, candidate) for serial, candidate, seed in undrawn}
            await deals.rank(exam, ranks)

    async def _offer_all(self) -> Plan | None:
        """Plan and make offers until a plan is carried out; None where that did not come about.

        Returns the last plan, of which nothing but the leftovers is left to do.
        """
        for _ in range(_PLANS_MAX):
            planned = await self._plan()
            served, is_done = await self._make(planned)
            self._entries = [each for each in self._entries if each.serial not in served]
            if is_done:
                return planned
            if self._is_over:
                break
        return None

    async def _plan(self) -> Plan:
        """Return the plan for what there is now, without entries whose candidates are taken."""
        pool = await self._pool()
        subjects_of = {
            session.id: [each.id for each in self.exam.subjects if each.session == session.id]
            for session in self.exam.sessions
        }
        while True:
            planned = await asyncio.to_thread(plan, self._entries, pool, subjects_of)
            conflicts = await self._conflicts(planned)
            if not conflicts:
                return planned
            await self._end_conflicts(conflicts)

    async def _pool(self) -> Pool:
        """Return the seats of this dealing, and those on open sale that its entries want.

        What takes long for a long list runs in a thread: all else of the process has to go on.
        """
        exam, dealing = self.exam, self.stores.dealing
        places_of = await asyncio.to_thread(_places_wanted, self._entries)
        quotas = [quota for quota in places_of if not is_stopped(exam, quota)]
        remaining = await dealing.counts(self.shard, "remaining", quotas)
        places: dict[str, int] = {}
        if exam.ceilings:
            wanted = {*places_of.values(), *(self._place(quota) for quota in self.frozen)} - {""}
            places = await dealing.counts(self.shard, "ceiling_left", list(wanted))
        return Pool(self.frozen, remaining, places)

    async def _conflicts(self, planned: Plan) -> list[str]:
        """Return the planned entries whose candidate has one of the sessions elsewhere."""
        exam = self.exam.id
        id_key = self.stores.registry.id_key(exam)
        entries = {
            f"{offer.entry.candidate}/{session}": offer.entry
            for offer in planned.offers
            for session in offer.entry.sessions
        }
        holders = await self.stores.dealing.holders(self.shard, list(entries))
        # An offer that was made, and that Postgres does not know, is no conflict.
        taken = [
            entries[claim].serial
            for claim, holder in holders.items()
            if holder != offer_serial(id_key, exam, entries[claim])
        ]
        return list(dict.fromkeys(taken))

    async def _end_conflicts(self, serials: Sequence[str]) -> None:
        ended = await self.stores.deals.end_waiting(self.lease, conflicts=serials)
        self.stores.failpoint("deal: conflicts ended")
        await delist_ended(self.stores, self.exam, self.shard, ended)
        self._entries = [entry for entry in self._entries if entry.serial not in set(serials)]

    async def _make(self, planned: Plan) -> tuple[set[str], bool]:
        """Make the planned offers; return which entries are done with, and whether all were made.

        What an offer took of the seats of this dealing is taken off them.
        """
        done: set[str] = set()
        for batch in _batches(planned.offers):
            offers = self._with_times(batch, await self.stores.seats.clock_ms(self.shard))
            replies = await make_offers(self.stores, self.exam, self.shard, self.lease, offers)
            for offer, reply in zip(offers, replies, strict=False):
                if reply.code >= Code.DONE or reply.code is Code.ENDED:
                    done.add(offer.planned.entry.serial)
                if reply.code is Code.DONE:
                    self.offers += 1
                    self._take_off(offer.planned)
            if replies[-1].code < Code.DONE:
                await self._refused(offers[len(replies) - 1].planned, replies[-1].code)
                return done, False
        return done, True

    async def _refused(self, offer: PlannedOffer, code: Code) -> None:
        """Prepare for another plan after an offer was refused."""
        entry = offer.entry
        match code:
            case Code.SESSION_CONFLICT:
                await self._end_conflicts([entry.serial])
            case Code.UNKNOWN:  # it has left, or Redis has lost it; Postgres knows
                waits = await self.stores.deals.waiting_of(self.exam.id, [entry.serial])
                await self.stores.lists.relist(self.shard, list(waits.values()))
                if not waits:
                    self._entries = [each for each in self._entries if each is not entry]
            case Code.SOLD_OUT:  # of open sale, or returned seats that a lower capacity has taken
                used = [quota for quota in _returned_seats(offer) if quota in self.frozen]
                left = await self.stores.dealing.counts(self.shard, "returned", used)
                self.frozen |= {q: min(self.frozen[q], left.get(q, 0)) for q in used}
            case Code.ENDED:
                pass
            case _:  # registration is over, or the sitting begins: the next visit ends entries
                self._is_over = True

    def _with_times(self, batch: Sequence[PlannedOffer], now_ms: int) -> list[MadeOffer]:
        """Return the offers of a batch with their serials and deadlines."""
        exam, rules = self.exam, self.exam.waiting_list
        if rules is None:
            raise AssertionError("offers are made to a waiting list")
        id_key = self.stores.registry.id_key(exam.id)
        zone, slack_ms = ZoneInfo(exam.time_zone), exam.hold.expiry_slack_s * 1000
        made = []
        for planned in batch:
            entry = planned.entry
            quiet = that_count(rules.quiet_hours, entry.quiet_hours)
            last_ms = exam.first_sitting(entry.subjects).starts_at_ms
            ends_ms = deadline_ms(now_ms, rules.offer_ttl_s * 1000, quiet, zone, last_ms)
            serial = offer_serial(id_key, exam.id, entry)
            made.append(MadeOffer(serial, planned, ends_ms, ends_ms + slack_ms))
        return made

    def _leftovers(self, planned: Plan, *, even_if_wanted: bool) -> list[Leftover]:
        """Return the seats that go on open sale, with the entries that the plan has seen."""
        leftovers = []
        for quota, seats in planned.leftovers.items():
            place, seen = self._place(quota), planned.waiting
            at_place = seen.get(place.replace("/", "//"), 0)
            counts = (_ANY, _ANY) if even_if_wanted else (seen.get(quota, 0), at_place)
            leftovers.append(Leftover(quota, seats, counts[0], place, counts[1]))
        return leftovers

    def _place(self, quota: str) -> str:
        """Return the place of a quota under the ceiling of its session; "" where it has none."""
        venue, _, subject = quota.partition("/")
        session = self.exam.session_of.get(subject, "")
        return f"{venue}/{session}" if (venue, session) in self.exam.ceilings else ""

    def _take_off(self, offer: PlannedOffer) -> None:
        for quota in _returned_seats(offer):
            self.frozen[quota] -= 1


def is_stopped(exam: Exam, quota: str) -> bool:
    """Return whether a quota is paused or closed for sale."""
    venue, _, subject = quota.partition("/")
    return exam.is_closed(venue, [subject]) or any(
        pause.covers(venue, [subject]) for pause in exam.pauses
    )


def _places_wanted(entries: Sequence[Entry]) -> dict[str, str]:
    """Return the quotas that entries want, each with its place under a ceiling."""
    return {
        f"{venue}/{subject}": f"{venue}/{session}"
        for entry in entries
        for venue in entry.venues
        for subject, session in zip(entry.subjects, entry.sessions, strict=True)
    }


def _returned_seats(offer: PlannedOffer) -> list[str]:
    """Return the quotas of the returned seats that an offer uses."""
    used = (seat.quota if seat.is_returned else seat.opened for seat in offer.seats)
    return [quota for quota in used if quota is not None]


def _batches(offers: Sequence[PlannedOffer]) -> list[list[PlannedOffer]]:
    """Return offers in order, in batches with a bounded number of seats."""
    batches: list[list[PlannedOffer]] = []
    seats = _BATCH_SEATS
    for offer in offers:
        if seats + len(offer.seats) > _BATCH_SEATS:
            batches.append([])
            seats = 0
        batches[-1].append(offer)
        seats += len(offer.seats)
    return batches
