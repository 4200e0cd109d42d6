"""Changes of venue, group-committed.

A group writes in the order every group takes: shards, attempts, bookings, items, quota counters.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from quota_service.domain.reservation import Reservation
from quota_service.ledger.attempts import decide_attempts
from quota_service.ledger.fence import (
    ATTEMPT_LIFE_S,
    FencedTransaction,
    ShardEpoch,
    attempt_clock_s,
    fenced_transaction,
)
from quota_service.ledger.group_commit import GroupCommit
from quota_service.ledger.pool import Ledger
from quota_service.ledger.quotas import count_seats
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection


@dataclass(frozen=True, slots=True)
class VenueChange:
    """A booking on its way from `reservation.venue` to `reservation.to_venue` by its attempt.

    `version` is that of the shard after Redis took the new seats; `begun_s` is when the attempt
    began, by the clock of `attempt_clock_s`.
    """

    reservation: Reservation
    shard: ShardEpoch
    version: int
    begun_s: float


class ChangeEnd(Enum):
    """How a change of venue ended in Postgres."""

    MOVED = auto()
    SUPERSEDED = auto()
    """The attempt was given up meanwhile, and the booking is where it was."""
    NOT_BOOKED = auto()
    """The booking was refunded meanwhile."""
    FENCED = auto()
    """The shard is being rebuilt, and the booking is where it was."""


class ChangeLedger:
    """Moves bookings between venues."""

    def __init__(self, ledger: Ledger, settings: Settings, metrics: Metrics) -> None:
        self._ledger = ledger
        self._query = ledger.query
        self._group: GroupCommit[VenueChange, ChangeEnd] = GroupCommit(
            settings,
            metrics,
            names_of=lambda change: [change.reservation.id],
            commit=self._commit,
            look_up=self._look_up,
        )

    async def change(self, change: VenueChange) -> ChangeEnd:
        """Commit a change. Raises Oversold when Postgres has no seat, LedgerUnavailable."""
        return await self._group.submit(change)

    async def finish(self, changing: Sequence[Reservation]) -> Mapping[str, bool]:
        """Abandon the attempts of changes, after those under way have ended.

        Returns whether each of the reservations has moved; without those whose change does not end.
        """
        attempts = {r.id: r.attempt for r in changing}
        decided = await decide_attempts(self._ledger, list(attempts.items()))
        ids = list(decided)
        rows = await self._ledger.fetch("select_changed", ids, [attempts[id_] for id_ in ids])
        moved = {row["reservation"] for row in rows}
        return {id_: id_ in moved for id_ in ids}

    async def _commit(self, group: Sequence[VenueChange]) -> list[ChangeEnd]:
        shards = [change.shard for change in group]
        async with fenced_transaction(self._ledger, shards) as transaction:
            return await self._write(transaction, group)

    async def _write(
        self, transaction: FencedTransaction, group: Sequence[VenueChange]
    ) -> list[ChangeEnd]:
        connection, opened = transaction.connection, transaction.opened
        since_s = attempt_clock_s() - ATTEMPT_LIFE_S
        fresh = [c for c in group if c.shard in opened and c.begun_s > since_s]
        ours = await self._take_attempts(connection, [change.reservation for change in fresh])
        moved = await self._move(connection, [c for c in fresh if c.reservation.id in ours])
        return [_end(change, opened, ours, moved) for change in group]

    async def _take_attempts(
        self, connection: "Connection", changing: Sequence[Reservation]
    ) -> set[str]:
        rows = await connection.fetch(
            self._query["decide_attempts"], [r.id for r in changing], [r.attempt for r in changing]
        )
        return {row["reservation"] for row in rows}

    async def _move(self, connection: "Connection", changes: Sequence[VenueChange]) -> set[str]:
        changing = [change.reservation for change in changes]
        rows = await connection.fetch(
            self._query["change_bookings"],
            [r.id for r in changing],
            [r.venue for r in changing],
            [r.to_venue for r in changing],
            [r.attempt for r in changing],
            [epoch for _, epoch in (change.shard for change in changes)],
            [change.version for change in changes],
        )
        moved = {row["reservation"] for row in rows}
        moving = {r.id: r for r in changing if r.id in moved}
        items = await connection.fetch(
            self._query["change_booking_items"],
            list(moving),
            [r.to_venue for r in moving.values()],
        )
        seats: Counter[tuple[str, str, str]] = Counter()
        for item in items:
            reservation = moving[item["reservation"]]
            seats[item["exam"], reservation.to_venue, item["subject"]] += 1
            seats[item["exam"], reservation.venue, item["subject"]] -= 1
        await count_seats(connection, self._ledger, seats)
        return moved

    async def _look_up(self, group: Sequence[VenueChange]) -> list[ChangeEnd | None]:
        changing = [change.reservation for change in group]
        ids, attempts = [r.id for r in changing], [r.attempt for r in changing]
        rows = await self._ledger.fetch("select_changed", ids, attempts)
        if rows:
            await self._ledger.sync()
        moved = {row["reservation"] for row in rows}
        return [ChangeEnd.MOVED if id_ in moved else None for id_ in ids]


def _end(
    change: VenueChange, opened: frozenset[ShardEpoch], ours: set[str], moved: set[str]
) -> ChangeEnd:
    if change.shard not in opened:
        return ChangeEnd.FENCED
    if change.reservation.id not in ours:
        return ChangeEnd.SUPERSEDED
    return ChangeEnd.MOVED if change.reservation.id in moved else ChangeEnd.NOT_BOOKED
