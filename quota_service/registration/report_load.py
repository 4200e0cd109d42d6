"""Report the load: tells the waiting rooms what this process saw, so that admission adapts."""

from quota_service.domain.errors import Unavailable
from quota_service.registration.stores import WaitingRoomStores
from quota_service.waiting_room.signals import Signals


async def report_load(stores: WaitingRoomStores, process: str, signals: Signals) -> None:
    """Report to every waiting room; Unavailable when one could not be told, after all others were.

    A room that is not told hears nothing, and admits nobody before long.
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
