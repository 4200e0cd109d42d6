"""Report the load: sends the measurements of this process to the waiting rooms, for admission."""

import asyncio

from quota_service.domain.errors import SeatsUnavailable, Unavailable
from quota_service.registration.stores import WaitingRoomStores
from quota_service.waiting_room.signals import Signals


async def report_load(
    stores: WaitingRoomStores, process: str, signals: Signals, *, patience_s: float
) -> None:
    """Report to every waiting room; raise Unavailable at the end when one of the reports failed.

    A room without reports soon stops admitting, so one whose server hangs keeps the reports to the
    others waiting for `patience_s` at most.
    """
    exams = map(stores.registry.find, stores.registry.progress().going_on)
    told = [
        _report(stores, exam.id, process, signals, patience_s)
        for exam in exams
        if exam.waiting_room is not None and not stores.registry.is_new(exam.id)
    ]
    failures = [failure for failure in await asyncio.gather(*told) if failure is not None]
    if failures:
        raise failures[-1]


async def _report(
    stores: WaitingRoomStores, exam: str, process: str, signals: Signals, patience_s: float
) -> Unavailable | None:
    """Report to one room; return why it failed."""
    try:
        async with asyncio.timeout(patience_s):
            await stores.room_statistics.report(stores.registry.shard(exam), process, signals)
    except Unavailable as error:
        return error
    except TimeoutError:
        return SeatsUnavailable(f"the waiting room of exam {exam} took no report in time")
    return None
