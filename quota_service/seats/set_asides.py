"""Set-asides in Redis: the seats that are kept for groups, and how often codes are used.

`reserve` takes seats from them, and what gives seats back knows where they came from; here they are
set, closed and read. Methods raise NotReady when the shard is not open under the caller's epoch,
but for those that only read, and SeatsUnavailable.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quota_service.domain.exam import Quota
from quota_service.observability.caller import caller
from quota_service.seats.calls import ShardScripts
from quota_service.seats.codes import CODES, Code
from quota_service.seats.hashes import scan_counts
from quota_service.seats.keys import Shard
from quota_service.seats.pages import QUOTAS_MAX, in_pages, leave_others_time
from quota_service.seats.replies import ScriptReply
from quota_service.seats.servers import Runners


@dataclass(frozen=True, slots=True)
class KeptSeats:
    """The seats of a quota that Redis keeps for a set-aside, and those of them that are left."""

    seats: int
    left: int


class SetAsideStore:
    """The set-asides of one Redis."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners
        self._calls = ShardScripts(runners)

    async def set(
        self,
        shard: Shard,
        wanted: Mapping[Quota, Mapping[str, int]],
        capacity: Mapping[Quota, int],
        *,
        exact: bool,
    ) -> ScriptReply:
        """Set the seats of set-asides by quota and id, and raise the capacity of these quotas.

        DONE comes with how many quotas changed. With `exact` a page of quotas is set or not:
        BELOW_TAKEN comes with set-asides as `id/venue/subject` and seats used, SOLD_OUT with quotas
        and seats free; pages before that one are set. Without it all is set as near as it goes.
        """
        changed = 0
        for page in in_pages(list(wanted.items()), QUOTAS_MAX):
            began_s = time.monotonic()
            args: list[str | int] = [shard.fence, int(exact), caller().text]
            for quota, by_id in page:
                args += [str(quota), capacity.get(quota, ""), len(by_id)]
                args += [word for each in by_id.items() for word in each]
            code, *detail = await self._calls.call("set_asides", shard, args)
            if code != Code.DONE:
                return ScriptReply(CODES[code], detail=tuple(detail))
            changed += detail[0]
            if len(page) == QUOTAS_MAX:
                await leave_others_time(began_s)
        return ScriptReply(Code.DONE, detail=(changed,))

    async def close(self, shard: Shard, set_aside: str, quotas: Sequence[Quota]) -> int:
        """Give what is left of a set-aside back, for good; return how many seats that were."""
        seats = 0
        for page in in_pages(quotas, QUOTAS_MAX):
            args: list[str | int] = [shard.fence, caller().text, set_aside, *map(str, page)]
            _, count = await self._calls.call("close_set_aside", shard, args)
            seats += count
        return seats

    async def read(self, shard: Shard) -> dict[str, dict[Quota, KeptSeats]]:
        """Return what Redis keeps for set-asides, by id and quota; those of one moment mostly.

        Whether the shard is open is not asked.
        """
        seats = await scan_counts(self._runners, shard, "aside_seats")
        left = await scan_counts(self._runners, shard, "aside_left")
        found: dict[str, dict[Quota, KeptSeats]] = {}
        for name, count in sorted(seats.items()):
            set_aside, venue, subject = name.split("/")
            kept = KeptSeats(count, left.get(name, 0))
            found.setdefault(set_aside, {})[Quota(venue, subject)] = kept
        return found

    async def uses(self, shard: Shard, codes: Sequence[str]) -> dict[str, int]:
        """Return how many live reservations and bookings use each of the codes, by id.

        Whether the shard is open is not asked.
        """
        if not codes:
            return {}
        runner, key = self._runners.of(shard), shard.key("code_uses")
        counts = await runner.command("HMGET", key, *codes)
        return {code: int(count or 0) for code, count in zip(codes, counts, strict=True)}
