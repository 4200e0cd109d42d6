"""Waits for a condition, never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def eventually(condition: Callable[[], Awaitable[bool]], *, within_s: float = 10.0) -> float:
    """Return after how many seconds the condition held; fail when it does not in time."""
    started = time.monotonic()
    while not await condition():
        assert time.monotonic() - started < within_s, "the condition did not come about"
        await asyncio.sleep(0.01)
    return time.monotonic() - started
