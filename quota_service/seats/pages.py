"""Work that grows with the size of an exam, in pages: no call to Redis is long.

Redis serves every exam, one call after the other. A call that reads or writes all quotas of a large
exam would make the reservations of all others wait for as long, so none does.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

QUOTAS_MAX = 50
"""Quotas in one call. Redis keeps small hashes as lists, which it returns whole: up to 512."""

CEILINGS_MAX = 200
"""Ceilings that are looked at in one call."""

UNDER_CEILINGS_MAX = 200
"""Quotas under the ceilings of one call."""

ENTRIES_MAX = 200
"""Journal entries in one call."""

EXTENDED_MAX = 100
"""Holds in one call that moves deadlines."""

RESERVED_SEATS_MAX = 200
"""Seats of the records in one call of a recovery."""

Item = TypeVar("Item")


def in_pages(items: Sequence[Item], page_max: int) -> Iterator[Sequence[Item]]:
    """Yield items in pages, at least one page."""
    for start in range(0, max(1, len(items)), page_max):
        yield items[start : start + page_max]


async def leave_others_time(began_s: float) -> None:
    """Pause for as long as a page took that began then, by the monotonic clock."""
    await asyncio.sleep(time.monotonic() - began_s)
