"""Keeps what a process holds in memory fresh, in the background and at fixed intervals."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from quota_service.app.opening import Service
from quota_service.domain.errors import QuotaError
from quota_service.observability.load_window import LoadWindow
from quota_service.registration.admit import AdmissionLimits
from quota_service.registration.refusal_history import WRITE_INTERVAL_S
from quota_service.registration.report_load import report_load
from quota_service.registration.room_cache import RoomRefresh
from quota_service.seats.fitness import server_warnings

log = logging.getLogger(__name__)

_INTERVAL_S = 1.0
_KEY_USE_INTERVAL_S = 60.0
"""How late Postgres knows of the use of a key, at most; it costs a write for all keys together."""
_CANCEL_AGAIN_S = 0.1


async def refresh_memory(service: Service) -> None:
    """Read exams and keys from Postgres once; metrics of exams that are archived now go."""
    await service.stores.registry.refresh()
    service.metrics.forget_exams(service.stores.registry.archived)
    service.metrics.tell_rooms(
        {
            exam.id: exam.registration.closes_at_ms
            for exam in service.stores.registry.all()
            if exam.waiting_room is not None
        }
    )
    going_on = service.stores.registry.progress().going_on
    service.metrics.tell_pauses(
        frozenset(
            (exam.id, pause.scope)
            for exam in service.stores.registry.all()
            if exam.id in going_on
            for pause in exam.pauses
        )
    )
    await service.keys.refresh()


@asynccontextmanager
async def kept_fresh(service: Service, *, reports_load: bool) -> AsyncIterator[None]:
    """Refresh what is held in memory, and the health, until the block ends.

    A process that serves the API reports its load to the admission of the waiting rooms.
    """
    rounds: list[tuple[Callable[[], Awaitable[None]], float]] = [
        (lambda: refresh_memory(service), service.settings.registry_refresh_s),
        (_refreshing_health(service), _INTERVAL_S),
        (service.stores.reservations.backlog.refresh, _INTERVAL_S),
        (service.context.limiter.show, _INTERVAL_S),
        (service.keys.note_used, _KEY_USE_INTERVAL_S),
        (
            service.stores.waiting_room.rooms.refresh,
            service.settings.limits_of(RoomRefresh).interval_s,
        ),
    ]
    if reports_load:
        rounds.append((telling_load(service), _INTERVAL_S))
        rounds.append((_writing_refusals(service), WRITE_INTERVAL_S))
    # The first round runs before anything listens, so that a healthy start is ready at once.
    for task, _ in rounds:
        with suppress(QuotaError):
            await task()
    tasks = [asyncio.create_task(_again_and_again(task, pause_s)) for task, pause_s in rounds]
    try:
        yield
    finally:
        await cancel_all(tasks)
        await service.context.refusals.history.write_rest()


def _refreshing_health(service: Service) -> Callable[[], Awaitable[None]]:
    """Return the round that asks the stores, and looks at the settings of each server once."""
    unchecked = {
        "redis": lambda: server_warnings(service.stores.runners),
        "postgres": service.stores.reader.server_warnings,
    }

    async def refresh() -> None:
        await service.health.refresh()
        for store in unchecked.keys() - service.health.faults.keys():
            for warning in await unchecked[store]():
                log.warning("server settings", extra={"store": store, "cause": warning})
            del unchecked[store]

    return refresh


def _writing_refusals(service: Service) -> Callable[[], Awaitable[None]]:
    """Return the round that writes refusals to their history."""

    async def write() -> None:
        await service.context.refusals.history.write()

    return write


def telling_load(service: Service) -> Callable[[], Awaitable[None]]:
    """Return the round that reports the load of this process."""
    stores = service.stores
    window = LoadWindow(service.metrics, lambda: stores.payments.confirmations.waiting)
    process = secrets.token_hex(8)
    unread_max_s = service.settings.limits_of(AdmissionLimits).hold_after_s

    async def tell() -> None:
        read_at_s = stores.waiting_room.rooms.read_at_s
        if time.monotonic() - read_at_s > unread_max_s:
            return  # who cannot show candidates their turn is no sign that turns are seen
        patience_s = service.settings.redis_patience_s
        await report_load(stores.waiting_room, process, window.read(), patience_s=patience_s)

    return tell


async def _again_and_again(task: Callable[[], Awaitable[None]], pause_s: float) -> None:
    failed = ""
    while True:
        await asyncio.sleep(pause_s)
        try:
            await task()
            failed = ""
        except Exception as error:  # noqa: BLE001  whatever it is, the next round must come
            if not failed:
                log.warning("refresh failed", extra={"cause": f"{type(error).__name__}: {error}"})
            failed = str(error)


async def cancel_all(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel tasks and wait for their ends, asking again those that have missed it.

    `asyncio.wait_for` of Python 3.11 loses a cancellation that comes in the very moment in which
    what it waits for is done, and a task that goes on for ever would hold up the shutdown as long.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
        await asyncio.gather(*ended, return_exceptions=True)
