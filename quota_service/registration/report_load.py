"""Report the load: sends the measurements of this process to the waiting rooms, for admission."""

from quota_service.domain.errors import Unavailable
from quota_service.registration.stores import WaitingRoomStores
from quota_service.waiting_room.signals import Signals


async def report_load(stores: WaitingRoomStores, process: str, signals: Signals) -> None:
    """Report to every waiting room; raise Unavailable at the end when one of the reports failed.

    A room without reports soon stops admitting.
    """
    failure: Unavailable | None = None
    for exam in map(stores.registry.find, stores.registry.progress().going_on):
        if exam.waiting_room is None or stores.registry.is_new(exam.id):
            continue
        try:
            shard = stores.registry.shard(exam.id)
            await stores.room_statistics.report(shard, process, signals)
        except Unavailable as error:
            failure = error
    if failure is not None:
        raise failure
