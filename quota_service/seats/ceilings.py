"""Ceilings in Redis: what is left of the seats of a venue in a session, whatever the subject.

`reserve` and all that gives seats back keep `ceiling_left` in their own step; here it is set and
read. Methods raise NotReady when the shard is not open under the caller's epoch, and
SeatsUnavailable.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from quota_service.domain.exam import Ceiling
from quota_service.observability.caller import caller
from quota_service.seats.calls import ShardScripts
from quota_service.seats.codes import Code
from quota_service.seats.hashes import scan_counts
from quota_service.seats.keys import Shard
from quota_service.seats.pages import CEILINGS_MAX, UNDER_CEILINGS_MAX, leave_others_time
from quota_service.seats.replies import ScriptReply
from quota_service.seats.servers import Runners


@dataclass(frozen=True, slots=True)
class UnderCeiling:
    """What Redis has of one ceiling at one moment.

    `left` is None where Redis knows of no ceiling; `taken` are the seats that are not remaining.
    """

    left: int | None
    taken: int


class CeilingStore:
    """The ceilings of one Redis."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners
        self._calls = ShardScripts(runners)

    async def set(self, shard: Shard, ceilings: Sequence[Ceiling]) -> ScriptReply:
        """Set ceilings: DONE with how many changed, or BELOW_TAKEN.

        The latter comes with ceilings as `venue/session` and seats taken, of all that cannot be so
        low so far. Of a page of ceilings all are set or none; pages that can be set are, whatever
        becomes of the others.
        """
        changed, refused = 0, []
        for page in _pages(ceilings):
            began_s = time.monotonic()
            args: list[str | int] = [shard.fence, caller().text]
            for ceiling in page:
                quotas = _quotas(ceiling)
                args += [str(ceiling), ceiling.seats, len(quotas), *quotas]
            code, *detail = await self._calls.call("ceilings", shard, args)
            if code == Code.BELOW_TAKEN:
                refused += detail
            else:
                changed += detail[0]
            await leave_others_time(began_s)
        if refused:
            return ScriptReply(Code.BELOW_TAKEN, detail=tuple(refused))
        return ScriptReply(Code.DONE, detail=(changed,))

    async def remove(self, shard: Shard, names: Sequence[str]) -> None:
        """Take ceilings away, `venue/session` each."""
        args: list[str | int] = [shard.fence, caller().text]
        for name in names:
            args += [name, "", 0]
        await self._calls.call("ceilings", shard, args)

    async def names(self, shard: Shard) -> list[str]:
        """Return every ceiling that Redis has, as `venue/session`.

        Whether the shard is open is not asked.
        """
        return sorted(await scan_counts(self._runners, shard, "ceiling_left"))

    async def read(self, shard: Shard, ceilings: Sequence[Ceiling]) -> dict[Ceiling, UnderCeiling]:
        """Return what Redis has of ceilings; each is of one moment."""
        found: dict[Ceiling, UnderCeiling] = {}
        for page in _pages(ceilings):
            began_s = time.monotonic()
            args: list[str | int] = [shard.fence]
            for ceiling in page:
                quotas = _quotas(ceiling)
                args += [str(ceiling), len(quotas), *quotas]
            _, *pairs = await self._calls.call("read_ceilings", shard, args)
            for ceiling, left, taken in zip(page, pairs[::2], pairs[1::2], strict=True):
                found[ceiling] = UnderCeiling(int(left) if left else None, taken)
            await leave_others_time(began_s)
        return found

    async def left(self, shard: Shard, names: Sequence[str]) -> Mapping[str, int]:
        """Return the seats left under ceilings by `venue/session`, of those that Redis has."""
        found: dict[str, int] = {}
        for start in range(0, len(names), CEILINGS_MAX):
            page = names[start : start + CEILINGS_MAX]
            args: list[str | int] = [shard.fence]
            for name in page:
                args += [name, 0]
            _, *pairs = await self._calls.call("read_ceilings", shard, args)
            found |= {name: int(left) for name, left in zip(page, pairs[::2], strict=True) if left}
        return found


def _quotas(ceiling: Ceiling) -> list[str]:
    return [f"{ceiling.venue}/{subject}" for subject in ceiling.subjects]


def _pages(ceilings: Sequence[Ceiling]) -> Iterator[Sequence[Ceiling]]:
    """Yield ceilings in order, so many that one call has a bounded number of quotas."""
    start = quotas = 0
    for end, ceiling in enumerate(ceilings, start=1):
        quotas += 1 + len(ceiling.subjects)
        if quotas >= UNDER_CEILINGS_MAX:
            yield ceilings[start:end]
            start, quotas = end, 0
    if start < len(ceilings):
        yield ceilings[start:]
