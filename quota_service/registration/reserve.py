"""Reserve: takes a candidate's seats in one Redis call, or says exactly why not.

    1. derive the reservation id from exam, candidate and idempotency key, by the exam's own key
    2. check the order against the exam in memory, and the pass where the exam has a waiting room,
       or look up the code that it shows in Postgres: seats of a set-aside are kept for its group,
       which needs no pass
    3. one script call: repeat? window, place, session conflict, pause after unpaid holds, first
       venue with all subjects and within the share of the API key, hold
    4. what costs nothing is confirmed (`confirm_free`): Postgres has committed it before the answer

Where another definition is in force than the one in memory, 2 and 3 are done again by that one.
Venues that ops have paused are left out, as those that are closed; an order that finds no seat at
the others is refused as paused, not as sold out.

A process that dies before 3 leaves nothing. One that dies after it leaves an unanswered hold
of: the frontend repeats the request with the same key and is answered as the first time, or the
hold expires. But for codes and 4 Postgres is not touched; the journal entry of the script is the
only trace it needs.

An id is made once. Redis keeps the record of a reservation that has ended for a day, and its serial
until the exam is retired; a repeat that comes later than the record is answered from Postgres.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from quota_service.domain.errors import (
    CodeUsed,
    IdempotencyKeyReused,
    KeyShareUsed,
    NoticeNotAccepted,
    NotSetAside,
    PassEnded,
    PassExpired,
    PassInvalid,
    Paused,
    QuotaError,
    Refused,
    RegistrationClosed,
    SameSessionTwice,
    SessionConflict,
    SetAsideOver,
    SoldOut,
    StaleDefinition,
    TooManyUnpaidHolds,
    UnknownSubject,
    UnknownVenue,
    VenueClosed,
    WaitingRoomPassRequired,
)
from quota_service.domain.exam import Exam, Pause, Quota
from quota_service.domain.reservation import Reservation, ReservationId, derive_serial
from quota_service.registration.catch_up import catch_up, check_in_force
from quota_service.registration.confirm_free import confirm_free
from quota_service.registration.out_of_time import out_of_time
from quota_service.registration.show_code import show_code
from quota_service.registration.stores import ReservationStores
from quota_service.registration.view import forgotten_reservation
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.replies import ReserveRequest, ScriptReply
from quota_service.waiting_room.passes import Pass, PassFault, read_pass
from quota_service.waiting_room.status import Phase

_OF_SET_ASIDES = (Code.CODE_USED, Code.SET_ASIDE_OVER)


@dataclass(slots=True)
class Order:
    """What a candidate asks for; `venues` in order of choice.

    `accepted_notice` is the version of the notice that was accepted, or True for the one in force.
    `code` opens the seats of a set-aside; it is in no log.
    """

    candidate: str
    subjects: tuple[str, ...]
    venues: tuple[str, ...]
    accepted_notice: str | bool
    code: str = field(default="", repr=False)

    @property
    def hash(self) -> str:
        """A hash of the body, to detect another body under the same key: 64 bits as hex."""
        members = (self.subjects, self.venues, self.accepted_notice)
        text = orjson.dumps((*members, self.code) if self.code else members)
        return hashlib.blake2b(text, digest_size=8).hexdigest()


@dataclass(slots=True)
class Reserved:
    """A reservation as its request is answered; `replayed` when an earlier one made it."""

    reservation: Reservation
    replayed: bool


async def reserve(
    stores: ReservationStores,
    exam_id: str,
    order: Order,
    key: str,
    pass_text: str | None = None,
    *,
    by_ops: bool = False,
    set_aside: str = "",
) -> Reserved:
    """Reserve what is ordered under the idempotency key; every refusal is raised by its name.

    `pass_text` is the pass of the waiting room, which an exam that has none does not look at. Ops
    reserve without one, outside of the window too, and beyond the limits of fair use; from a
    `set_aside` without a code.
    """
    exam = stores.registry.find(exam_id)
    shard = stores.registry.shard(exam_id)
    stores.backlog.check(shard)
    serial = derive_serial(stores.registry.id_key(exam_id), exam_id, order.candidate, key)
    count = stores.metrics.count_reservation
    try:
        try:
            reserved = await _reserve(
                stores, exam, shard, serial, order, pass_text, by_ops=by_ops, set_aside=set_aside
            )
        except StaleDefinition:
            await catch_up(stores, exam)
            exam = stores.registry.find(exam_id)
            shard = stores.registry.shard(exam_id)
            reserved = await _reserve(
                stores, exam, shard, serial, order, pass_text, by_ops=by_ops, set_aside=set_aside
            )
        if not reserved.reservation.amount:
            await confirm_free(stores.payments, reserved.reservation)
            reserved = Reserved(reserved.reservation.as_first_answered(), reserved.replayed)
    except QuotaError as error:
        count(exam_id, error.slug)
        raise
    count(exam_id, "replayed" if reserved.replayed else "held")
    return reserved


async def _reserve(  # noqa: PLR0917  an order has as many sides
    stores: ReservationStores,
    exam: Exam,
    shard: Shard,
    serial: str,
    order: Order,
    pass_text: str | None,
    *,
    by_ops: bool,
    set_aside: str,
) -> Reserved:
    """Reserve by a definition; StaleDefinition when another one is in force."""
    rules = exam.unbounded if by_ops else exam
    try:
        _check(rules, order)
        granted, seats_from = None, ""
        if order.code or set_aside:
            set_aside, seats_from = await _set_aside_of(stores, exam, order, set_aside)
        elif exam.waiting_room is not None and not by_ops:
            granted = _granted(stores, exam, order.candidate, pass_text)
    except Refused as refusal:
        return await _repeat_of_older(stores, exam, shard, serial, order, refusal=refusal)
    request = ReserveRequest(
        serial=serial,
        candidate=order.candidate,
        subjects=order.subjects,
        sessions=tuple([exam.session_of[subject] for subject in order.subjects]),
        venues=_venues_on_sale(rules, order),
        request_hash=order.hash,
        granted=granted,
        order=order.venues,
        set_aside=seats_from,
    )
    answer = await stores.seats.reserve(shard, rules, request)
    stores.failpoint("reserve: after script")
    if answer.code is Code.ENDED:
        spent = IdempotencyKeyReused()
        return await _repeat_of_forgotten(stores, shard, serial, order, spent)
    if answer.code is Code.CLOSED and stores.registry.is_retired(exam.id):
        closed = RegistrationClosed(exam.registration.closes_at_ms)
        return await _repeat_of_forgotten(stores, shard, serial, order, closed)
    if answer.code is Code.SOLD_OUT and (pause := _pause_of(rules, order)) is not None:
        raise Paused(pause)
    if answer.code in _OF_SET_ASIDES:
        raise CodeUsed if answer.code is Code.CODE_USED else SetAsideOver(set_aside)
    return _reserved(exam, order, answer)


async def _set_aside_of(
    stores: ReservationStores, exam: Exam, order: Order, set_aside: str
) -> tuple[str, str]:
    """Return the set-aside that an order is from, and the words by which `reserve` knows it.

    That is the one of its code, or the one that ops hand seats out from.
    """
    words = f"{set_aside}::"
    if order.code:
        found = await show_code(stores, exam, order.candidate, order.code)
        set_aside, words = found.set_aside, f"{found.set_aside}:{found.id}:{found.uses_max}"
    seats = next((kept.seats for kept in exam.set_asides if kept.id == set_aside), {})
    if not any(
        all(Quota(venue, subject) in seats for subject in order.subjects) for venue in order.venues
    ):
        raise NotSetAside(set_aside)
    return set_aside, words


def _check(exam: Exam, order: Order) -> None:
    """Raise the refusal an order earns by the exam's definition alone."""
    check_choice(exam, order.subjects, order.venues)
    if exam.closed and all(exam.is_closed(venue, order.subjects) for venue in order.venues):
        raise VenueClosed(order.venues)
    if order.accepted_notice not in (True, exam.notice.version):
        raise NoticeNotAccepted(exam.notice.version)
    if not _venues_on_sale(exam, order) and (pause := _pause_of(exam, order)) is not None:
        raise Paused(pause)


def check_choice(exam: Exam, subjects: Sequence[str], venues: Sequence[str]) -> None:
    """Raise UnknownSubject, UnknownVenue or SameSessionTwice where a candidate can have no such."""
    for i, subject in enumerate(subjects):
        if subject not in exam.session_of:
            raise UnknownSubject(subject, f"subjects[{i}]")
    for i, venue in enumerate(venues):
        if venue not in exam.venue_ids:
            raise UnknownVenue(venue, f"venues[{i}]")
    taken: dict[str, str] = {}
    for subject in subjects:
        other = taken.setdefault(exam.session_of[subject], subject)
        if other != subject:
            raise SameSessionTwice(exam.session_of[subject], (other, subject))


def _venues_on_sale(exam: Exam, order: Order) -> tuple[str, ...]:
    """Return the venues of an order that are neither closed for sale nor paused."""
    if not exam.closed and not exam.pauses:
        return order.venues
    return tuple(
        venue
        for venue in order.venues
        if not exam.is_closed(venue, order.subjects)
        and exam.pause_of(venue, order.subjects) is None
    )


def _pause_of(exam: Exam, order: Order) -> Pause | None:
    """Return what keeps an order from the first of its venues that is paused, and not closed."""
    if not exam.pauses:
        return None
    pauses = (
        exam.pause_of(venue, order.subjects)
        for venue in order.venues
        if not exam.is_closed(venue, order.subjects)
    )
    return next((pause for pause in pauses if pause is not None), None)


def _granted(stores: ReservationStores, exam: Exam, candidate: str, text: str | None) -> Pass:
    """Return the pass of a candidate; whether its place is still kept the script will see."""
    status, now_ms = stores.rooms.current(exam.id).status, stores.rooms.now_ms()
    window = status.registration
    if status.phase(now_ms) is Phase.CLOSED:
        raise RegistrationClosed(window.closes_at_ms)
    if not text:
        raise WaitingRoomPassRequired
    # A pass that ran out while the opening was postponed, or in a pause, is good for its whole life
    # after it.
    from_ms = max(window.opens_at_ms, exam.resumed_at_ms)
    kept_until_ms = from_ms + status.rules.pass_ttl_s * 1000
    match read_pass(status.room, candidate, text, now_ms, kept_until_ms):
        case PassFault.EXPIRED:
            raise PassExpired
        case PassFault.INVALID:
            raise PassInvalid
        case granted:
            return granted


async def _repeat_of_older(
    stores: ReservationStores,
    exam: Exam,
    shard: Shard,
    serial: str,
    order: Order,
    *,
    refusal: Refused,
) -> Reserved:
    """Answer a repeat as its first request was answered; else raise the refusal of now.

    The definition may have changed since, or the pass have ended.
    """
    earlier = await stores.seats.recall(shard, serial)
    if earlier.code is Code.ENDED or stores.registry.is_retired(shard.exam):
        return await _repeat_of_forgotten(stores, shard, serial, order, refusal)
    if earlier.reservation is None:
        await check_in_force(stores, shard, exam)
        raise refusal
    return _repeated(earlier.reservation, order)


async def _repeat_of_forgotten(
    stores: ReservationStores, shard: Shard, serial: str, order: Order, refusal: Refused
) -> Reserved:
    """Answer a repeat of a reservation that only Postgres has; else raise the refusal."""
    name = str(ReservationId(shard.exam, serial))
    earlier = await forgotten_reservation(stores, name)
    if earlier is None:
        raise refusal
    return _repeated(earlier, order)


def _repeated(earlier: Reservation, order: Order) -> Reserved:
    if earlier.request_hash != order.hash:
        raise IdempotencyKeyReused
    return Reserved(earlier.as_first_answered(), replayed=True)


def _reserved(exam: Exam, order: Order, answer: ScriptReply) -> Reserved:
    """Turn the script's answer into a reservation, or raise its refusal."""
    if answer.code is Code.DONE and answer.reservation is not None:
        return Reserved(answer.reservation, replayed=False)
    match answer:
        case ScriptReply(Code.DONE_BEFORE, Reservation() as reservation):
            return Reserved(reservation.as_first_answered(), replayed=True)
        case ScriptReply(Code.KEY_REUSED):
            raise IdempotencyKeyReused
        case ScriptReply(Code.NOT_OPEN | Code.CLOSED | Code.SESSION_STARTED as code):
            raise out_of_time(exam, order.subjects, code)
        case ScriptReply(Code.PASS_ENDED):
            raise PassEnded
        case ScriptReply(Code.SESSION_CONFLICT, detail=(session, serial)):
            earlier = ReservationId(exam.id, serial)
            raise SessionConflict(session, str(earlier))
        case ScriptReply(Code.UNPAID_PAUSE, detail=(ends_ms, holds)):
            raise TooManyUnpaidHolds(holds, ends_ms)
        case ScriptReply(Code.SHARE_USED):
            raise KeyShareUsed(exam.fair_use.key_share_max_percent)
        case ScriptReply(Code.SOLD_OUT, detail=left):
            raise _sold_out(exam, order, left)
        case _:
            raise AssertionError(f"reserve answered {answer}")


def _sold_out(exam: Exam, order: Order, left: Iterable[int]) -> SoldOut:
    """Return the refusal with what is left at each venue; the script was told the open ones."""
    asked = [(venue, subject) for venue in order.venues for subject in order.subjects]
    seats = iter(left)
    found = [0 if exam.is_closed(venue, order.subjects) else next(seats) for venue, _ in asked]
    refusal = SoldOut.of(exam, asked, found)
    refusal.list_of = "" if exam.waiting_list is None else exam.id
    return refusal
