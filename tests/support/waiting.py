"""Waits for a condition, never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.support.patience import LIMIT_S

Result = TypeVar("Result")


def wait_until(condition: Callable[[], bool], timeout_s: float = LIMIT_S) -> bool:
    """Check `condition`, at least once, until it holds or time is up; return whether it held."""
    ends_at_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= ends_at_s:
            return False
        time.sleep(0.01)
    return True


async def eventually(
    condition: Callable[[], Awaitable[bool]], *, within_s: float = LIMIT_S
) -> float:
    """Return after how many seconds the condition held; fail when it does not in time."""
    started = time.monotonic()
    while not await condition():
        waited_s = time.monotonic() - started
        assert waited_s < within_s, "the condition did not come about"
        # What takes long takes as long again when it is looked for all the time.
        await asyncio.sleep(0.01 if waited_s < 0.5 else 0.05)
    return time.monotonic() - started


async def insisting(
    call: Callable[[], Awaitable[Result]], *faults: type[Exception], within_s: float = LIMIT_S
) -> Result:
    """Return what a call returns at last that may fail so before: its limits of time are short."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                return await call()
            except faults:
                await asyncio.sleep(0.01)
