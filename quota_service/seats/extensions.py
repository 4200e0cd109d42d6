"""Extensions of holds in Redis: deadlines are moved out, each once for an extension.

As in the seat store, methods raise NotReady when the shard is not open under the caller's epoch,
and SeatsUnavailable when Redis fails; only then is it unknown whether the step was taken.
"""

import time
from collections.abc import AsyncIterator, Sequence

from quota_service.domain.extension import Extension
from quota_service.seats.calls import ShardScripts
from quota_service.seats.keys import Shard
from quota_service.seats.pages import EXTENDED_MAX, in_pages, leave_others_time
from quota_service.seats.servers import Runners

_NOTES_MAX = 1000
"""Holds that are noted with one call."""


class ExtensionStore:
    """Moves the deadlines of holds in one Redis."""

    def __init__(self, runners: Runners) -> None:
        self._calls = ShardScripts(runners)

    async def extend(
        self, shard: Shard, extension: Extension, serials: Sequence[str]
    ) -> AsyncIterator[int]:
        """Extend those of the holds that are meant, and yield page by page how many moved.

        Between pages Redis has time for others.
        """
        for page in in_pages(serials, EXTENDED_MAX):
            if not page:
                return
            began_s = time.monotonic()
            args: list[str | int] = [
                shard.fence,
                extension.number,
                extension.ms,
                extension.as_of_ms,
                extension.venue,
                extension.subject,
                extension.by,
                *page,
            ]
            _, moved = await self._calls.call("extend", shard, args, records=page)
            yield moved
            if len(page) == EXTENDED_MAX:
                await leave_others_time(began_s)

    async def note(self, shard: Shard, number: int, serials: Sequence[str]) -> None:
        """Note that an extension has moved these holds: it does not again."""
        for page in in_pages(serials, _NOTES_MAX):
            if page:
                await self._calls.call("note_extended", shard, [shard.fence, number, 0, *page])

    async def end(self, shard: Shard, number: int) -> None:
        """Let an extension and all before it be done: they move nothing more, and have no notes."""
        await self._calls.call("note_extended", shard, [shard.fence, number, 1])
