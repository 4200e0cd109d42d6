"""Deal: offers returned seats to the waiting list, and puts what no entry can use on open sale.

    1. look in Redis whether there is anything to deal; take or renew the lease on the dealing of
       the exam in Postgres; stop while another process has it
    2. let no leader before this one deal in Redis any more; record the offers it left unfinished
    3. end entries in Postgres whose offer has ended, whose time is over or whose candidate has the
       session elsewhere, then take them off the list in Redis
    4. read the returned seats: those of this dealing. What comes back later is for the next one
    5. plan: who is offered which seats, in order (`waiting_list/plan.py`)
    6. make the planned offers, a batch at a time (`offers.py`); where one is refused, plan again
    7. put the rest on open sale, unless more entries wait for it than the plan has seen
    8. at an announced instant: note that it was dealt

Returned seats are dealt as soon as there are any (`list-first`), or at the announced instants and
at a seat release (`at-times`).

A process that dies before the first batch of 6 has offered nothing. One that dies later leaves
offers that Redis has and Postgres may not know, which the next leader settles in 2, and returned
seats, which it deals in 4: they are in Redis until they are offered or opened. An instant that was
begun and not noted in 8 is dealt again. One that was stopped anywhere, and goes on when another has
taken over, is refused by Redis from 2 on, and by Postgres.

While the exam or its list is paused there is no dealing; 2 and 3 go on. Seats of what is paused or
closed for sale stay where they are. 4 to 7 are in `deal_round.py`.
"""

import logging
import secrets
import time
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from quota_service.domain.exam import Exam, ReturnRule
from quota_service.ledger.dealing import DealingLease
from quota_service.registration.deal_round import DealingRound, is_stopped
from quota_service.registration.level_list import LevelledLists, delist_ended
from quota_service.registration.offers import settle_unfinished
from quota_service.registration.stores import DealingStores
from quota_service.seats.dealing import ListLook, OvertakenError
from quota_service.seats.keys import Shard
from quota_service.settings import Settings
from quota_service.waiting_list.instants import last_instant_ms

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DealingLimits:
    """The times of the dealing."""

    lease_s: float = 10.0
    """Time after which another process takes over from a dead leader; a list of ten thousand is
    compared in less."""
    ends_interval_s: float = 1.0
    """Pause between two looks in Postgres: for offers that ended, and for what is due there."""
    level_interval_s: float = 30.0
    """Pause between two comparisons of the whole list in Redis with Postgres."""


@dataclass(slots=True)
class Dealt:
    """What one visit did."""

    offers: int = 0
    opened: int = 0
    ended: int = 0
    settled: int = 0


@dataclass(slots=True)
class _Memory:
    """What this process remembers of an exam; what it is wrong about costs a look."""

    epoch: int = -1
    beyond_epoch: int = 0
    """The epoch that a leader in Redis had: of a Postgres that was set back the next is lower."""
    dealt_through_ms: int | None = None
    ends_at_s: float = 0.0
    dealt_all: tuple[int, int] | None = None
    """Definition and epoch of the shard of the last dealing that looked at every entry."""
    idle_until_s: float = 0.0
    due_since_s: float | None = None


class Dealing:
    """The dealing of every exam, as far as this process leads it."""

    def __init__(self, stores: DealingStores, settings: Settings) -> None:
        self._stores = stores
        self._limits = settings.limits_of(DealingLimits)
        self._name = secrets.token_hex(8)
        self._memories: dict[str, _Memory] = {}
        self._levelled = LevelledLists(stores, self._limits.level_interval_s)

    async def visit(self, exam: Exam, shard: Shard) -> Dealt:
        """Look at an exam and deal what is due; nothing where another process leads.

        Raises NotReady, SeatsUnavailable and LedgerUnavailable; then what was not done is found by
        the next visit.
        """
        memory = self._memories.setdefault(exam.id, _Memory())
        look = await self._stores.dealing.look(shard)
        self._note_due(exam, memory, look)
        if look.revision != str(exam.revision) or not self._is_worth_a_lease(exam, memory, look):
            return Dealt()  # by an older definition nothing can be dealt: it is read again soon
        lease = await self._stores.deals.lease(
            exam.id, self._name, self._limits.lease_s, memory.beyond_epoch
        )
        if lease is None:
            memory.idle_until_s = time.monotonic() + self._limits.ends_interval_s
            return Dealt()
        self._stores.failpoint("deal: leased")
        if lease.epoch != memory.epoch:
            log.info("dealing leader", extra={"exam": exam.id, "epoch": lease.epoch})
            memory = self._memories[exam.id] = _Memory(lease.epoch)
        memory.dealt_through_ms = lease.dealt_through_ms
        try:
            return await self._lead(exam, shard, memory, lease)
        except OvertakenError as error:
            log.info("dealing leadership ended", extra={"exam": exam.id})
            self._memories[exam.id] = _Memory(beyond_epoch=error.leader)
            return Dealt()

    def _is_worth_a_lease(self, exam: Exam, memory: _Memory, look: ListLook) -> bool:
        """Return whether anything may be due: what only Postgres knows is asked once a second."""
        now_s = time.monotonic()
        if now_s >= memory.ends_at_s:
            memory.ends_at_s = now_s + self._limits.ends_interval_s
            return True
        if now_s < memory.idle_until_s:
            return False
        return look.offers > 0 or _is_due(exam, memory, look)

    async def _lead(self, exam: Exam, shard: Shard, memory: _Memory, lease: DealingLease) -> Dealt:
        stores, dealt = self._stores, Dealt()
        now_ms, unfinished = await stores.dealing.begin(shard, lease.epoch)
        dealt.settled = await settle_unfinished(stores, exam, shard, lease, unfinished)
        stores.failpoint("deal: settled")
        dealt.ended = await self._end(exam, shard, lease, now_ms)
        await self._level(exam, shard, memory, lease)
        memory.idle_until_s = time.monotonic() + self._limits.ends_interval_s
        if lease.is_paused or exam.whole_pause is not None:
            return dealt
        instant_ms = _instant_ms(exam, now_ms)
        is_instant = lease.is_due or instant_ms > lease.dealt_through_ms
        if exam.returned.rule is ReturnRule.AT_TIMES and not is_instant:
            return dealt
        if is_instant and not await stores.deals.begin(lease):
            raise OvertakenError(exam.id)
        returned = await stores.returned.read(shard)
        frozen = {quota: n for quota, n in returned.items() if not is_stopped(exam, quota)}
        has_all = is_instant or memory.dealt_all != (exam.revision, shard.epoch)
        if frozen or has_all:
            deal = DealingRound(
                stores, exam, shard, lease, frozen, has_all=has_all, is_instant=is_instant
            )
            dealt.offers, dealt.opened = await deal.run()
            memory.dealt_all = (exam.revision, shard.epoch)
            stores.metrics.list_rounds.labels(exam=exam.id).inc()
            if dealt.offers or dealt.opened:
                told = {"exam": exam.id, "offers": dealt.offers, "opened": dealt.opened}
                log.info("seats dealt", extra=told)
        if is_instant:
            stores.failpoint("deal: dealt")
            memory.dealt_through_ms = max(instant_ms, lease.dealt_through_ms)
            if not await stores.deals.end(lease, memory.dealt_through_ms):
                raise OvertakenError(exam.id)
        if dealt.offers or dealt.opened:
            memory.idle_until_s = 0.0
        return dealt

    async def _level(self, exam: Exam, shard: Shard, memory: _Memory, lease: DealingLease) -> None:
        """Bring the list in Redis level when it is time; that may take as long as the lease."""
        began_s = time.monotonic()
        if await self._levelled.level(exam, shard, lease):
            memory.dealt_all = None
        is_long = time.monotonic() - began_s > lease.lasts_s / 5
        if is_long and not await self._stores.deals.keep(lease):
            raise OvertakenError(f"the lease of epoch {lease.epoch} is over")

    async def _end(self, exam: Exam, shard: Shard, lease: DealingLease, now_ms: int) -> int:
        """End the entries whose offer has ended or whose time is over; return how many."""
        stores = self._stores
        ended = await stores.deals.end_offers(lease)
        closed = now_ms >= exam.registration.closes_at_ms or exam.waiting_list is None
        begun = [subject for subject, at_ms in exam.starts_at_ms.items() if at_ms <= now_ms]
        over = await stores.deals.end_waiting(lease, closed=closed, begun=begun)
        stores.failpoint("deal: ended")
        await delist_ended(stores, exam, shard, [*ended, *over])
        for entry in ended:
            stores.metrics.list_offers.labels(exam=exam.id, outcome=entry.state).inc()
        return len(ended) + len(over)

    def _note_due(self, exam: Exam, memory: _Memory, look: ListLook) -> None:
        """Export how many wait, and since when seats should have been dealt.

        Seats that a dealing has just left, as nobody can have them now, are not due.
        """
        now_s = time.monotonic()
        if not _is_due(exam, memory, look) or now_s < memory.idle_until_s:
            memory.due_since_s = None
        elif memory.due_since_s is None:
            memory.due_since_s = now_s
        gauges = self._stores.metrics.lists
        gauges["waiting"].labels(exam=exam.id).set(look.entries)
        since_s = now_s if memory.due_since_s is None else memory.due_since_s
        gauges["due_seconds"].labels(exam=exam.id).set(now_s - since_s)


def _is_due(exam: Exam, memory: _Memory, look: ListLook) -> bool:
    """Return whether seats are to be dealt, as far as it is known without Postgres."""
    if exam.returned.rule is not ReturnRule.AT_TIMES:
        return look.returned > 0
    through_ms = memory.dealt_through_ms
    return through_ms is not None and _instant_ms(exam, look.clock_ms) > through_ms


def _instant_ms(exam: Exam, now_ms: int) -> int:
    """Return the last instant at which returned seats were to be dealt; 0 where there is none."""
    return last_instant_ms(exam.returned.times, ZoneInfo(exam.time_zone), now_ms) or 0
