"""Group commit: callers that wait at the same moment share one transaction.

A group that cannot be committed is tried one by one, so that only the one at fault fails. A commit
of unknown end is looked up by key, never assumed.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from quota_service.coalescing import Coalescer, QueueFullError
from quota_service.domain.errors import LedgerUnavailable, Overloaded
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class GroupCommitLimits:
    """How payment events go to Postgres."""

    batch_max: int = 128
    """Events recorded in one transaction."""
    in_flight_max: int = 2
    """Transactions of them at once."""
    queue_max: int = 5000
    """Events that may wait; more are answered 503."""


class GroupCommit(Generic[Item, Result]):
    """One queue of items of a kind.

    `commit` writes a group in one transaction and returns one result for each item, in order; an
    exception in the place of a result goes to that item's caller alone. `names_of` names what an
    item writes: no two items of one name share a transaction. `look_up` returns by key how items
    ended whose commit is unknown, None in the place of those that did not happen.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        names_of: Callable[[Item], Iterable[object]],
        commit: Callable[[Sequence[Item]], Awaitable[Sequence[Result | BaseException]]],
        look_up: Callable[[Sequence[Item]], Awaitable[Sequence[Result | BaseException | None]]],
    ) -> None:
        self._names_of = names_of
        self._commit = commit
        self._look_up = look_up
        self._size = metrics.group_commit_size
        limits = settings.limits_of(GroupCommitLimits)
        self._coalescer: Coalescer[Item, Result] = Coalescer(
            self._commit_all,
            batch_max=limits.batch_max,
            in_flight_max=limits.in_flight_max,
            queue_max=limits.queue_max,
        )

    @property
    def waiting(self) -> int:
        """How many items wait for a transaction."""
        return self._coalescer.waiting

    async def submit(self, item: Item) -> Result:
        """Commit an item with the next group and return how it ended.

        Raises LedgerRefused, LedgerUnavailable (`applied` None: it is unknown) and Overloaded.
        """
        try:
            return await self._coalescer.submit(item)
        except QueueFullError as error:
            raise Overloaded("too many requests wait for Postgres") from error

    async def _commit_all(self, items: list[Item]) -> list[Result | BaseException]:
        results: dict[int, Result | BaseException] = {}
        for positions in self._groups(items):
            group = [items[i] for i in positions]
            results.update(zip(positions, await self._commit_group(group), strict=True))
        return [results[i] for i in range(len(items))]

    def _groups(self, items: Sequence[Item]) -> list[list[int]]:
        """Split positions into groups in which no name is duplicated."""
        groups: list[tuple[list[int], set[object]]] = []
        for i, item in enumerate(items):
            names = set(self._names_of(item))
            for positions, taken in groups:
                if names.isdisjoint(taken):
                    positions.append(i)
                    taken.update(names)
                    break
            else:
                groups.append(([i], names))
        return [positions for positions, _ in groups]

    async def _commit_group(self, group: Sequence[Item]) -> Sequence[Result | BaseException]:
        try:
            results = await self._commit(group)
        except LedgerUnavailable as error:
            return await self._found(group, error)
        except Exception as error:  # noqa: BLE001  one is at fault, and alone it shows which
            if len(group) == 1:
                return [error]
            return [(await self._commit_group([item]))[0] for item in group]
        self._size.observe(len(group))
        return results

    async def _found(
        self, group: Sequence[Item], error: LedgerUnavailable
    ) -> Sequence[Result | BaseException]:
        """Find out by key what a transaction of unknown end did."""
        if error.applied is not None:
            return [error] * len(group)
        try:
            found = await self._look_up(group)
        except LedgerUnavailable:
            log.warning("outcome of a commit is unknown, and postgres does not answer")
            return [error] * len(group)
        return [error if result is None else result for result in found]
