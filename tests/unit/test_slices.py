"""Long work in slices: all of it is done, and others have their turns in between."""

import asyncio

from quota_service.slices import in_slices


async def test_every_item_comes_once_and_in_order() -> None:
    assert [item async for item in in_slices(range(1_234))] == list(range(1_234))
    assert [item async for item in in_slices([])] == []


async def test_others_have_their_turns_before_the_end() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    async for _ in in_slices(range(5_000)):
        pass
    task.cancel()

    assert turns >= 9
