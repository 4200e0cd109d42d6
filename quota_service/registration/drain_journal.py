"""Drain: moves journal entries from Redis to Postgres, each exactly once.

    1. hold the shard's epoch and its drain position in Postgres, the latter for this worker alone
    2. read the entries after it from Redis
    3. store entries and the new position in one transaction
    4. trim what is stored from Redis

Before 3 is committed nothing has happened; after it, entries that 4 did not trim are behind the
position and are not read again. An entry that can never be stored is tried a few times, then set
aside, so that the entries behind it are not held up for ever.

The versions of a shard are contiguous. Where one is missing, Postgres has gone back to an earlier
state or Redis has lost the middle of its journal: these steps are in no store. Their effects
are in Redis, so every record that Postgres does not have as it is there is written again, the gap
is reported to ops, and the drain goes on behind it. All of it is in the transaction of 3.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from quota_service.domain.definition import rfc3339
from quota_service.domain.errors import NotReady
from quota_service.domain.reservation import Reservation, ReservationId
from quota_service.ledger.journal import (
    Entry,
    EntryRefused,
    JournalBranched,
    JournalDrain,
    Position,
    RawEntry,
    draining,
)
from quota_service.observability.caller import Caller
from quota_service.registration.stores import MaintenanceStores
from quota_service.seats.keys import Shard
from quota_service.seats.record import WITHOUT_RECORD, RecordError, parse_record

log = logging.getLogger(__name__)

_SCAN_COUNT = 1000


@dataclass(frozen=True, slots=True)
class Drained:
    """What one round did.

    `waits` when an entry failed and is to be tried again; `is_busy` when another worker was at it;
    `missing` counts steps that are missing from the journal.
    """

    stored: int = 0
    quarantined: int = 0
    missing: int = 0
    waits: bool = False
    is_busy: bool = False

    @property
    def is_idle(self) -> bool:
        """Whether there was nothing to do."""
        return self == Drained()


async def drain_journal(
    stores: MaintenanceStores, shard: Shard, limit: int, tries_max: int
) -> Drained:
    """Drain at most `limit` entries of a shard; nothing when another worker is at it."""
    stored: list[Entry] = []
    async with draining(stores.ledger, shard.exam, shard.epoch) as drain:
        if drain is None:
            return Drained(is_busy=True)
        version, found = await stores.seats.journal(shard, str(drain.position), limit)
        raw = [RawEntry(*entry) for entry in found]
        length = _contiguous(drain.position, raw)
        drained = Drained()
        if length:
            drained = await _store(drain, shard, raw[:length], tries_max, stored)
        elif raw:
            first = _position(raw[0])
            if first.version <= drain.position.version:
                raise JournalBranched(f"{raw[0].id} comes after {drain.position}")
            through = Position(first.epoch, first.version - 1)
            drained = await _close_gap(stores, drain, shard, through, raw)
        elif version > drain.position.version:
            # A shard that is recovered has taken no step of its new epoch yet.
            epoch = drain.position.epoch if shard.is_recovered else shard.epoch
            drained = await _close_gap(stores, drain, shard, Position(epoch, version), ())
        position = drain.position
    _log_steps(shard, stored)
    # Also when nothing was found: the worker before may have died between 3 and 4.
    await stores.seats.trim_journal(shard, (position.epoch, position.version))
    stores.metrics.journal_drained.labels(exam=shard.exam).inc(drained.stored)
    stores.metrics.journal_missing.labels(exam=shard.exam).inc(drained.missing)
    return drained


async def undrained_shards(stores: MaintenanceStores, shards: Sequence[Shard]) -> list[Shard]:
    """Return those of the shards that took steps which were not drained, or are not open here.

    It costs as much for all of them as a drain of one that has nothing. Shards whose server is away
    are left out; SeatsUnavailable is raised where no server answers.
    """
    drained = await stores.recoveries.positions({shard.exam for shard in shards})
    looks = await stores.recovery.statuses(shards)
    return [
        shard
        for shard, status in zip(shards, looks, strict=True)
        if status is not None and status.version != drained.get(shard.exam)
    ]


def _contiguous(position: Position, entries: Sequence[RawEntry]) -> int:
    """Return how many of the entries follow the position, and each other, without a gap."""
    for count, entry in enumerate(entries):
        if _position(entry).version != position.version + count + 1:
            return count
    return len(entries)


async def _close_gap(
    stores: MaintenanceStores,
    drain: JournalDrain,
    shard: Shard,
    through: Position,
    later: Sequence[RawEntry],
) -> Drained:
    """Write every record again that Postgres does not have.

    `through` is the last step that is missing, `later` are the entries behind it that were read.
    """
    missing = through.version - drain.position.version
    log.error(
        "steps are missing from the journal",
        extra={"shard": shard.tag, "after": str(drain.position), "missing": missing},
    )
    told = [
        (entry.fields["verb"], str(ReservationId(shard.exam, entry.fields["subject"])))
        for entry in later
        if {"verb", "subject"} <= entry.fields.keys()
    ]
    cursor, count = "0", 0
    while True:
        cursor, found = await stores.recovery.records(shard, cursor, _SCAN_COUNT)
        records = list(_readable(shard, found))
        await drain.fill_gap(through, records, told)
        count += len(records)
        if cursor == "0":
            break
    known = await stores.recoveries.returned_seats(shard.exam)
    await drain.keep_returned(dict.fromkeys(known, 0) | await stores.returned.read(shard))
    status = await stores.recovery.status(shard)
    if not status.is_open:
        raise NotReady(f"shard {shard.tag} was closed while its records were read")
    await drain.close_gap(through, count)
    log.warning("records were written again", extra={"shard": shard.tag, "records": count})
    return Drained(missing=missing)


def _readable(shard: Shard, found: Mapping[str, str]) -> Iterator[tuple[Reservation, str]]:
    """Yield the records that can be read; one that is torn keeps no other from being written."""
    for serial, text in found.items():
        try:
            yield parse_record(shard.exam, serial, text), text
        except RecordError:
            log.exception("a record cannot be read", extra={"shard": shard.tag, "serial": serial})


async def _store(
    drain: JournalDrain, shard: Shard, raw: list[RawEntry], tries_max: int, done: list[Entry]
) -> Drained:
    """Store all entries at once; when that is refused, one by one up to the one at fault.

    Those that were stored are added to `done`.
    """
    try:
        checked = [_checked(shard, entry) for entry in raw]
        await drain.store(checked)
    except (RecordError, EntryRefused):
        return await _store_singly(drain, shard, raw, tries_max, done)
    done += checked
    return Drained(stored=len(raw))


async def _store_singly(
    drain: JournalDrain,
    shard: Shard,
    raw: Iterable[RawEntry],
    tries_max: int,
    done: list[Entry],
) -> Drained:
    stored = quarantined = 0
    for entry in raw:
        try:
            checked = _checked(shard, entry)
            await drain.store([checked])
            done.append(checked)
            stored += 1
        except (RecordError, EntryRefused) as error:
            tries = await drain.count_try(entry, str(error))
            if tries < tries_max:
                return Drained(stored, quarantined, waits=True)
            await drain.quarantine(entry)
            await drain.skip_to(_position(entry))
            quarantined += 1
            log.exception(
                "journal entry quarantined", extra={"exam": shard.exam, "entry": entry.id}
            )
    return Drained(stored, quarantined)


def _log_steps(shard: Shard, entries: Iterable[Entry]) -> None:
    """Log each step of a reservation, with who asked for it, once it is stored.

    The processes that take the steps do not: a line there would cost the busiest of them most.
    """
    for entry in entries:
        reservation = entry.reservation
        if reservation is not None:
            log.info(
                "reservation step",
                extra={
                    "step": entry.verb,
                    "step_at": rfc3339(entry.at_ms),
                    "state": reservation.state,
                    "exam": shard.exam,
                    "reservation": reservation.id,
                    "candidate": reservation.candidate,
                    "key_id": entry.key_id,
                    "request_id": entry.request_id,
                },
            )


def _position(entry: RawEntry) -> Position:
    """Return the position of an entry; ids of a Redis stream are always two numbers."""
    epoch, version = entry.id.split("-")
    return Position(int(epoch), int(version))


def _checked(shard: Shard, entry: RawEntry) -> Entry:
    """Return an entry whose fields are all there and whose record can be read."""
    try:
        verb, subject, body = (entry.fields[name] for name in ("verb", "subject", "body"))
        at_ms = int(entry.fields["at"])
    except (KeyError, ValueError) as error:
        raise RecordError(f"not a journal entry: {error}") from error
    reservation = None
    if verb not in WITHOUT_RECORD:
        reservation = parse_record(shard.exam, subject, body)
    by = Caller.read(entry.fields.get("by", ""))
    order = entry.fields.get("venues")
    returned = _returned(entry.fields.get("returned", ""))
    return Entry(
        _position(entry),
        verb,
        subject,
        at_ms,
        body,
        reservation,
        by.key_id,
        by.request_id,
        order,
        returned,
    )


def _returned(text: str) -> dict[str, int]:
    """Return what an entry tells of seats that wait: `venue/subject=seats,…`."""
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    try:
        found = {quota: int(seats) for quota, _, seats in pairs}
    except ValueError as error:
        raise RecordError(f"not counts of seats: {text}") from error
    if any(quota.count("/") != 1 or seats < 0 for quota, seats in found.items()):
        raise RecordError(f"not counts of seats: {text}")
    return found
