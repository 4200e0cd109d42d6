"""Whether an import may change the source of a draw.

A source is settled when the draw is closed, which freezes its entries: it stays then, whatever the
definition says. Until then it may be another one or come at another time, for nobody can know it
yet. A draw in which candidates are keeps what it is: their entries are in Postgres where it has a
source, and nowhere where it has none.
"""

from typing import TYPE_CHECKING

from quota_service.domain.definition import Problem
from quota_service.domain.exam import Exam
from quota_service.ledger.exams import ShardState, StoredExam
from quota_service.registration.stores import MaintenanceStores
from quota_service.seats.keys import Shard

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection

_WHERE = "waiting_room.source"
_JOINED = Problem(_WHERE, "cannot be added while candidates are in the draw")


async def source_problems(
    stores: MaintenanceStores, connection: "Connection", old: StoredExam, new: Exam
) -> tuple[Problem, ...]:
    """Return the reasons against another source; the draw is not closed until the import ends."""
    before, rules = old.exam.waiting_room, new.waiting_room
    if rules is None or (before is not None and before.source == rules.source):
        return ()  # without a room nothing is admitted by it; candidates in it are another reason
    room = await stores.waiting_rooms.draw_for_change(connection, new.id)
    if room is None:
        return ()
    wanted, known = rules.source, None if room.draw is None else room.draw.source
    if known != wanted and room.is_draw_closed:
        return (Problem(_WHERE, "cannot change once the entries of the draw are frozen"),)
    if known and not wanted and await stores.draws.has_entries(connection, old.id):
        return (Problem(_WHERE, "cannot be removed while candidates are in the draw"),)
    if wanted and not known and (room.drawn or await _drawn(stores, old)):
        return (_JOINED,)
    return ()


async def joined_without_source(
    stores: MaintenanceStores, old: StoredExam, new: Exam
) -> tuple[Problem, ...]:
    """Return the reason against a source that is in force now: candidates joined just before."""
    before, rules = old.exam.waiting_room, new.waiting_room
    is_added = rules is not None and rules.source is not None
    if is_added and before is not None and before.source is None and await _drawn(stores, old):
        return (_JOINED,)
    return ()


async def _drawn(stores: MaintenanceStores, old: StoredExam) -> int:
    if old.state is ShardState.NEW:
        return 0
    shard = Shard(old.id, old.epoch)
    return (await stores.room_store.counts(shard, is_draw_closed=False)).drawn
