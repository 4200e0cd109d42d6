"""The waiting room in Redis: one method a script, in its own words.

As in the seat store, methods return outcomes and raise NotReady when the shard is not open under
the caller's epoch, and SeatsUnavailable when Redis fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quota_service.domain.errors import NotReady
from quota_service.domain.exam import WaitingRoomRules
from quota_service.seats.codes import Code
from quota_service.seats.connection import ScriptCall, ScriptRunner
from quota_service.seats.keys import Shard
from quota_service.waiting_room.standing import Counts

_NONE = -1
"""Stands in answers for a number there is not."""


@dataclass(frozen=True, slots=True)
class Claim:
    """How a claim ended: its code and, with a place, the pass that goes with it.

    `place` is that of the ticket the pass was given for, `epoch` the shard's at that time.
    """

    code: Code
    place: int = 0
    expires_ms: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class QueueNumber:
    """How asking for a number ended: DONE or DONE_BEFORE with the number, QUEUE_FULL, NO_NUMBERS.

    With NO_NUMBERS `reached` is the limit of the block that is used up, or None when no block
    counts under this epoch of the shard.
    """

    code: Code
    number: int = 0
    reached: int | None = None


class RoomStore:
    """The waiting rooms of one Redis."""

    def __init__(self, runner: ScriptRunner) -> None:
        self._runner = runner
        self._scripts = runner.scripts

    async def join_draw(self, shard: Shard, candidate: str) -> None:
        """Count a candidate among those in the draw."""
        await self._call("join_draw", shard, [shard.fence, candidate])

    async def join_queue(
        self, shard: Shard, candidate: str, *, late_through: int, numbers_max: int
    ) -> QueueNumber:
        """Give a candidate a number, or say which one it has."""
        args: list[str | int] = [shard.fence, candidate, late_through, numbers_max]
        answer = await self._call("join_queue", shard, args)
        match answer:
            case [Code.DONE | Code.DONE_BEFORE as code, number]:
                return QueueNumber(Code(code), number)
            case [Code.NO_NUMBERS, limit]:
                return QueueNumber(Code.NO_NUMBERS, reached=None if limit == _NONE else limit)
            case [code]:
                return QueueNumber(Code(code))
            case _:
                raise AssertionError(f"join_queue answered {answer}")

    async def give_numbers(self, shard: Shard, start: int, limit: int) -> bool:
        """Give the queue the numbers after `start` up to `limit`; False when it has as many."""
        code, *_ = await self._call("give_numbers", shard, [shard.fence, start, limit])
        return Code(code) is Code.DONE

    async def claim(
        self,
        shard: Shard,
        candidate: str,
        place: int,
        rules: WaitingRoomRules,
        *,
        has_passed: bool,
    ) -> Claim:
        """Give a candidate a place for the ticket of `place`, or say which pass it has."""
        times_ms = (rules.pass_ttl_s * 1000, rules.idle_s * 1000)
        args: list[str | int] = [shard.fence, candidate, place, *times_ms, int(has_passed)]
        code, *granted = await self._call("claim_place", shard, args)
        return Claim(Code(code), *granted)

    async def finish(self, shard: Shard, candidate: str) -> bool:
        """Free the place of a candidate; False when there was none."""
        code, *_ = await self._call("finish_place", shard, [shard.fence, candidate])
        return Code(code) is Code.DONE

    async def counts(self, shard: Shard) -> Counts:
        """Count who is in the room and beyond it."""
        _, last, places, drawn, _ = await self._call("count_room", shard, [shard.fence])
        return Counts(None if last == _NONE else last, places, drawn)

    async def _call(self, name: str, shard: Shard, args: Sequence[str | int]) -> list[Any]:
        script = self._scripts[name]
        keys = shard.keys_for(script.shard_keys)
        answer = await self._runner.call(ScriptCall(script, keys, args))
        if answer[0] == Code.NOT_READY:
            raise NotReady(f"shard {shard.tag} is not open under epoch {shard.epoch}")
        return answer
