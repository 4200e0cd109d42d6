"""Waits for a condition outside of this process, by polling."""

import asyncio
from collections.abc import Awaitable, Callable

from loadtest.bench.errors import BenchError

_POLL_S = 0.05


async def until(is_so: Callable[[], Awaitable[bool]], what: str, *, within_s: float = 30.0) -> None:
    """Return when `is_so` says yes; BenchError naming `what` when it does not in time."""
    try:
        async with asyncio.timeout(within_s):
            while not await is_so():  # noqa: ASYNC110  it is another process that is waited for
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise BenchError(f"waited {within_s:g} s in vain for {what}") from None
