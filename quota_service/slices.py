"""Long work of one process in slices, so that requests and other work run in between."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

_SLICE_MAX = 500
"""Items worked on in one turn of the event loop."""

Item = TypeVar("Item")


async def in_slices(items: Iterable[Item]) -> AsyncIterator[Item]:
    """Yield items; after so many others have their turn."""
    for count, item in enumerate(items, start=1):
        yield item
        if count % _SLICE_MAX == 0:
            await asyncio.sleep(0)
