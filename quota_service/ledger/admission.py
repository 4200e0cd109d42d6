"""Admission in Postgres: its leader, its progress, and the settings of ops.

A leader holds a lease by Postgres's clock and an epoch that is new with each leader.
Every step is written WHERE the epoch is current and the lease lasts: a leader that was stopped, and
goes on when another has taken over, finds its writes refused.
"""

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.domain.errors import UnknownExam
from quota_service.ledger.pool import Ledger
from quota_service.ledger.waiting_rooms import as_room
from quota_service.waiting_room.room import Room

if TYPE_CHECKING:
    from asyncpg import Record


@dataclass(frozen=True, slots=True)
class Lease:
    """A room that is ours to lead, and the seconds since its last step; None before the first."""

    room: Room
    since_step_s: float | None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a step leads to, and the healthy time it adds to the grace of claims."""

    threshold: str
    serving: int
    rate: float
    drawn: int
    healthy_ms: int


class AdmissionLedger:
    """Leases and steps of waiting rooms."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def lease(self, exam: str, leader: str, lease_s: float) -> Lease | None:
        """Take or renew a room's lease; None while another process has it, or without a room."""
        lease = dt.timedelta(seconds=lease_s)
        rows = await self._ledger.fetch("lease_waiting_room", exam, leader, lease)
        return Lease(as_room(rows[0]), rows[0]["since_step_s"]) if rows else None

    async def step(self, known: Room, revision: int, to: Position, grace_ms: int) -> bool:
        """Move from the `known` position to another; False when it is not current any more.

        It does not when another leader has taken over, the lease has ended, the definition has
        another revision, or ops have paused the room or set its rate meanwhile. Nothing was changed
        then.
        """
        return bool(
            await self._ledger.fetch(
                "step_waiting_room",
                known.exam,
                known.leader_epoch,
                to.threshold,
                to.serving,
                to.rate,
                to.drawn,
                to.healthy_ms,
                known.is_paused,
                known.fixed_rate,
                grace_ms,
                revision,
            )
        )

    async def close(self, exam: str) -> bool:
        """End the admission of an exam; False when it had no leader."""
        return bool(await self._ledger.fetch("close_waiting_room", exam))

    async def set_rate(self, exam: str, rate: float | None) -> Room:
        """Set the rate in candidates a second, None to adapt; return the room."""
        return _the_room(exam, await self._ledger.fetch("set_waiting_room_rate", exam, rate))

    async def set_paused(self, exam: str, *, paused: bool) -> Room:
        """Pause the room or let it go on; return it."""
        return _the_room(exam, await self._ledger.fetch("pause_waiting_room", exam, paused))


def _the_room(exam: str, rows: "list[Record]") -> Room:
    if not rows:
        raise UnknownExam(exam)
    return as_room(rows[0])
