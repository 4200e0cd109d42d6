"""Seats that wait for the next allocation: read, and set to what Postgres knows.

The scripts that give seats back count them in their own step, by the rule of the exam. Methods
raise NotReady when the shard is not open under the caller's epoch, and SeatsUnavailable.
"""

from collections.abc import Mapping

from quota_service.observability.caller import caller
from quota_service.seats.calls import ShardScripts
from quota_service.seats.hashes import scan_counts
from quota_service.seats.keys import Shard
from quota_service.seats.pages import QUOTAS_MAX, in_pages
from quota_service.seats.servers import Runners


class ReturnedStore:
    """The returned seats of one Redis."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners
        self._calls = ShardScripts(runners)

    async def read(self, shard: Shard) -> dict[str, int]:
        """Return the seats that wait, by `venue/subject`; only quotas that have some.

        Whether the shard is open is not asked.
        """
        return await scan_counts(self._runners, shard, "returned")

    async def level(
        self, shard: Shard, wanted: Mapping[str, int], places: Mapping[str, str]
    ) -> int:
        """Let so many seats of quotas wait, as far as seats are free; return how many changed.

        `places` has `venue/session` of the quotas that are under a ceiling.
        """
        changed = 0
        for page in in_pages(sorted(wanted.items()), QUOTAS_MAX) if wanted else ():
            args: list[str | int] = [shard.fence, caller().text]
            for quota, seats in page:
                args += [quota, places.get(quota, ""), seats]
            _, count = await self._calls.call("level_returned", shard, args)
            changed += count
        return changed
