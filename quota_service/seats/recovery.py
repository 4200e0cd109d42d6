"""The recovery of a shard in Redis: claimed under a new epoch, brought level, and opened again.

Only one recovery of a shard runs at a time, under a lock in Postgres. The epoch in the fence
holds back one that lost its lock and does not know it. Every method but `status` takes the shard
as `claimed` and raises NotReady when another recovery has taken over.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from quota_service.domain.errors import SeatsUnavailable
from quota_service.domain.exam import Quota
from quota_service.observability.caller import caller
from quota_service.seats.calls import ShardScripts
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.pages import QUOTAS_MAX, RESERVED_SEATS_MAX, in_pages
from quota_service.seats.record import FIELDS
from quota_service.seats.servers import Runners

_SCAN_COUNT = 2000
_NOTHING = "none"
_SUBJECTS = FIELDS.index("subjects")


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """How Redis has a shard: whether it is open to the caller, its fence and its version."""

    is_open: bool
    fence: str
    version: int

    @property
    def epoch(self) -> int:
        """The epoch in the fence, 0 where there is none."""
        epoch = re.match(r"\d+", self.fence)
        return int(epoch[0]) if epoch else 0


class RecoveryStore:
    """Recovers shards in one Redis."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners
        self._calls = ShardScripts(runners)

    @property
    def run(self) -> str:
        """The run of the server that answered last; empty before."""
        return self._runners.run

    async def find(self, shard: Shard) -> None:
        """Return when we speak to the server that has a shard now; a former primary is left.

        Raises SeatsUnavailable, also where it is not known which it is.
        """
        await self._runners.find()
        await self._runners.of(shard).check(is_named=True)

    async def status(self, shard: Shard) -> ShardStatus:
        """Return how Redis has a shard now."""
        call = self._calls.prepared("shard_status", shard, [shard.fence])
        code, fence, version = await self._runners.of(shard).call(call)
        return ShardStatus(code == Code.DONE, str(fence), int(version))

    async def statuses(self, shards: Sequence[Shard]) -> list[ShardStatus | None]:
        """Return the same of many in order, None where its server does not answer.

        Raises SeatsUnavailable where none answers.
        """
        looks = await asyncio.gather(*map(self.status, shards), return_exceptions=True)
        statuses: list[ShardStatus | None] = []
        away: SeatsUnavailable | None = None
        for look in looks:
            if isinstance(look, SeatsUnavailable):
                away = look
                statuses.append(None)
            elif isinstance(look, BaseException):
                raise look
            else:
                statuses.append(look)
        if away is not None and not any(statuses):
            raise away
        return statuses

    async def claim(self, claimed: Shard) -> tuple[int, int] | None:
        """Let no script run on the shard but those of this recovery.

        Returns epoch and version of the last step Redis has; None when there is nothing to go on
        from.
        """
        (origin,) = await self._call("claim", claimed, [claimed.fence])
        if origin == _NOTHING:
            return None
        epoch, _, version = origin.partition("-")
        return int(epoch), int(version)

    async def clear(self, claimed: Shard) -> None:
        """Remove everything of the shard, for a rebuild."""
        cursor = "0"
        while True:
            cursor, keys = await self._runners.of(claimed).command(
                "SCAN", cursor, "MATCH", f"{claimed.record_key('')}*", "COUNT", _SCAN_COUNT
            )
            await self._call("clear", claimed, [claimed.fence], keys)
            if cursor == "0":
                return

    async def seed(
        self,
        claimed: Shard,
        version: int,
        capacity: Mapping[Quota, int] = MappingProxyType({}),
        booked: Mapping[Quota, int] = MappingProxyType({}),
    ) -> None:
        """Set the version, and every quota of `capacity`, its seats free but those `booked`."""
        for page in in_pages(list(capacity.items()), QUOTAS_MAX):
            args: list[str | int] = [claimed.fence, version]
            for quota, seats in page:
                args += [str(quota), seats, booked.get(quota, 0)]
            await self._call("seed", claimed, args)

    async def forget_room(self, claimed: Shard) -> None:
        """Remove the waiting room."""
        await self._call("forget_room", claimed, [claimed.fence])

    async def forget(self, claimed: Shard) -> None:
        """Remove what is left of a retired exam, the epoch among it."""
        await self._call("forget", claimed, [claimed.fence])

    async def spend(self, claimed: Shard, serials: Sequence[str]) -> None:
        """Mark serials of ended reservations: no reservation is made under them again."""
        await self._call("spend", claimed, [claimed.fence, *serials])

    async def put(
        self, claimed: Shard, records: Sequence[tuple[str, int, str]], *, fit: bool
    ) -> list[str]:
        """Write records, each in place of the one in Redis: (serial, grace in ms, record).

        The grace is that of a payment which is given up. With `fit`, holds that have no seats any
        more expire, and their serials are returned.
        """
        left_out = []
        for page in _with_seats_bounded(records):
            args: list[str | int] = [claimed.fence, int(fit), caller().text]
            args += [word for each in page for word in each]
            keys = [claimed.record_key(serial) for serial, _, _ in page]
            left_out += await self._call("put", claimed, args, keys)
        return left_out

    async def records(self, shard: Shard, cursor: str, count: int) -> tuple[str, dict[str, str]]:
        """Return the next cursor and about `count` records by serial; begin and end at cursor "0".

        As with SCAN, one that exists all the time is returned at least once.
        """
        prefix = shard.record_key("")
        cursor, keys = await self._runners.of(shard).command(
            "SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", count
        )
        texts = await self._runners.of(shard).command("MGET", *keys) if keys else []
        found = zip(keys, texts, strict=True)
        return cursor, {key.removeprefix(prefix): text for key, text in found if text is not None}

    async def live_records(
        self, shard: Shard, index: str, cursor: str, count: int
    ) -> tuple[str, dict[str, str]]:
        """Return the next cursor and about `count` records in an index, `due` or `pinned`.

        Begin and end at cursor "0". As with SCAN, one that exists all the time is returned at least
        once.
        """
        key = shard.key(index)
        cursor, flat = await self._runners.of(shard).command("ZSCAN", key, cursor, "COUNT", count)
        serials = flat[::2]
        if not serials:
            return cursor, {}
        texts = await self._runners.of(shard).command("MGET", *map(shard.record_key, serials))
        found = zip(serials, texts, strict=True)
        return cursor, {serial: text for serial, text in found if text is not None}

    async def put_unpaid(self, claimed: Shard, candidates: Sequence[tuple[str, int, int]]) -> None:
        """Set how many holds of candidates ended unpaid: (candidate, holds, last end in ms)."""
        args: list[str | int] = [claimed.fence]
        for candidate, holds, last_ms in candidates:
            args += [candidate, f"{holds}|{last_ms}"]
        await self._call("put_unpaid", claimed, args)

    async def reopen(self, claimed: Shard) -> int:
        """Open the shard; return its version."""
        (version,) = await self._call("reopen", claimed, [claimed.fence])
        return int(version)

    async def _call(
        self, name: str, claimed: Shard, args: Sequence[str | int], records: Sequence[str] = ()
    ) -> list[Any]:
        _, *answer = await self._calls.call(name, claimed, args, chosen=records)
        return answer


def _with_seats_bounded(
    records: Sequence[tuple[str, int, str]],
) -> Iterator[Sequence[tuple[str, int, str]]]:
    """Yield records in order, so many that one call has a bounded number of seats to move."""
    start = seats = 0
    for end, (_, _, text) in enumerate(records, start=1):
        fields = text.split("|", _SUBJECTS + 1)
        seats += 1 + fields[_SUBJECTS].count(",") if len(fields) > _SUBJECTS else 1
        if seats >= RESERVED_SEATS_MAX:
            yield records[start:end]
            start, seats = end, 0
    if start < len(records):
        yield records[start:]
