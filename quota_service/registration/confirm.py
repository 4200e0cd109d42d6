"""Confirm: a captured payment becomes a booking, or a refund that is due; never nothing.

    1. begin the payment attempt in Redis: the hold can no longer expire
    2. if it has expired: look the event up; one that has its end is answered, for any other an
       attempt begins again, and takes the seats again, unless it is too late for that
    3. one call of Postgres, a transaction by itself: decide the attempt, payment event, booking,
       counters                                                                     <- the decision
    4. finish in Redis: confirming -> confirmed
    5. answer 200

What happens when the process dies:

    before 1   nothing happened; the provider sends the event again
    1 to 3     the hold stays `confirming`; the event comes again and finds it so, or recovery
               decides the attempt in Postgres and, as nothing is booked, makes it what it was: a
               hold, or expired
    in 3       Postgres goes on with the call without us, and has all of it or nothing; both the
               repeated event and recovery wait for its end at the attempt's row, then follow what
               they find
    3 to 4     booked; recovery, or the repeated event, finishes in Redis
    4 to 5     done; the repeated event is answered the same

An attempt is named by a hash of the event and a random word; its row in `settled_pins`
belongs to the first that inserts it. So a confirmation that was stopped and goes on cannot book on
a hold that recovery has given back: it finds the row and begins again. And recovery knows of an
attempt whether its event has ended meanwhile, so that nothing is kept for a payment that is over.
"""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Iterable, Sequence

from quota_service.domain.errors import (
    AlreadyConfirmed,
    EventIdReused,
    LedgerUnavailable,
    PaymentInProgress,
    Refused,
    ReservationEnded,
    StaleDefinition,
    Unavailable,
)
from quota_service.domain.exam import Exam
from quota_service.domain.payment import (
    OUTCOMES_WITHOUT_CAPTURE,
    PaymentEvent,
    PaymentOutcome,
    PaymentResult,
    RefundReason,
)
from quota_service.domain.reservation import Reservation, ReservationId, State
from quota_service.ledger.confirmations import AttemptSuperseded, PaymentDecision, RecordedPayment
from quota_service.ledger.fence import attempt_clock_s
from quota_service.registration.catch_up import catch_up
from quota_service.registration.stores import PaymentStores
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.replies import ScriptReply

log = logging.getLogger(__name__)

_TRIES_MAX = 3
_EVENT_BYTES, _RANDOM_BYTES = 6, 4
_EVENT_CHARS = 2 * _EVENT_BYTES

_REFUND_REASONS = {
    Code.UNKNOWN: RefundReason.UNKNOWN_RESERVATION,
    Code.ALREADY_CONFIRMED: RefundReason.ALREADY_PAID,
    Code.RELEASED: RefundReason.RELEASED,
    Code.REFUNDED: RefundReason.REFUNDED,
    Code.WRONG_AMOUNT: RefundReason.WRONG_AMOUNT,
    Code.WRONG_CURRENCY: RefundReason.WRONG_CURRENCY,
    Code.SOLD_OUT: RefundReason.SOLD_OUT,
    Code.CLOSED: RefundReason.TOO_LATE,
    Code.SESSION_CONFLICT: RefundReason.SESSION_CONFLICT,
}

_OF_A_BOOKING = {
    State.CONFIRMED: RefundReason.ALREADY_PAID,
    State.REFUNDED: RefundReason.REFUNDED,
}


async def confirm(
    stores: PaymentStores, event: PaymentEvent, *, by_ops: bool = False
) -> PaymentResult:
    """Bring a payment event to its end and return it; the same event always ends the same.

    A payment that was sent under another event id before ends as it did then. One that ops report
    is refused where another is being recorded, or the reservation has ended, meanwhile.

    Raises EventIdReused, and Unavailable when the provider has to send the event again; `by_ops`
    also AlreadyConfirmed, PaymentInProgress and ReservationEnded.
    """
    outcome = OUTCOMES_WITHOUT_CAPTURE.get(event.status)
    if outcome is None:
        settled = await _capture(stores, event, by_ops=by_ops)
    else:
        settled = await stores.confirmations.settle(PaymentDecision(event, outcome))
    if isinstance(settled, AttemptSuperseded):
        raise LedgerUnavailable("each attempt to record the payment was abandoned")
    counted = "repeated" if settled.repeated else settled.outcome
    stores.metrics.confirmations.labels(outcome=counted, reason=settled.reason or "").inc()
    return PaymentResult(settled.outcome, event.reservation, settled.reason)


async def _capture(
    stores: PaymentStores, event: PaymentEvent, *, by_ops: bool
) -> RecordedPayment | AttemptSuperseded:
    parts = ReservationId.parse(event.reservation)
    shard = None if parts is None else await _shard(stores, parts)
    if parts is None or shard is None:
        # Of an exam that is archived the ledger alone knows the bookings.
        return await _refund(stores, event, await _reason_of_ledger(stores, event))
    for _ in range(_TRIES_MAX):
        settled = await _attempt(stores, shard, parts.serial, event, by_ops=by_ops)
        if isinstance(settled, RecordedPayment):
            return settled
    return AttemptSuperseded()


async def _attempt(
    stores: PaymentStores, shard: Shard, serial: str, event: PaymentEvent, *, by_ops: bool
) -> RecordedPayment | AttemptSuperseded:
    """Bring an event to its end under one attempt; AttemptSuperseded when it was abandoned."""
    begun_s = attempt_clock_s()
    stores.failpoint("confirm: before attempt")
    answer = await _begin(stores, shard, serial, event)
    if isinstance(answer, RecordedPayment):
        return answer
    stores.failpoint("confirm: after attempt")
    if by_ops:
        await _refuse_to_ops(stores, answer, event)
    reason = await _refusal(stores, answer, event)
    if reason is not None:
        return await _refund(stores, event, reason)
    if answer.reservation is None:
        raise AssertionError(f"begin_payment answered {answer}")
    booking = PaymentDecision(
        event,
        PaymentOutcome.CONFIRMED,
        booking=answer.reservation,
        shard=(shard.exam, shard.epoch),
        version=answer.detail[0],
        begun_s=begun_s,
    )
    try:
        settled = await stores.confirmations.settle(booking)
    except EventIdReused:
        if answer.code is Code.DONE:
            await decide_attempts(stores, shard, [answer.reservation], grace_ms=0)
        raise
    stores.failpoint("confirm: after commit")
    if isinstance(settled, RecordedPayment) and settled.outcome is PaymentOutcome.CONFIRMED:
        await _finish(stores, shard, serial)
        stores.failpoint("confirm: after finish")
    elif isinstance(settled, AttemptSuperseded) or answer.code is Code.DONE:
        await _give_up(stores, shard, answer.reservation, settled)
    return settled


async def _shard(stores: PaymentStores, parts: ReservationId) -> Shard | None:
    """Return the shard of a reservation that was paid, None when there is no such exam."""
    shard = stores.registry.shard_if_known(parts.exam)
    if shard is None:
        # Another process may just have imported the exam: for a payment the registry is read again.
        await stores.registry.refresh()
        shard = stores.registry.shard_if_known(parts.exam)
    return shard


async def _begin(
    stores: PaymentStores, shard: Shard, serial: str, event: PaymentEvent
) -> ScriptReply | RecordedPayment:
    """Begin the attempt; return the end of an event that came too late before."""
    attempt = _event_word(event.event) + secrets.token_hex(_RANDOM_BYTES)
    answer = await stores.seats.begin_payment(shard, serial, attempt, event.amount, event.currency)
    if answer.code is not Code.ENDED or answer.reservation is None:
        return answer
    recorded = await stores.confirmations.recorded(event)
    if recorded is not None:
        return recorded
    return await _begin_again(stores, shard, answer.reservation, attempt, event)


async def _begin_again(
    stores: PaymentStores, shard: Shard, expired: Reservation, attempt: str, event: PaymentEvent
) -> ScriptReply:
    """Let an expired hold take its seats again, by the definition that is in force."""
    exam = stores.registry.find(shard.exam)
    uses_max = await stores.set_asides.uses_max(shard.exam, expired.set_aside)

    async def begin(exam: Exam) -> ScriptReply:
        return await stores.seats.begin_payment_again(
            shard,
            exam,
            expired,
            attempt,
            amount=event.amount,
            currency=event.currency,
            uses_max=uses_max,
        )

    try:
        return await begin(exam)
    except StaleDefinition:
        await catch_up(stores, exam)
    return await begin(stores.registry.find(shard.exam))


def has_ended(confirming: Reservation, events: Iterable[str]) -> bool:
    """Return whether the event whose payment is being recorded is among those that have ended."""
    word = confirming.attempt[:_EVENT_CHARS]
    return any(_event_word(event) == word for event in events)


def _event_word(event: str) -> str:
    """Return the part of an attempt's name that identifies the event."""
    return hashlib.blake2b(event.encode(), digest_size=_EVENT_BYTES).hexdigest()


async def _refuse_to_ops(stores: PaymentStores, answer: ScriptReply, event: PaymentEvent) -> None:
    """Raise the refusal of a payment that ops report beside another one, or of what has ended.

    The money of the provider is there whatever the reservation is, so it is due back then. Whether
    that of ops is beside the other, they look first. One that is recorded ends as it did.
    """
    refusal: Refused | None = None
    match answer.code:
        case Code.DONE_BEFORE if answer.reservation is not None:
            if not answer.reservation.attempt.startswith(_event_word(event.event)):
                refusal = PaymentInProgress()
        case Code.ALREADY_CONFIRMED:
            refusal = AlreadyConfirmed()
        case Code.RELEASED:
            refusal = ReservationEnded(State.RELEASED)
        case Code.REFUNDED:
            refusal = ReservationEnded(State.REFUNDED)
    if refusal is not None and await stores.confirmations.recorded(event) is None:
        raise refusal


async def _refusal(
    stores: PaymentStores, answer: ScriptReply, event: PaymentEvent
) -> RefundReason | None:
    """Return why the payment cannot have the reservation; None when the attempt has begun."""
    reason = _REFUND_REASONS.get(answer.code)
    if reason is RefundReason.UNKNOWN_RESERVATION:
        # Redis forgets bookings of an exam that is over; the ledger does not.
        return await _reason_of_ledger(stores, event)
    if reason is not None or answer.reservation is None:
        return reason
    # Pinned by another event: the script did not compare this one's money.
    if answer.reservation.amount != event.amount:
        return RefundReason.WRONG_AMOUNT
    if answer.reservation.currency != event.currency:
        return RefundReason.WRONG_CURRENCY
    return None


async def _reason_of_ledger(stores: PaymentStores, event: PaymentEvent) -> RefundReason:
    """Return why the payment of a reservation that Redis does not know is due back."""
    booked = await stores.reader.booking(event.reservation)
    return RefundReason.UNKNOWN_RESERVATION if booked is None else _OF_A_BOOKING[booked.state]


async def _refund(
    stores: PaymentStores, event: PaymentEvent, reason: RefundReason
) -> RecordedPayment | AttemptSuperseded:
    return await stores.confirmations.settle(PaymentDecision.due_back(event, reason))


async def _give_up(
    stores: PaymentStores,
    shard: Shard,
    confirming: Reservation,
    settled: RecordedPayment | AttemptSuperseded,
) -> None:
    """Nothing was booked under this attempt, and nothing may be from now on."""
    has_ended = isinstance(settled, RecordedPayment)
    grace_ms = 0 if has_ended else stores.retry_grace_ms
    await decide_attempts(stores, shard, [confirming], grace_ms)


async def _finish(stores: PaymentStores, shard: Shard, serial: str) -> None:
    """Tell Redis of a committed booking. It is safe in Postgres: a fault here is recovery's."""
    try:
        answer = await stores.seats.confirm(shard, serial)
    except Unavailable as error:
        log.warning("booked in postgres, redis not updated yet", extra={"cause": str(error)})
        return
    if answer.code < Code.DONE:
        log.error("booked in postgres, redis disagrees", extra={"code": answer.code.name})


async def decide_attempts(
    stores: PaymentStores, shard: Shard, confirming: Sequence[Reservation], grace_ms: int
) -> tuple[int, int]:
    """Decide attempts in Postgres, then finish in Redis what is booked and abandon what is not.

    What is abandoned does not expire for another `grace_ms`, but where the payment has its end.
    Safe at any moment, from any number of processes. Returns how many were finished and abandoned.
    """
    booked = await stores.confirmations.decide_attempts([(r.id, r.attempt) for r in confirming])
    left = [id_ for id_, is_booked in booked.items() if not is_booked]
    events = await stores.confirmations.events_of(left) if left and grace_ms else {}

    async def follow(reservation: Reservation) -> ScriptReply:
        _, serial = stores.registry.locate(reservation.id)
        if booked[reservation.id]:
            return await stores.seats.confirm(shard, serial)
        is_over = has_ended(reservation, events.get(reservation.id, ()))
        return await stores.seats.abandon_payment(
            shard, serial, reservation.attempt, 0 if is_over else grace_ms
        )

    # All of them are tried, so that one lost answer does not keep the others `confirming`.
    decided = [reservation for reservation in confirming if reservation.id in booked]
    answers = await asyncio.gather(*map(follow, decided), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return len(booked) - len(left), len(left)
