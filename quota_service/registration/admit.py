"""Admit: lets the candidates of a waiting room in, a step a second, at the rate the service bears.

    1. read the statistics of the room in Redis: who is inside, who waits, what the processes report
       of their load, and whether registration is open by the definition in force there
    2. take or renew the lease on the room in Postgres; stop while another process has it
    3. decide how far to admit: no candidate while registration is not open or the exam is paused,
       nor before the seed of the draw may be shown (`room_cache`, `settle_draw`)
    4. write the step in Postgres, fenced by the epoch of the lease and by the revision of the
       definition                                                                   <- the decision

Candidates see a step when the public document is refreshed from Postgres. A process that dies
before 4 has admitted no candidate, one that dies after it has: another takes over when the lease
has ended and continues from Postgres, so no candidate is skipped and nothing is taken back. One
that was stopped between 2 and 4 finds its epoch gone, or its lease over, and changes nothing.

While either store is away there is no step. The rooms stay as they are, and so does the time in
which a turn is honoured; when it is over they go on from where they were, at the same pace. It is
the same while an opening is postponed, and shortly after each change of a definition, until
this process has heard of it.
"""

import logging
import math
import secrets
import time
from dataclasses import dataclass

from quota_service.domain.exam import Exam, WaitingRoomRules
from quota_service.ledger.admission import Lease, Position
from quota_service.registration.stores import WaitingRoomStores
from quota_service.seats.keys import Shard
from quota_service.seats.room_statistics import RoomStatistics
from quota_service.settings import Settings
from quota_service.waiting_room.admission import (
    RANK_END,
    Demand,
    Limit,
    Policy,
    Progress,
    Step,
    decide,
)
from quota_service.waiting_room.room import Room
from quota_service.waiting_room.signals import Targets, add_up
from quota_service.waiting_room.turnout import Turnout

log = logging.getLogger(__name__)

REDIS_P99_TARGET_MS = 50.0
"""p99 of Redis above which admission gets slower."""
POOL_WAIT_P99_TARGET_MS = 100.0
"""p99 of the wait for a connection to Postgres above which admission gets slower."""
FAILURE_RATE_TARGET = 0.02
"""Share of answers 5xx above which admission gets slower."""
BACKLOG_TARGET = 500
"""Payments waiting for a transaction above which admission gets slower."""
FALL_EFFECT_S = 15.0
"""Time a slower admission gets to show before the next fall."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """The times of admission, and how fast it gets faster."""

    interval_s: float = 1.0
    """Pause between two steps."""
    lease_s: float = 5.0
    """Time after which another process takes over from a dead leader."""
    rise_max: float = 0.02
    """Largest share by which admission gets faster in a second."""
    claim_window_s: float = 20.0
    """How long a place is kept free for a candidate who was admitted."""
    hold_after_s: float = 2.5
    """Age from which a process's report of its load counts as missing."""
    stop_after_s: float = 5.0
    """Time without any report after which no candidate is admitted."""


_NOBODY = 0.0


@dataclass(slots=True)
class _Memory:
    """What a leader remembers of a room under one epoch; its successor starts without it."""

    epoch: int
    turnout: Turnout
    carry: float = 0.0
    fell_s: float = -math.inf
    limit: Limit | None = None
    told: tuple[int, int, int, int] | None = None
    """In the draw, last number, threshold and serving, as the last log line had them."""


class Admission:
    """The admission of every room, as far as this process leads it."""

    def __init__(self, stores: WaitingRoomStores, settings: Settings) -> None:
        self._stores = stores
        self._limits = settings.limits_of(AdmissionLimits)
        self._name = secrets.token_hex(8)
        self._memories: dict[str, _Memory] = {}
        self._closed: set[tuple[str, int]] = set()
        self._seen_places: dict[str, tuple[int, int]] = {}
        self._lost_places: dict[str, tuple[int, float]] = {}
        self._targets = Targets(
            reserve_p99_ms=settings.admission_reserve_p99_target_ms,
            redis_p99_ms=REDIS_P99_TARGET_MS,
            pool_wait_p99_ms=POOL_WAIT_P99_TARGET_MS,
            failure_rate=FAILURE_RATE_TARGET,
            backlog=BACKLOG_TARGET,
            hold_after_s=self._limits.hold_after_s,
            stop_after_s=self._limits.stop_after_s,
        )

    async def admit(self, exam: Exam) -> float:
        """Take one step for an exam and return how many it admits; 0 where another process leads.

        Raises NotReady, SeatsUnavailable and LedgerUnavailable; then there was no step, or one
        whose commit in Postgres is of unknown end.
        """
        rules = exam.waiting_room
        if rules is None:
            self._forget(exam.id)
            return _NOBODY
        shard = self._stores.registry.shard(exam.id)
        statistics = await self._stores.room_statistics.read(shard)
        if statistics.revision != exam.revision:
            return _NOBODY
        if statistics.is_over:
            await self._close(exam)
            return _NOBODY
        # The next leader has to know it too.
        places = self._places(shard, rules, statistics)
        self._stores.failpoint("admit: read")
        lease = await self._stores.admission.lease(exam.id, self._name, self._limits.lease_s)
        if lease is None:
            self._forget(exam.id)
            return _NOBODY
        self._stores.failpoint("admit: leased")
        memory = self._remember(lease.room)
        step, healthy_s = self._decide(exam, rules, lease, statistics, places=places, memory=memory)
        position = _position(step, statistics, healthy_s)
        grace_ms = rules.claim_grace_s * 1000
        if not await self._stores.admission.step(lease.room, exam.revision, position, grace_ms):
            log.info("admission step refused", extra={"exam": exam.id})
            return _NOBODY
        self._note(exam.id, memory, step, statistics, lease.room)
        return step.people

    def _decide(
        self,
        exam: Exam,
        rules: WaitingRoomRules,
        lease: Lease,
        statistics: RoomStatistics,
        *,
        places: int,
        memory: _Memory,
    ) -> tuple[Step, float]:
        """Return the next step, and the seconds it adds to the grace of claims."""
        room, now_s = lease.room, time.monotonic()
        progress = Progress(
            rate=room.rate,
            fixed_rate=room.fixed_rate,
            is_paused=room.is_paused or exam.whole_pause is not None,
            threshold=int(room.threshold, 16),
            serving=room.serving,
            carry=memory.carry,
            since_fall_s=now_s - memory.fell_s,
        )
        if exam.whole_pause is not None:
            memory.turnout.pause(now_s)
        if not statistics.is_open or not room.is_draw_ready:
            memory.turnout.pause(now_s)
            rate, place = rules.rate_per_s, (progress.threshold, room.serving)
            return Step(rate, *place, _NOBODY, Limit.NOT_OPEN), 0.0
        demand = Demand(
            drawn=max(room.drawn, statistics.drawn),
            claimed=statistics.claimed,
            last_number=_last_number(room, statistics),
            places=places,
            coming=memory.turnout.coming(now_s, statistics.claims),
        )
        policy = Policy(
            targets=self._targets,
            rate_min=rules.rate_min_per_s,
            rate_max=rules.rate_max_per_s,
            places_max=rules.places_max,
            rise_max=self._limits.rise_max,
            fall_effect_s=FALL_EFFECT_S,
        )
        # What an outage or a change of leaders has left out is not made up for: a crowd that was
        # saved up would come all at once.
        most_s = 2 * self._limits.interval_s
        elapsed_s = min(max(lease.since_step_s or 0.0, 0.0), most_s)
        step = decide(
            progress, demand, add_up(statistics.reports, self._targets), policy, elapsed_s
        )
        return step, elapsed_s if step.is_healthy else 0.0

    def _places(self, shard: Shard, rules: WaitingRoomRules, statistics: RoomStatistics) -> int:
        """Return how many have a place; those that Redis has lost go on counting for a while.

        They are inside still, their passes are good, and each is taken up again when it is used.
        """
        now_s = time.monotonic()
        lost, until_s = self._lost_places.get(shard.exam, (0, 0.0))
        lost = lost if now_s < until_s else 0
        seen_epoch, seen = self._seen_places.get(shard.exam, (shard.epoch, 0))
        if seen_epoch != shard.epoch:
            lost = max(seen, lost)
            self._lost_places[shard.exam] = (lost, now_s + rules.idle_s)
        self._seen_places[shard.exam] = (shard.epoch, statistics.places)
        return max(statistics.places, lost)

    def _remember(self, room: Room) -> _Memory:
        memory = self._memories.get(room.exam)
        if memory is None or memory.epoch != room.leader_epoch:
            memory = self._memories[room.exam] = _Memory(
                room.leader_epoch, Turnout(self._limits.claim_window_s)
            )
            self._stores.metrics.leader_changes.labels(exam=room.exam).inc()
            log.info("admission leader", extra={"exam": room.exam, "epoch": room.leader_epoch})
        return memory

    def _forget(self, exam: str) -> None:
        """Stop leading an exam; the new leader exports its gauges."""
        if self._memories.pop(exam, None) is not None:
            log.info("admission leadership ended", extra={"exam": exam})
            for gauge in self._stores.metrics.rooms.values():
                gauge.remove(exam)

    async def _close(self, exam: Exam) -> None:
        self._forget(exam.id)
        end = (exam.id, exam.registration.closes_at_ms)
        if end not in self._closed:
            if await self._stores.admission.close(exam.id):
                log.info("admission closed", extra={"exam": exam.id})
            self._closed.add(end)

    def _note(
        self, exam: str, memory: _Memory, step: Step, statistics: RoomStatistics, before: Room
    ) -> None:
        """Remember a step that was written, and tell it to ops."""
        now_s = time.monotonic()
        memory.carry = step.carry
        memory.turnout.note(now_s, step.people, statistics.claims)
        if step.has_fallen:
            memory.fell_s = now_s
        if step.limit is not memory.limit and Limit.SILENCE in (step.limit, memory.limit):
            log.warning("admission", extra={"exam": exam, "limit": step.limit})
        memory.limit = step.limit
        self._log_room(exam, memory, step, statistics, before)
        metrics = self._stores.metrics
        metrics.admitted.labels(exam=exam).inc(step.people)
        share = step.threshold / RANK_END
        drawn = max(before.drawn, statistics.drawn)
        queue = max(0, _last_number(before, statistics) - step.serving)
        for name, value in {
            "rate": step.rate,
            "threshold_fraction": share,
            "serving": step.serving,
            "waiting": drawn * (1 - share) + queue,
            "places": statistics.places,
            "turnout": memory.turnout.share(now_s, statistics.claims),
        }.items():
            metrics.rooms[name].labels(exam=exam).set(value)

    @staticmethod
    def _log_room(
        exam: str, memory: _Memory, step: Step, statistics: RoomStatistics, before: Room
    ) -> None:
        """Log who joined and whose turn has come, when it has changed: a line a second at most.

        A line for each candidate would be millions within minutes, and be written by the processes
        at their busiest. Whether a turn has come follows from the ticket and these lines; from the
        claim on, a candidate has lines of its own.
        """
        drawn = max(before.drawn, statistics.drawn)
        last_number = _last_number(before, statistics)
        told = (drawn, last_number, step.threshold, step.serving)
        if told == memory.told:
            return
        memory.told = told
        log.info(
            "waiting room",
            extra={
                "exam": exam,
                "in_draw": drawn,
                "last_number": last_number,
                "admitted": round(step.people),
                "threshold": f"{step.threshold:064x}",
                "served_before": before.serving,
                "serving": step.serving,
            },
        )


def _last_number(room: Room, statistics: RoomStatistics) -> int:
    """Return the last number that may be out.

    Where Redis has lost it, that is any number which was ever set aside.
    """
    return room.numbers_reserved if statistics.last_number is None else statistics.last_number


def _position(step: Step, statistics: RoomStatistics, healthy_s: float) -> Position:
    return Position(
        threshold=f"{step.threshold:064x}",
        serving=step.serving,
        rate=step.rate,
        drawn=statistics.drawn,
        healthy_ms=round(healthy_s * 1000),
    )
