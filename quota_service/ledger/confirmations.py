"""Records payment events and books seats, those in flight together in one transaction.

A group writes in steps that every group takes in the same order, each step sorted, so two groups
never wait for each other in a circle: shards, references, pins, events, bookings, items, counters.
When a group cannot be stored, each event is tried alone, so that only the one at fault fails.
"""

import datetime as dt
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.coalescing import Coalescer, QueueFullError
from quota_service.domain.errors import EventIdReused, LedgerUnavailable, NotReady, Overloaded
from quota_service.domain.payment import (
    PaymentEvent,
    PaymentOutcome,
    PaymentStatus,
    RefundReason,
)
from quota_service.domain.reservation import Reservation
from quota_service.ledger.errors import (
    AlreadyBooked,
    EventRecorded,
    LedgerRefused,
    Oversold,
    SessionTaken,
)
from quota_service.ledger.fence import (
    ATTEMPT_LIFE_S,
    FencedTransaction,
    ShardEpoch,
    attempt_clock_s,
    fenced_transaction,
)
from quota_service.ledger.pool import Ledger
from quota_service.ledger.recording import record
from quota_service.ledger.references import ToldBefore, told_before
from quota_service.ledger.settling import settle_pins
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings

if TYPE_CHECKING:
    from asyncpg import Record

    from quota_service.ledger.pool import Connection

log = logging.getLogger(__name__)

_REASONS: dict[type[LedgerRefused], RefundReason] = {
    Oversold: RefundReason.SOLD_OUT,
    SessionTaken: RefundReason.SESSION_CONFLICT,
    AlreadyBooked: RefundReason.ALREADY_PAID,
}
_TRIES_MAX = 3
_PIN_KEPT = dt.timedelta(days=1)
"""How long the fate of a pin is kept; an attempt lives for an hour."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a payment event shall end: booked under a pin, or without a booking as `outcome`.

    A booking names the `shard` it was pinned in, with its epoch and the shard's `version` after
    that, and when the attempt began, by the clock of `attempt_clock_s`.
    """

    event: PaymentEvent
    outcome: PaymentOutcome
    reason: RefundReason | None = None
    booking: Reservation | None = None
    shard: ShardEpoch | None = None
    version: int = 0
    begun_s: float = math.inf
    told_before: ToldBefore | None = None
    """What has the reference of the payment, found in the transaction."""

    @classmethod
    def due_back(
        cls, event: PaymentEvent, reason: RefundReason | None, before: ToldBefore | None = None
    ) -> "Verdict":
        """Return the verdict on a captured payment that books nothing: of 0 nothing goes back."""
        if event.amount == 0:
            return cls(event, PaymentOutcome.IGNORED, told_before=before)
        return cls(event, PaymentOutcome.REFUND_DUE, reason, told_before=before)

    @property
    def is_repeat(self) -> bool:
        """Whether the payment was told before, under another event id."""
        return self.told_before is not None and self.told_before.repeats is not None


@dataclass(frozen=True, slots=True)
class Settled:
    """How a payment event did end; `repeated` when it had ended so before."""

    outcome: PaymentOutcome
    reason: RefundReason | None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class PinGone:
    """The pin was given up meanwhile and nothing is booked: pin again."""


class ConfirmationLedger:
    """Group commit of payment events."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        metrics: Metrics,
        reached: Callable[[str], None],
    ) -> None:
        self._reached = reached
        self._ledger = ledger
        self._query = ledger.query
        self._size = metrics.group_commit_size
        self._coalescer: Coalescer[Verdict, Settled | PinGone] = Coalescer(
            self._settle_group,
            batch_max=settings.group_commit_max,
            in_flight_max=settings.group_commits_in_flight_max,
            queue_max=settings.group_commit_queue_max,
        )

    @property
    def waiting(self) -> int:
        """How many payment events wait for a transaction."""
        return self._coalescer.waiting

    async def settle(self, verdict: Verdict) -> Settled | PinGone:
        """Commit a verdict; an event that is recorded already keeps the end it had.

        Raises EventIdReused, and LedgerUnavailable, after which nobody knows: ask again.
        """
        try:
            return await self._coalescer.submit(verdict)
        except QueueFullError as error:
            raise Overloaded("too many payment events wait for Postgres") from error

    async def settle_pins(self, pins: Sequence[tuple[str, str]]) -> Mapping[str, bool]:
        """Give up (reservation, pin) pairs, waiting for confirmations under way.

        Returns whether each of the reservations has a booking; without those whose confirmation
        does not end.
        """
        decided = await settle_pins(self._ledger, pins)
        rows = await self._ledger.fetch("select_booked", list(decided))
        booked = {row["reservation"] for row in rows}
        return {reservation: reservation in booked for reservation in decided}

    async def recorded(self, event: PaymentEvent) -> Settled | None:
        """Return the end an event had, None when it had none; EventIdReused if it is another."""
        rows = await self._ledger.fetch("select_payment_events", [event.event])
        if not rows:
            return None
        settled = _as_recorded(Verdict(event, PaymentOutcome.IGNORED), rows[0])
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

    async def prune_pins(self, limit: int) -> int:
        """Remove at most `limit` pins that no attempt can name any more; return how many."""
        return len(await self._ledger.fetch("prune_settled_pins", _PIN_KEPT, limit))

    async def _settle_group(
        self, verdicts: list[Verdict]
    ) -> list[Settled | PinGone | BaseException]:
        results: dict[int, Settled | PinGone | BaseException] = {}
        for turn in _turns(verdicts):
            group = [verdicts[i] for i in turn]
            results.update(zip(turn, await self._settle_turn(group), strict=True))
        return [results[i] for i in range(len(verdicts))]

    async def _settle_turn(
        self, group: list[Verdict]
    ) -> Sequence[Settled | PinGone | BaseException]:
        """Settle a group in which no event, reservation and reference stands twice."""
        try:
            results = await self._in_one_transaction(group)
            self._size.observe(len(group))
        except LedgerUnavailable as error:
            return await self._look_up(group, error)
        except Exception:  # noqa: BLE001  one event is at fault, and alone it shows which
            return [await self._settle_alone(verdict) for verdict in group]
        return [
            await self._settle_alone(verdict) if isinstance(result, PinGone) else result
            for verdict, result in zip(group, results, strict=True)
        ]

    async def _settle_alone(self, verdict: Verdict) -> Settled | PinGone | BaseException:
        """Settle one event whose group, pin or constraint needs a closer look."""
        for _ in range(_TRIES_MAX):
            try:
                (result,) = await self._in_one_transaction([verdict])
                self._size.observe(1)
                if not isinstance(result, PinGone) or verdict.booking is None:
                    return result
                if not await self._ledger.fetch("select_booked", [verdict.booking.id]):
                    return result
                verdict = _refund(verdict, RefundReason.ALREADY_PAID)
            except EventRecorded:
                continue  # the same event was committed beside us: the next try finds it
            except LedgerRefused as refusal:
                reason = _REASONS.get(type(refusal))
                if reason is None:
                    return refusal
                verdict = _refund(verdict, reason)
            except LedgerUnavailable as error:
                (result_or_error,) = await self._look_up([verdict], error)
                return result_or_error
            except Exception as error:  # noqa: BLE001  its caller alone must hear of it
                return error
        return LedgerUnavailable("a payment event kept changing under us")

    async def _look_up(
        self, group: list[Verdict], error: LedgerUnavailable
    ) -> list[Settled | BaseException]:
        """Find out by key what a transaction of unknown end did; never assume."""
        if error.applied is not None:
            return [error] * len(group)
        try:
            rows = await self._ledger.fetch("select_payment_events", _events(group))
        except LedgerUnavailable:
            log.warning("a commit is unknown and postgres cannot be asked")
            return [error] * len(group)
        recorded = {row["event"]: row for row in rows}
        return [
            _as_recorded(verdict, recorded[verdict.event.event])
            if verdict.event.event in recorded
            else error
            for verdict in group
        ]

    async def _in_one_transaction(
        self, group: list[Verdict]
    ) -> list[Settled | PinGone | BaseException]:
        shards = [verdict.shard for verdict in group if verdict.shard is not None]
        async with fenced_transaction(self._ledger, shards) as transaction:
            connection = transaction.connection
            references = [verdict.event.provider_reference for verdict in group]
            rows = await connection.fetch(self._query["select_told"], _events(group), references)
            recorded = {row["event"]: row for row in rows if row["taken_reference"] is None}
            taken = {row["taken_reference"] for row in rows}
            fresh = [verdict for verdict in group if verdict.event.event not in recorded]
            fresh = await self._compare_references(connection, fresh, taken)
            fenced = _fenced(transaction, fresh)
            fresh = [verdict for verdict in fresh if verdict.event.event not in fenced]
            gone = await self._settle_fresh_pins(connection, fresh)
            fresh = [verdict for verdict in fresh if verdict.event.event not in gone]
            ends = {verdict.event.event: verdict for verdict in fresh}
            if fresh:
                await record(transaction, self._ledger, fresh)
            self._reached("confirm: before commit")
        results: list[Settled | PinGone | BaseException] = []
        for verdict in group:
            if verdict.event.event in recorded:
                results.append(_as_recorded(verdict, recorded[verdict.event.event]))
            elif verdict.event.event in fenced:
                results.append(NotReady("the shard is being recovered"))
            elif verdict.event.event in gone:
                results.append(PinGone())
            else:
                end = ends[verdict.event.event]
                results.append(Settled(end.outcome, end.reason, repeated=end.is_repeat))
        return results

    async def _compare_references(
        self, connection: "Connection", fresh: list[Verdict], taken: Collection[str | None]
    ) -> list[Verdict]:
        """Return verdicts as they are when no two payments have one reference."""
        captured = [
            verdict.event
            for verdict in fresh
            if verdict.event.status is PaymentStatus.CAPTURED
            and verdict.event.provider_reference in taken
        ]
        if not captured:
            return fresh
        before = await told_before(connection, self._ledger, captured)
        return [_as_told(verdict, before.get(verdict.event.event)) for verdict in fresh]

    async def _settle_fresh_pins(
        self, connection: "Connection", fresh: Sequence[Verdict]
    ) -> set[str]:
        """Take the pins bookings need; return the events whose pin somebody else settled."""
        booking = [(verdict.event.event, verdict.booking) for verdict in fresh if verdict.booking]
        since_s = attempt_clock_s() - ATTEMPT_LIFE_S
        live = [v.booking for v in fresh if v.booking and v.begun_s > since_s]
        if not booking:
            return set()
        rows = await connection.fetch(
            self._query["settle_pins"],
            [reservation.id for reservation in live],
            [reservation.pin for reservation in live],
        )
        ours = {row["reservation"] for row in rows}
        return {event for event, reservation in booking if reservation.id not in ours}


def _turns(verdicts: Sequence[Verdict]) -> list[list[int]]:
    """Deal positions into turns in which no event, reservation and reference stands twice."""
    turns: list[tuple[list[int], set[str]]] = []
    for i, verdict in enumerate(verdicts):
        event = verdict.event
        names = {
            f"event {event.event}",
            f"reservation {event.reservation}",
            f"reference {event.provider_reference}",
        }
        for positions, taken in turns:
            if names.isdisjoint(taken):
                positions.append(i)
                taken.update(names)
                break
        else:
            turns.append(([i], names))
    return [positions for positions, _ in turns]


def _fenced(transaction: FencedTransaction, fresh: Sequence[Verdict]) -> set[str]:
    """Return the events that would be booked in a shard under an epoch that is over."""
    return {
        verdict.event.event
        for verdict in fresh
        if verdict.shard is not None and verdict.shard not in transaction.opened
    }


def _as_told(verdict: Verdict, before: ToldBefore | None) -> Verdict:
    """Return the verdict on a payment whose reference another event may have."""
    if before is None:
        return verdict
    if before.outcome is PaymentOutcome.REFUND_DUE:
        return Verdict.due_back(verdict.event, before.reason, before)
    return Verdict(verdict.event, before.outcome, before.reason, told_before=before)


def _refund(verdict: Verdict, reason: RefundReason) -> Verdict:
    return Verdict.due_back(verdict.event, reason)


def _as_recorded(verdict: Verdict, row: "Record") -> Settled | EventIdReused:
    """Return the end an event had; it must be the same event, not another under its id."""
    if row["body_hash"] != verdict.event.body_hash:
        return EventIdReused()
    reason = row["reason"]
    return Settled(
        PaymentOutcome(row["outcome"]),
        None if reason is None else RefundReason(reason),
        repeated=True,
    )


def _events(group: Sequence[Verdict]) -> list[str]:
    return [verdict.event.event for verdict in group]
