"""Administer a waiting room: set its rate, pause it, let it go on.

    1. write the wish of ops in Postgres                                             <- the decision
       with a reason it is noted before, and how it ended after it (`noted`)
    2. read the room again, so that this process answers it at once

The leader's next step reads it; a step that was decided by the settings before is refused.
Redis is not needed: a pause must work when Redis is unavailable.
"""

import asyncio
import logging
from dataclasses import dataclass

from quota_service.domain.errors import Unavailable, WaitingRoomOff
from quota_service.registration.noted import noted
from quota_service.registration.stores import WaitingRoomStores
from quota_service.seats.room_statistics import RoomStatistics
from quota_service.waiting_room.document import PublicDocument
from quota_service.waiting_room.room import Room

log = logging.getLogger(__name__)

_SUBJECT = "waiting-room"
"""What the acts are done to, as they are noted."""


@dataclass(frozen=True, slots=True)
class AdministeredRoom:
    """A room as ops see it; `statistics` is None while Redis cannot be asked."""

    room: Room
    document: PublicDocument
    statistics: RoomStatistics | None


async def show(stores: WaitingRoomStores, exam: str) -> AdministeredRoom:
    """Return a waiting room as it is. Raises as `set_rate`."""
    _refuse_without_room(stores, exam)
    await stores.rooms.refresh()
    shown = stores.rooms.current(exam)
    return AdministeredRoom(shown.status.room, shown.document, await _statistics(stores, exam))


async def set_rate(
    stores: WaitingRoomStores, exam: str, rate: float | None, reason: str = ""
) -> AdministeredRoom:
    """Let so many candidates in a second, whatever the load; None lets the rate adapt again.

    Raises UnknownExam, WaitingRoomOff, NotReady and LedgerUnavailable, after which it may be set.
    """
    _refuse_without_room(stores, exam)
    async with noted(stores, exam, "set-rate", _SUBJECT, reason, {"rate": rate}):
        room = await stores.admission.set_rate(exam, rate)
    return await _seen(stores, room)


async def pause(stores: WaitingRoomStores, exam: str, reason: str = "") -> AdministeredRoom:
    """Admit no candidate until `resume`; those admitted may still claim. Raises as `set_rate`."""
    _refuse_without_room(stores, exam)
    async with noted(stores, exam, "pause-admission", _SUBJECT, reason, {}):
        room = await stores.admission.set_paused(exam, paused=True)
    return await _seen(stores, room)


async def resume(stores: WaitingRoomStores, exam: str, reason: str = "") -> AdministeredRoom:
    """Let admission go on from where it was. Raises as `set_rate`."""
    _refuse_without_room(stores, exam)
    async with noted(stores, exam, "resume-admission", _SUBJECT, reason, {}):
        room = await stores.admission.set_paused(exam, paused=False)
    return await _seen(stores, room)


def _refuse_without_room(stores: WaitingRoomStores, exam: str) -> None:
    if stores.registry.find(exam).waiting_room is None:
        raise WaitingRoomOff


async def _seen(stores: WaitingRoomStores, room: Room) -> AdministeredRoom:
    """Return the room as it is seen now; a Redis that is slow is waited for once, not twice."""
    statistics, _ = await asyncio.gather(_statistics(stores, room.exam), stores.rooms.refresh())
    return AdministeredRoom(room, stores.rooms.current(room.exam).document, statistics)


async def _statistics(stores: WaitingRoomStores, exam: str) -> RoomStatistics | None:
    try:
        return await stores.room_statistics.read(stores.registry.shard(exam))
    except Unavailable as error:
        log.info("waiting room cannot be read", extra={"exam": exam, "cause": str(error)})
        return None
