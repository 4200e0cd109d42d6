"""Group commit: callers that wait at the same moment share one transaction.

A group that cannot be committed is tried one by one, so that only the one at fault fails. A commit
of unknown end is looked up by key, never assumed.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

from quota_service.coalescing import Coalescer, QueueFullError
from quota_service.domain.errors import LedgerUnavailable, Overloaded
from quota_service.ledger.fence import FencedTransaction, ShardEpoch, fenced_transaction
from quota_service.ledger.pool import Ledger
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupCommit(Generic[Item, Result]):
    """One queue of items of a kind; `write` settles a group of them inside a transaction.

    `key_of` names an item: no two of one name share a transaction. `shard_of` names the shard and
    the epoch an item belongs to, which the transaction holds. `look_up` returns by key how
    items ended whose commit is unknown, without those that did not happen.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        metrics: Metrics,
        *,
        key_of: Callable[[Item], str],
        shard_of: Callable[[Item], ShardEpoch],
        write: Callable[[FencedTransaction, Sequence[Item]], Awaitable[Sequence[Result]]],
        look_up: Callable[[Sequence[Item]], Awaitable[Mapping[str, Result]]],
    ) -> None:
        self._ledger = ledger
        self._key_of = key_of
        self._shard_of = shard_of
        self._write = write
        self._look_up = look_up
        self._size = metrics.group_commit_size
        self._coalescer: Coalescer[Item, Result] = Coalescer(
            self._settle,
            batch_max=settings.group_commit_max,
            in_flight_max=settings.group_commits_in_flight_max,
            queue_max=settings.group_commit_queue_max,
        )

    async def submit(self, item: Item) -> Result:
        """Commit an item with the next group and return how it ended.

        Raises LedgerRefused, LedgerUnavailable (`applied` None: nobody knows) and Overloaded.
        """
        try:
            return await self._coalescer.submit(item)
        except QueueFullError as error:
            raise Overloaded("too many requests wait for Postgres") from error

    async def _settle(self, items: list[Item]) -> list[Result | BaseException]:
        results: dict[int, Result | BaseException] = {}
        for turn in self._turns(items):
            group = [items[i] for i in turn]
            results.update(zip(turn, await self._settle_turn(group), strict=True))
        return [results[i] for i in range(len(items))]

    def _turns(self, items: Sequence[Item]) -> list[list[int]]:
        """Deal positions into turns in which no key stands twice."""
        turns: list[dict[str, int]] = []
        for i, item in enumerate(items):
            key = self._key_of(item)
            for turn in turns:
                if key not in turn:
                    turn[key] = i
                    break
            else:
                turns.append({key: i})
        return [list(turn.values()) for turn in turns]

    async def _settle_turn(self, group: Sequence[Item]) -> Sequence[Result | BaseException]:
        try:
            return await self._in_one_transaction(group)
        except LedgerUnavailable as error:
            return await self._found(group, error)
        except Exception as error:  # noqa: BLE001  one is at fault, and alone it shows which
            if len(group) == 1:
                return [error]
        return [(await self._settle_turn([item]))[0] for item in group]

    async def _in_one_transaction(self, group: Sequence[Item]) -> Sequence[Result]:
        async with fenced_transaction(self._ledger, map(self._shard_of, group)) as transaction:
            results = await self._write(transaction, group)
        self._size.observe(len(group))
        return results

    async def _found(
        self, group: Sequence[Item], error: LedgerUnavailable
    ) -> list[Result | BaseException]:
        """Find out by key what a transaction of unknown end did."""
        if error.applied is not None:
            return [error] * len(group)
        try:
            found = await self._look_up(group)
        except LedgerUnavailable:
            log.warning("a commit is unknown and postgres cannot be asked")
            return [error] * len(group)
        return [found.get(self._key_of(item), error) for item in group]
