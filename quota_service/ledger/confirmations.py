"""Records payment events and books seats, those in flight together in one call of Postgres.

The call is the SQL function `settle_payments`, a transaction by itself: its migration describes the
order of locks, how each event ends, and when a payment repeats another. It answers a code for each
event, so that one at fault does not cost the others their commit. What a constraint refuses all the
same was committed by another group meanwhile: the call is made again, and finds it.
"""

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from quota_service.domain.errors import EventIdReused, LedgerUnavailable, NotReady
from quota_service.domain.payment import (
    PaymentEvent,
    PaymentOutcome,
    RefundReason,
)
from quota_service.domain.reservation import Reservation
from quota_service.ledger.attempts import decide_attempts
from quota_service.ledger.errors import (
    AlreadyBooked,
    EventRecorded,
    LedgerRefused,
    Oversold,
    SessionTaken,
)
from quota_service.ledger.fence import ATTEMPT_LIFE_S, ShardEpoch, attempt_clock_s
from quota_service.ledger.group_commit import GroupCommit
from quota_service.ledger.pool import Ledger
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings

if TYPE_CHECKING:
    from asyncpg import Record

_RACES = (Oversold, SessionTaken, AlreadyBooked, EventRecorded)
"""Constraints that hold only against a group which was committed beside ours."""
_REPEATED = ("repeated", "recorded")
"""Codes of events whose end was committed before."""
_TRIES_MAX = 3
_ATTEMPT_KEPT = dt.timedelta(days=1)
"""How long the fate of an attempt is kept.

An attempt lives for an hour, and `settle_payments` lets its call be half a day on the way.
"""
_NO_BOOKING = (None,) * 15


@dataclass(frozen=True, slots=True)
class PaymentDecision:
    """How a payment event shall end: booked under an attempt, or without a booking as `outcome`.

    A booking names the `shard` its attempt began in, with its epoch and the shard's `version` after
    that, and when the attempt began, by the clock of `attempt_clock_s`.
    """

    event: PaymentEvent
    outcome: PaymentOutcome
    reason: RefundReason | None = None
    booking: Reservation | None = None
    shard: ShardEpoch | None = None
    version: int = 0
    begun_s: float = math.inf

    @classmethod
    def due_back(cls, event: PaymentEvent, reason: RefundReason) -> "PaymentDecision":
        """Return the verdict on a captured payment that books nothing: of 0 nothing goes back."""
        if event.amount == 0:
            return cls(event, PaymentOutcome.IGNORED)
        return cls(event, PaymentOutcome.REFUND_DUE, reason)


@dataclass(frozen=True, slots=True)
class RecordedPayment:
    """How a payment event did end; `repeated` when it had ended so before."""

    outcome: PaymentOutcome
    reason: RefundReason | None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class AttemptSuperseded:
    """The attempt was given up meanwhile and nothing is booked: begin another."""


class ConfirmationLedger:
    """Group commit of payment events."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        metrics: Metrics,
        failpoint: Callable[[str], None],
    ) -> None:
        self._failpoint = failpoint
        self._ledger = ledger
        self._group: GroupCommit[PaymentDecision, RecordedPayment | AttemptSuperseded] = (
            GroupCommit(
                settings, metrics, names_of=_names, commit=self._commit, look_up=self._look_up
            )
        )

    @property
    def waiting(self) -> int:
        """How many payment events wait for a transaction."""
        return self._group.waiting

    async def settle(self, verdict: PaymentDecision) -> RecordedPayment | AttemptSuperseded:
        """Commit a verdict; an event that is recorded already keeps the end it had.

        Raises EventIdReused, NotReady, Overloaded, LedgerRefused for a quota that is not in the
        ledger, and LedgerUnavailable, after which the outcome is unknown: repeat.
        """
        return await self._group.submit(verdict)

    async def decide_attempts(self, attempts: Sequence[tuple[str, str]]) -> Mapping[str, bool]:
        """Give up (reservation, attempt) pairs, waiting for confirmations under way.

        Returns whether each of the reservations has a booking; without those whose confirmation
        does not end.
        """
        decided = await decide_attempts(self._ledger, attempts)
        rows = await self._ledger.fetch("select_booked", list(decided))
        booked = {row["reservation"] for row in rows}
        return {reservation: reservation in booked for reservation in decided}

    async def recorded(self, event: PaymentEvent) -> RecordedPayment | None:
        """Return the end an event had, None when it had none; EventIdReused if it is another."""
        rows = await self._ledger.fetch("select_payment_events", [event.event])
        if not rows:
            return None
        await self._ledger.sync()
        settled = _as_recorded(event, rows[0])
        if isinstance(settled, EventIdReused):
            raise settled
        return settled

    async def events_of(self, reservations: Sequence[str]) -> Mapping[str, list[str]]:
        """Return the recorded events of captured payments, by reservation."""
        rows = await self._ledger.fetch("select_events_of_reservations", list(reservations))
        events: defaultdict[str, list[str]] = defaultdict(list)
        for row in rows:
            events[row["reservation"]].append(row["event"])
        return events

    async def prune_attempts(self, limit: int) -> int:
        """Remove at most `limit` rows of attempts that have expired; return how many."""
        return len(await self._ledger.fetch("prune_attempts", _ATTEMPT_KEPT, limit))

    async def _commit(
        self, group: Sequence[PaymentDecision]
    ) -> list[RecordedPayment | AttemptSuperseded | BaseException]:
        since_s = attempt_clock_s() - ATTEMPT_LIFE_S
        columns = list(zip(*(_row(verdict, since_s) for verdict in group), strict=True))
        race: LedgerRefused | None = None
        for _ in range(_TRIES_MAX):
            self._failpoint("confirm: before commit")
            now = dt.datetime.now(dt.UTC)
            try:
                rows = await self._ledger.commit("settle_payments", now, *columns)
            except _RACES as refusal:
                race = refusal
            else:
                if any(row["code"] in _REPEATED for row in rows):
                    await self._ledger.sync()
                return list(map(_end, rows))
        raise LedgerUnavailable("other transactions kept changing the same payments") from race

    async def _look_up(
        self, group: Sequence[PaymentDecision]
    ) -> list[RecordedPayment | AttemptSuperseded | BaseException | None]:
        events = [verdict.event.event for verdict in group]
        rows = await self._ledger.fetch("select_payment_events", events)
        if rows:
            await self._ledger.sync()
        recorded = {row["event"]: row for row in rows}
        return [
            _as_recorded(verdict.event, recorded[verdict.event.event])
            if verdict.event.event in recorded
            else None
            for verdict in group
        ]


def _names(verdict: PaymentDecision) -> Iterator[object]:
    """Yield what no two events of a group may both write."""
    yield "event", verdict.event.event
    yield "reservation", verdict.event.reservation
    yield "reference", verdict.event.provider_reference
    booking = verdict.booking
    if booking is not None:
        for session in booking.sessions:
            yield booking.exam, booking.candidate, session


def _row(verdict: PaymentDecision, since_s: float) -> tuple[Any, ...]:
    """Return the arguments of `settle_payments` for one event.

    An attempt that began before `since_s` cannot book any more.
    """
    event, booking = verdict.event, verdict.booking
    common = (
        event.event,
        event.reservation,
        event.status,
        verdict.outcome,
        verdict.reason,
        event.amount,
        event.currency,
        event.paid_at_ms,
        event.provider_reference,
        event.body_hash,
        event.request,
    )
    if booking is None:
        return common + _NO_BOOKING
    _, epoch = verdict.shard or (None, 0)
    return (
        *common,
        booking.exam,
        None if verdict.shard is None else 0,
        epoch,
        verdict.version,
        booking.attempt if verdict.begun_s > since_s else None,
        booking.candidate,
        booking.venue,
        ",".join(booking.subjects),
        ",".join(booking.sessions),
        booking.created_ms,
        booking.request_hash,
        booking.first_deadline_ms,
        booking.first_venue,
        booking.venue_changes,
        booking.set_aside,
    )


def _end(row: "Record") -> RecordedPayment | AttemptSuperseded | BaseException:
    """Return how `settle_payments` says that an event ended."""
    match row["code"]:
        case "settled":
            return _settled(row["ended"], row["why"], repeated=False)
        case code if code in _REPEATED:
            return _settled(row["ended"], row["why"], repeated=True)
        case "pin-gone":
            return AttemptSuperseded()
        case "reused":
            return EventIdReused()
        case "fenced":
            return NotReady("the shard is being recovered")
        case _:
            return LedgerRefused("a quota that is not in the ledger")


def _as_recorded(event: PaymentEvent, row: "Record") -> RecordedPayment | EventIdReused:
    """Return the end an event had; it must be the same event, not another under its id."""
    if row["body_hash"] != event.body_hash:
        return EventIdReused()
    return _settled(row["outcome"], row["reason"], repeated=True)


@cache
def _settled(outcome: str, reason: str | None, *, repeated: bool) -> RecordedPayment:
    return RecordedPayment(
        PaymentOutcome(outcome), None if reason is None else RefundReason(reason), repeated
    )
