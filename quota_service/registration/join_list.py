"""Join the waiting list: a candidate waits for seats that are gone, or is told exactly why not.

    1. derive the entry id from exam, candidate and idempotency key, by the exam's own key
    2. check the wish against the exam in memory
    3. one script call: registration open, no reservation in the sessions, no seats for it on open
       sale; from here on seats that come back are kept for those who wait        (Redis)
    4. one Postgres call for all joins in flight: the same definition, one live entry for each
       candidate, the length of the list, the number                              <- the decision
    5. give the entry in Redis its number; what Postgres refused is removed from Redis

What a crash leaves behind:

    before 3   nothing
    3 to 4     Redis has an entry without a number, which Postgres does not know. Seats that it
               wants wait in Redis; a repeat goes on from 3, else the dealing removes it within
               two minutes
    in 4       Postgres has the entry or not; a repeat finds out
    4 to 5     the entry waits, and Redis does not know its number; the next dealing tells it

In 4 the epoch of the shard is held, so a recovery reads every entry of the Redis that is gone. 5
puts an entry in again that a dealing has taken for one of a dead process. It may fail: the dealing
compares both stores (`level_list`).
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace

import orjson

from quota_service.domain.errors import (
    AlreadyListed,
    IdempotencyKeyReused,
    LedgerUnavailable,
    NotReady,
    QuotaError,
    Refused,
    SeatsOnSale,
    SessionConflict,
    StaleDefinition,
    Unavailable,
    UntilOutOfRange,
    VenueClosed,
    WaitingListFull,
    WaitingListOff,
    WaitingListSuspended,
)
from quota_service.domain.exam import Exam, QuietHours, WaitingListRules
from quota_service.domain.reservation import ReservationId, derive_serial
from quota_service.ledger.waiting_list import JoinEnd, Joining, NewEntry
from quota_service.observability.caller import caller
from quota_service.registration.catch_up import catch_up, check_in_force
from quota_service.registration.out_of_time import out_of_time
from quota_service.registration.reserve import check_choice
from quota_service.registration.stores import WaitingListStores
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.lists import Enlisted, ListRequest
from quota_service.waiting_list.entry import Entry, EntryState

_DOMAIN = "waiting-list\n"
"""Before the idempotency key: an entry and a reservation of one key have nothing in common."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a candidate waits for: all subjects at one of the venues, given in order of choice.

    `until_ms` is when it waits no longer; None for as long as registration is open.
    """

    candidate: str
    subjects: tuple[str, ...]
    venues: tuple[str, ...]
    until_ms: int | None = None
    quiet_hours: QuietHours | None = None

    @property
    def hash(self) -> str:
        """A hash of the body, to detect another body under the same key: 64 bits as hex."""
        quiet = self.quiet_hours
        hours = None if quiet is None else (quiet.starts, quiet.ends)
        text = orjson.dumps((self.subjects, self.venues, self.until_ms, hours))
        return hashlib.blake2b(text, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Joined:
    """An entry as its request is answered; `replayed` when an earlier one made it."""

    entry: Entry
    replayed: bool


async def join_list(stores: WaitingListStores, exam_id: str, wish: Wish, key: str) -> Joined:
    """Let a candidate wait, under the idempotency key; every refusal is raised by its name."""
    exam = stores.registry.find(exam_id)
    serial = derive_serial(stores.registry.id_key(exam_id), exam_id, wish.candidate, _DOMAIN + key)
    count = stores.metrics.list_joins.labels
    try:
        try:
            joined = await _join(stores, exam, serial, wish)
        except StaleDefinition:
            await catch_up(stores, exam)
            joined = await _join(stores, stores.registry.find(exam_id), serial, wish)
    except QuotaError as error:
        count(exam=exam_id, outcome=error.slug).inc()
        raise
    count(exam=exam_id, outcome="replayed" if joined.replayed else "joined").inc()
    return joined


async def _join(stores: WaitingListStores, exam: Exam, serial: str, wish: Wish) -> Joined:
    """Join by a definition; StaleDefinition when another one is in force."""
    shard = stores.registry.shard(exam.id)
    try:
        rules = _check(stores, exam, wish)
    except Refused as refusal:
        return await _repeat(stores, exam, shard, serial, wish, refusal=refusal)
    request = ListRequest(
        serial=serial,
        candidate=wish.candidate,
        subjects=wish.subjects,
        sessions=tuple(exam.session_of[subject] for subject in wish.subjects),
        venues=wish.venues,
        on_sale=_open_venues(exam, wish),
    )
    enlisted = await stores.lists.enlist(shard, exam, request)
    stores.failpoint("join list: after script")
    refused = _refusal(exam, wish, enlisted)
    if refused is not None:
        return await _repeat(stores, exam, shard, serial, wish, refusal=refused)
    return await _commit(stores, exam, shard, request, wish, rules=rules, enlisted=enlisted)


def _check(stores: WaitingListStores, exam: Exam, wish: Wish) -> WaitingListRules:
    """Return the rules of the list; raise the refusal a wish earns by the definition alone."""
    if exam.waiting_list is None:
        raise WaitingListOff
    check_choice(exam, wish.subjects, wish.venues)
    if not _open_venues(exam, wish):
        raise VenueClosed(wish.venues)
    if wish.until_ms is not None:
        latest_ms = exam.registration.closes_at_ms
        if not stores.clock.earliest_ms() < wish.until_ms <= latest_ms:
            raise UntilOutOfRange(latest_ms)
    return exam.waiting_list


def _open_venues(exam: Exam, wish: Wish) -> tuple[str, ...]:
    return tuple(venue for venue in wish.venues if not exam.is_closed(venue, wish.subjects))


def _refusal(exam: Exam, wish: Wish, enlisted: Enlisted) -> Refused | None:
    """Return what the script's answer refuses; None where the entry waits in Redis."""
    match enlisted:
        case Enlisted(Code.DONE | Code.DONE_BEFORE):
            return None
        case Enlisted(Code.NOT_OPEN | Code.CLOSED | Code.SESSION_STARTED as code):
            return out_of_time(exam, wish.subjects, code)
        case Enlisted(Code.SESSION_CONFLICT, detail=(session, serial)):
            return SessionConflict(session, str(ReservationId(exam.id, serial)))
        case Enlisted(Code.SEATS_ON_SALE, detail=(venue,)):
            return SeatsOnSale(venue)
        case _:
            raise AssertionError(f"enlist answered {enlisted}")


async def _repeat(
    stores: WaitingListStores,
    exam: Exam,
    shard: Shard,
    serial: str,
    wish: Wish,
    *,
    refusal: Refused,
) -> Joined:
    """Answer a repeat as its first request was answered; else raise the refusal of now.

    A live entry with an offer takes its sessions: then the refusal names that entry.
    """
    for entry in await stores.list_ledger.of_candidate(exam.id, wish.candidate):
        if entry.serial == serial:
            return _repeated(entry, wish)
        if entry.state.is_live and isinstance(refusal, SessionConflict):
            refusal = AlreadyListed(entry.id)
    if not isinstance(refusal, WaitingListOff):
        await check_in_force(stores, shard, exam)
    raise refusal


async def _commit(
    stores: WaitingListStores,
    exam: Exam,
    shard: Shard,
    request: ListRequest,
    wish: Wish,
    *,
    rules: WaitingListRules,
    enlisted: Enlisted,
) -> Joined:
    """Have Postgres decide about an entry that waits in Redis."""
    new = NewEntry(
        exam=exam.id,
        serial=request.serial,
        candidate=wish.candidate,
        subjects=wish.subjects,
        sessions=request.sessions,
        venues=wish.venues,
        until_ms=wish.until_ms,
        quiet_hours=wish.quiet_hours,
        request_hash=wish.hash,
        shard=(exam.id, shard.epoch),
        revision=exam.revision,
        longest=enlisted.longest,
        length_max=rules.length_max,
        by=caller(),
    )
    try:
        joining = await stores.list_ledger.join(new)
    except LedgerUnavailable as error:
        if error.applied is False:
            await _withdraw(stores, shard, request.serial)
        raise
    stores.failpoint("join list: after commit")
    entry = joining.entry
    if entry is not None and entry.serial == request.serial:
        if entry.state is EntryState.WAITING:
            with suppress(Unavailable):  # a dealing does it when this fails
                await stores.lists.relist(shard, [entry])
        else:
            await _withdraw(stores, shard, entry.serial)
        if joining.end is JoinEnd.JOINED:
            return Joined(entry, replayed=False)
        return _repeated(entry, wish)
    await _withdraw(stores, shard, request.serial)
    raise _refusal_of(exam, joining, enlisted)


def _refusal_of(exam: Exam, joining: Joining, enlisted: Enlisted) -> QuotaError:
    """Return what Postgres says against an entry."""
    match joining:
        case Joining(JoinEnd.LISTED, Entry() as live):
            return AlreadyListed(live.id)
        case Joining(JoinEnd.SUSPENDED):
            return WaitingListSuspended()
        case Joining(JoinEnd.FULL):
            venue, _, subject = enlisted.most_wanted.partition("/")
            return WaitingListFull(venue, subject, enlisted.longest - 1)
        case Joining(JoinEnd.OFF):
            return WaitingListOff()
        case Joining(JoinEnd.STALE):
            return StaleDefinition(f"another definition of exam {exam.id} is stored by now")
        case _:
            return NotReady(f"the shard of exam {exam.id} is being recovered")


async def _withdraw(stores: WaitingListStores, shard: Shard, serial: str) -> None:
    """Remove an entry from Redis that Postgres does not have."""
    with suppress(Unavailable):  # a dealing does it when this fails
        await stores.lists.delist(shard, [(serial, None)])


def _repeated(entry: Entry, wish: Wish) -> Joined:
    if entry.request_hash != wish.hash:
        raise IdempotencyKeyReused
    first = replace(entry, state=EntryState.WAITING, reservation=None, deadline_ms=0, ended_ms=None)
    return Joined(first, replayed=True)
