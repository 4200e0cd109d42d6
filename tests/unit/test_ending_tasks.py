"""Background tasks end when they are told to, also one that missed being told."""

import asyncio

from quota_service.app.upkeep import cancel_all
from tests.support.patience import LIMIT_S


async def test_a_task_that_lost_its_cancellation_is_asked_again() -> None:
    lost = []

    async def deaf_once() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if lost:
                    raise
                lost.append(True)

    async def failing() -> None:
        raise ValueError("its end is no concern of a shutdown")

    tasks = [asyncio.create_task(each()) for each in (deaf_once, deaf_once, failing)]
    await asyncio.sleep(0)

    async with asyncio.timeout(LIMIT_S):
        await cancel_all(tasks)

    assert all(task.done() for task in tasks)
    assert lost
