"""The expiry worker: gives back unpaid holds within a second of their time.

Each shard has its index of holds by the time they may expire, in its own slot, so that exams can be
spread over primaries; there is no index over all of them in Redis. This worker is that index: it
keeps for each shard when to look at it next, which is when its first hold is due. A hold that was
made since lives for a second at least, an earlier time can come back with a payment that is given
up, and a clock can be set, so a shard of an exam that goes on is looked at once a second all the
same; one that is over, once a minute. What is due is for the clock of the shard's server to say.

When many holds are due at once, waiting for answers takes longer than the work. So several batches
are read with one call, and the next batch is sent while the one before is under way; Redis serves
others between the two. A server that hangs holds up its own shards alone.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quota_service.registration.expire import expire_holds
from quota_service.registration.stores import ExamStores
from quota_service.seats.keys import Shard
from quota_service.seats.pages import in_pages
from quota_service.settings import Settings
from quota_service.workers.loop import ServersApart, each_of

_INTERVAL_S = 0.2
"""Pause when nothing is due."""
_LOOK_MS = 1000
_LOOK_OVER_MS = 60_000
_LOOKS_AT_ONCE = 50
_BATCHES_MAX = 5
"""Batches of one shard in a round; then it is the next one's turn."""
_BATCHES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class ExpiryLimits:
    """Bounds of the expiry worker."""

    batch_max: int = 200
    """Holds expired in one call."""


class ExpiryWorker:
    """What is due in each shard, to a bound, a round."""

    name = "expiry"

    def __init__(self, stores: ExamStores, settings: Settings) -> None:
        self._stores = stores
        self._batch_max = settings.limits_of(ExpiryLimits).batch_max
        self.interval_s = _INTERVAL_S
        self._shards: Sequence[Shard] = ()
        self._next_s: dict[Shard, float] = {}
        self._looks = ServersApart(stores.seats.server_of, self._look)

    async def run_once(self) -> Mapping[str, int]:
        """Expire what is due; returns {"expired": holds}."""
        shards = self._stores.registry.open_shards()
        # An exam that was over may go on by another definition.
        if shards is not self._shards:
            self._shards, self._next_s = shards, dict.fromkeys(shards, 0.0)
        now_s = time.monotonic()
        due = [shard for shard, at in self._next_s.items() if at <= now_s]
        counts = await self._looks.run_once(due)
        return {"expired": 0, **counts}

    async def _look(self, shards: Sequence[Shard]) -> Mapping[str, int]:
        over = frozenset(self._stores.registry.progress().over)

        async def expire(shard: Shard) -> Mapping[str, int]:
            asked_s = time.monotonic()
            due = await self._stores.seats.due(shard, self._batch_max * _BATCHES_MAX)

            async def expire_batch(serials: Sequence[str]) -> Mapping[str, int]:
                return {"expired": await expire_holds(self._stores, shard, serials)}

            batches = in_pages(due.serials, self._batch_max)
            counts = await each_of(batches, expire_batch, at_once=_BATCHES_AT_ONCE)
            if not due.serials and shard in self._next_s:  # a look may take longer than the round
                pause_ms = _LOOK_OVER_MS if shard.exam in over else _LOOK_MS
                if due.first_ms is not None:
                    pause_ms = min(pause_ms, due.first_ms - due.now_ms)
                self._next_s[shard] = asked_s + pause_ms / 1000
            return counts

        return await each_of(shards, expire, at_once=_LOOKS_AT_ONCE)
