"""The process that leads admission is killed, or stopped and continued: another one leads.

Nobody is skipped. The workers are processes of their own, with their own clocks; every step they
write is kept.
"""

import dataclasses
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quota_service.app.opening import Service
from quota_service.registration.admit import AdmissionLimits
from quota_service.settings import Settings
from tests.support.admissions import RoomUnderTest, open_room
from tests.support.forked import Forked, fork
from tests.support.patience import START_LIMIT_S
from tests.support.service_cli import environment, main
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
CHANGED = AdmissionLimits(interval_s=0.1, lease_s=1)
GRACE_S = 86_400


@asynccontextmanager
async def a_worker(settings: Settings) -> AsyncIterator[Forked]:
    """A worker process, ended at the end whatever became of it."""
    process = await fork(main, "worker", cwd=ROOT, env=environment(settings))
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def serves_beyond(room: RoomUnderTest, number: int) -> None:
    """Return when the queue has been served beyond a number, with reports coming all the while."""

    async def has() -> bool:
        await room.report()
        return (await room.room()).serving > number

    await eventually(has, within_s=START_LIMIT_S)


async def served_by_epoch(room: RoomUnderTest) -> list[tuple[int, int]]:
    """Return (epoch of its leader, number served up to) of every step, oldest first."""
    async with room.service.stores.ledger.connection() as connection:
        rows = await connection.fetch(
            "SELECT leader_epoch, serving FROM waiting_room_steps WHERE exam = $1 ORDER BY step",
            room.exam.id,
        )
    return [(row["leader_epoch"], row["serving"]) for row in rows]


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
async def test_another_worker_takes_over_and_nobody_is_skipped(
    service: Service, fault: signal.Signals
) -> None:
    room = await open_room(service, claim_grace_s=GRACE_S)
    await room.queue(1_000_000)
    await service.stores.waiting_room.admission.set_rate(room.exam.id, 50)
    settings = service.settings.with_limits(CHANGED)
    async with a_worker(settings) as leader:
        await serves_beyond(room, 5)
        async with a_worker(settings):
            leader.send_signal(fault)
            fallen = await room.room()
            await serves_beyond(room, fallen.serving + 25)
            if fault is signal.SIGSTOP:
                leader.send_signal(signal.SIGCONT)
            await serves_beyond(room, (await room.room()).serving + 25)

    steps = await served_by_epoch(room)
    epochs, served = [epoch for epoch, _ in steps], [number for _, number in steps]
    assert served == sorted(served)
    assert epochs == sorted(epochs)
    assert len(set(epochs)) >= 2
    # No step goes further than its own time allows: two intervals at fifty a second, and what a
    # step before it had saved up.
    assert max(b - a for a, b in zip([0, *served], served, strict=False)) <= 11


async def test_a_worker_steps_back_behind_the_api_as_far_as_it_is_told(service: Service) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    settings = dataclasses.replace(service.settings, worker_nice=7)
    async with a_worker(settings) as worker:

        async def has_stepped_back() -> bool:
            return os.getpriority(os.PRIO_PROCESS, worker.pid) == min(before + 7, 19)

        await eventually(has_stepped_back, within_s=START_LIMIT_S)
