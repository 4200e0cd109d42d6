"""The waiting room: a candidate joins, claims a place at its turn, and finishes.

join
    1. one script call decides by the opening in force there: the candidate is counted among those
       in the draw, or gets a number out of a block, or the one it has
       in a draw with a source: commit the entry in Postgres, before anything is answered; where the
       draw was closed there meanwhile, close it in Redis and go on with 1
    2. with no block, or with none left of it: set the next one aside in Postgres, commit
    3. give the block to Redis, and go on with 1
    4. sign a ticket for the draw or for the number
A process that dies after 1 leaves a count that is right as soon as the candidate asks again, an
entry of a candidate who was not answered and is in the draw all the same, or a number with its
candidate, who gets it again. One that dies between 2 and 3 leaves a block that is
set aside: the next caller finds the mark beyond the limit that Redis has reached, and gives Redis
what there is. A Redis that forgot, or fell back, is open under another epoch: its first block is a
new one, behind everything that was ever set aside.

claim
    1. read the ticket, and decide from memory whether it is its turn
    2. one script call: a place and its pass, or the pass the candidate has; none is given while
       registration is not open or the exam is paused
    3. sign the pass
A process that dies after 2 leaves an unanswered place: the candidate claims again and gets
the same pass, or the place is idle and goes to others.

The first opening closes the draw for good, in Redis and then in Postgres (`room_cache`).
When it is postponed, those in the draw keep their ranks, those who join get numbers, and places and
passes are kept: their time begins again at the new opening.

finish is one script call; repeating it changes nothing.
"""

import logging
from dataclasses import dataclass

from quota_service.domain.errors import (
    NotReady,
    NotYourTurn,
    Overloaded,
    Paused,
    Refused,
    RegistrationClosed,
    StaleDefinition,
    TicketInvalid,
    TicketOfAnotherExam,
    TicketUsed,
    TurnPassed,
)
from quota_service.registration.catch_up import catch_up
from quota_service.registration.stores import WaitingRoomStores
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.rooms import Claim
from quota_service.waiting_room.entries import leaf_of
from quota_service.waiting_room.passes import Pass, write_pass
from quota_service.waiting_room.room import Room
from quota_service.waiting_room.status import Phase, RoomStatus, Turn
from quota_service.waiting_room.tickets import (
    Ticket,
    TicketFault,
    read_ticket,
    write_ticket,
)

log = logging.getLogger(__name__)

_TRIES = 5
"""Blocks one candidate waits for; crowds at other processes can use one up before it is asked."""

_RATE_MIN_PER_S = 0.001
"""Estimated waits are rounded and bounded by this rate."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A ticket as joining is answered; `eta_s` is about how long it takes, None in the draw."""

    ticket: Ticket
    text: str
    poll_after_s: float
    eta_s: float | None
    issued_ms: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """A pass as its claim is answered; `replayed` when an earlier claim got it."""

    granted: Pass
    text: str
    idle_s: int
    replayed: bool


async def join(stores: WaitingRoomStores, exam_id: str, candidate: str) -> Joined:
    """Give a candidate a ticket: for the draw before the opening, with a number after it.

    Raises WaitingRoomOff, RegistrationClosed and Overloaded.
    """
    status = stores.rooms.current(exam_id).status
    now_ms = stores.rooms.now_ms()
    ticket = Ticket(exam_id, candidate, await _place(stores, status, candidate))
    kind = "draw" if ticket.is_for_draw else "number"
    stores.metrics.waiting_room_joins.labels(exam=exam_id, kind=kind).inc()
    eta_s = _eta_s(stores, status, ticket)
    return Joined(
        ticket=ticket,
        text=write_ticket(status.room, ticket),
        poll_after_s=stores.rooms.poll_after_s(eta_s),
        eta_s=None if ticket.is_for_draw else eta_s,
        issued_ms=now_ms,
    )


async def claim(stores: WaitingRoomStores, exam_id: str, candidate: str, text: str) -> Claimed:
    """Give a candidate at its turn a place and its pass, or again the pass it has.

    Raises WaitingRoomOff, RegistrationClosed, TicketInvalid, TicketOfAnotherExam, NotYourTurn,
    Paused, TurnPassed and TicketUsed.
    """
    count = stores.metrics.waiting_room_claims
    try:
        try:
            claimed = await _claim(stores, exam_id, candidate, text)
        except StaleDefinition:
            await catch_up(stores, stores.registry.find(exam_id))
            claimed = await _claim(stores, exam_id, candidate, text)
    except Refused as refusal:
        count.labels(exam=exam_id, outcome=refusal.slug).inc()
        raise
    count.labels(exam=exam_id, outcome="replayed" if claimed.replayed else "claimed").inc()
    if not claimed.replayed:
        _log_step("claim", exam_id, candidate, place=claimed.granted.place)
    return claimed


async def finish(stores: WaitingRoomStores, exam_id: str, candidate: str) -> bool:
    """Free the place of a candidate, whose pass ends; False when there was none."""
    stores.rooms.current(exam_id)
    shard = stores.registry.shard(exam_id)
    is_freed = await stores.room_store.finish(shard, candidate)
    if is_freed:
        _log_step("finish", exam_id, candidate)
    return is_freed


def _log_step(step: str, exam_id: str, candidate: str, **more: int) -> None:
    """Log a step of a candidate: as many a second as are admitted. Joining is told by `admit`."""
    log.info(
        "waiting room step", extra={"step": step, "exam": exam_id, "candidate": candidate, **more}
    )


async def _claim(stores: WaitingRoomStores, exam_id: str, candidate: str, text: str) -> Claimed:
    status = _not_closed(stores, exam_id)
    ticket = _ticket(status.room, candidate, text)
    if status.turn(ticket) is Turn.TO_COME:
        # Another process may have shown the candidate a newer document than ours.
        await stores.rooms.look_again()
        status = _not_closed(stores, exam_id)
    turn = status.turn(ticket)
    if turn is Turn.TO_COME:
        raise _not_yet(stores, status, _eta_s(stores, status, ticket))
    if (pause := stores.registry.find(exam_id).whole_pause) is not None:
        raise Paused(pause)
    shard = stores.registry.shard(exam_id)
    answer = await stores.room_store.claim(
        shard, candidate, ticket.place, has_passed=turn is Turn.PASSED
    )
    stores.failpoint("claim: after script")
    _refuse(stores, status, answer)
    granted = Pass(exam_id, candidate, answer.place, answer.expires_ms, answer.epoch)
    return Claimed(
        granted,
        write_pass(status.room, granted),
        status.rules.idle_s,
        replayed=answer.code is Code.DONE_BEFORE,
    )


def _refuse(stores: WaitingRoomStores, status: RoomStatus, answer: Claim) -> None:
    """Raise the refusal a claim was answered with."""
    match answer.code:
        case Code.TICKET_USED:
            raise TicketUsed
        case Code.TURN_PASSED:
            raise TurnPassed
        case Code.CLOSED:
            raise RegistrationClosed(answer.bound_ms)
        case Code.NOT_OPEN:
            raise _not_yet(stores, status, _until_s(stores, answer.bound_ms))
        case _:
            return


def _not_yet(stores: WaitingRoomStores, status: RoomStatus, eta_s: float) -> NotYourTurn:
    room = status.room
    return NotYourTurn(room.threshold, room.serving, stores.rooms.poll_after_s(eta_s))


def _until_s(stores: WaitingRoomStores, time_ms: int) -> float:
    return max(0.0, (time_ms - stores.rooms.now_ms()) / 1000)


def _not_closed(stores: WaitingRoomStores, exam_id: str) -> RoomStatus:
    status = stores.rooms.current(exam_id).status
    if status.phase(stores.rooms.now_ms()) is Phase.CLOSED:
        raise RegistrationClosed(status.registration.closes_at_ms)
    return status


def _ticket(room: Room, candidate: str, text: str) -> Ticket:
    match read_ticket(room, candidate, text):
        case TicketFault.OTHER_EXAM:
            raise TicketOfAnotherExam
        case TicketFault.INVALID:
            raise TicketInvalid
        case ticket:
            return ticket


async def _place(stores: WaitingRoomStores, status: RoomStatus, candidate: str) -> int:
    """Return IN_DRAW or the number of a candidate; numbers are set aside where there are none."""
    shard = stores.registry.shard(status.exam.id)
    for _ in range(_TRIES):
        answer = await stores.room_store.join(
            shard,
            candidate,
            late_through=status.room.late_through,
            numbers_max=stores.numbers.numbers_max,
        )
        if answer.code is Code.CLOSED:
            raise RegistrationClosed(answer.closed_ms)
        if answer.code is Code.QUEUE_FULL:
            raise Overloaded("the queue has reached its limit of candidates")
        if answer.needs_entry:
            if await _is_entered(stores, shard, candidate):
                return answer.number
            continue
        if answer.code is not Code.NO_NUMBERS:
            return answer.number
        await stores.numbers.extend(shard, answer.reached)
    raise Overloaded("too many candidates request a number at once")


async def _is_entered(stores: WaitingRoomStores, shard: Shard, candidate: str) -> bool:
    """Commit the entry of a candidate; where its draw is closed, close it in Redis too."""
    stores.failpoint("join: before entry")
    if await stores.draws.enter(shard.exam, leaf_of(shard.exam, candidate)):
        stores.failpoint("join: after entry")
        return True
    room = (await stores.waiting_rooms.all([shard.exam])).get(shard.exam)
    if room is None or not room.is_draw_closed:
        raise NotReady("a definition with a source is being imported")
    await stores.room_store.counts(shard, is_draw_closed=True)
    return False


def _eta_s(stores: WaitingRoomStores, status: RoomStatus, ticket: Ticket) -> float:
    """Return how long a ticket waits for its turn, by the smoothed rate that everybody is shown.

    A rank is as secret as the seed until that is shown: all in the draw get the same answer.
    """
    until_opening_s = _until_s(stores, status.registration.opens_at_ms)
    if ticket.is_for_draw and not status.room.is_draw_ready:
        return until_opening_s
    shown = stores.rooms.current(status.exam.id).document.rate_per_s
    return until_opening_s + status.ahead_of(ticket) / max(shown, _RATE_MIN_PER_S)
