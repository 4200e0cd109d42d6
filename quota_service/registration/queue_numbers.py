"""The numbers of a queue: set aside in Postgres for good before Redis may hand them out.

    1. set a block aside in Postgres, commit
    2. give it to Redis
A process that dies in between leaves numbers that are set aside and not handed out. Where Redis
counts already under the epoch of the shard, it counts on through them. Where it does not, because
the epoch is new, they are skipped: it is unknown which of them candidates have.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from quota_service.ledger.waiting_rooms import WaitingRoomLedger
from quota_service.seats.keys import Shard
from quota_service.seats.rooms import RoomStore


@dataclass(frozen=True, slots=True)
class NumberBlock:
    """Numbers of a queue set aside in Postgres at a time."""

    size: int = 500


class QueueNumbers:
    """Sets blocks of numbers aside; all who need one at once share it, as large as they need."""

    def __init__(
        self,
        rooms: WaitingRoomLedger,
        store: RoomStore,
        *,
        block: int,
        numbers_max: int,
        failpoint: Callable[[str], None],
    ) -> None:
        self._rooms = rooms
        self._store = store
        self._block = block
        self._failpoint = failpoint
        self._extending: dict[Shard, asyncio.Task[None]] = {}
        self._waiting: Counter[Shard] = Counter()
        self.numbers_max = numbers_max

    async def extend(self, shard: Shard, reached: int | None) -> None:
        """Give Redis more numbers than `reached`; None when none count under this epoch.

        Raises NotReady when the epoch is over, and LedgerUnavailable.
        """
        extending = self._extending.get(shard)
        if extending is None:
            extending = asyncio.get_running_loop().create_task(self._extend(shard, reached))
            self._extending[shard] = extending
            extending.add_done_callback(lambda done: self._extended(shard, done))
        self._waiting[shard] += 1
        try:
            await asyncio.shield(extending)
        finally:
            self._waiting[shard] -= 1

    def _extended(self, shard: Shard, task: "asyncio.Task[None]") -> None:
        del self._extending[shard]
        if not task.cancelled():
            task.exception()  # its callers may have left

    async def _extend(self, shard: Shard, reached: int | None) -> None:
        epoch = (shard.exam, shard.epoch)
        self._failpoint("join: before numbers are set aside")
        count = max(self._block, self._waiting[shard])
        highest = await self._rooms.reserve_numbers(epoch, reached, count)
        self._failpoint("join: after numbers are set aside")
        await self._store.give_numbers(shard, highest - count, highest)
        self._failpoint("join: after numbers are given")
