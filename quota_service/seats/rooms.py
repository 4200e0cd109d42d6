"""The waiting room in Redis: one method a script, in its own words.

As in the seat store, methods return outcomes and raise NotReady when the shard is not open under
the caller's epoch, and SeatsUnavailable when Redis fails.
"""

from dataclasses import dataclass

from quota_service.domain.exam import Window
from quota_service.seats.calls import ShardScripts
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.servers import Runners
from quota_service.waiting_room.status import Counts

_NONE = -1
"""In answers: there is no number."""


@dataclass(frozen=True, slots=True)
class Claim:
    """How a claim ended: its code and, with a place, the pass that goes with it.

    `place` is that of the ticket the pass was given for, `epoch` the shard's at that time.
    `bound_ms` is when registration opens or did close, with NOT_OPEN and CLOSED.
    """

    code: Code
    place: int = 0
    expires_ms: int = 0
    epoch: int = 0
    bound_ms: int = 0


@dataclass(frozen=True, slots=True)
class Joining:
    """How joining ended: DONE or DONE_BEFORE with the number, QUEUE_FULL, NO_NUMBERS, CLOSED.

    The number is 0 in the draw, which `needs_entry` first where it has a source. With NO_NUMBERS
    `reached` is the limit of the block that is used up, or None when no block counts under this
    epoch of the shard. With CLOSED `closed_ms` is when registration ended.
    """

    code: Code
    number: int = 0
    needs_entry: bool = False
    reached: int | None = None
    closed_ms: int = 0


class RoomStore:
    """The waiting rooms of one Redis."""

    def __init__(self, runners: Runners) -> None:
        self._calls = ShardScripts(runners)

    async def join(
        self, shard: Shard, candidate: str, *, late_through: int, numbers_max: int
    ) -> Joining:
        """Give a candidate part in the draw while it is not closed, else a number."""
        args: list[str | int] = [shard.fence, candidate, late_through, numbers_max]
        answer = await self._calls.call("join_room", shard, args)
        match answer:
            case [Code.DONE | Code.DONE_BEFORE as code, number]:
                return Joining(Code(code), number)
            case [Code.DONE, number, _]:
                return Joining(Code.DONE, number, needs_entry=True)
            case [Code.NO_NUMBERS, limit]:
                return Joining(Code.NO_NUMBERS, reached=None if limit == _NONE else limit)
            case [Code.CLOSED, closed_ms]:
                return Joining(Code.CLOSED, closed_ms=closed_ms)
            case [code]:
                return Joining(Code(code))
            case _:
                raise AssertionError(f"join_room answered {answer}")

    async def give_numbers(self, shard: Shard, start: int, limit: int) -> bool:
        """Give the queue the numbers after `start` up to `limit`; False when it has as many."""
        code, *_ = await self._calls.call("give_numbers", shard, [shard.fence, start, limit])
        return Code(code) is Code.DONE

    async def claim(self, shard: Shard, candidate: str, place: int, *, has_passed: bool) -> Claim:
        """Give a candidate a place for the ticket of `place`, or say which pass it has."""
        args: list[str | int] = [shard.fence, candidate, place, int(has_passed)]
        match await self._calls.call("claim_place", shard, args):
            case [Code.NOT_OPEN | Code.CLOSED as code, bound_ms]:
                return Claim(Code(code), bound_ms=bound_ms)
            case [code, *granted]:
                return Claim(Code(code), *granted)
            case answer:
                raise AssertionError(f"claim_place answered {answer}")

    async def finish(self, shard: Shard, candidate: str) -> bool:
        """Free the place of a candidate; False when there was none."""
        code, *_ = await self._calls.call("finish_place", shard, [shard.fence, candidate])
        return Code(code) is Code.DONE

    async def counts(self, shard: Shard, *, is_draw_closed: bool) -> Counts:
        """Count the room; its draw is closed where it is known to be, or has to be."""
        answer = await self._calls.call("count_room", shard, [shard.fence, int(is_draw_closed)])
        _, last, drawn, opens_at_ms, closes_at_ms, is_closed = answer
        return Counts(
            last_number=None if last == _NONE else last,
            drawn=drawn,
            registration=Window(opens_at_ms, closes_at_ms),
            is_draw_closed=bool(is_closed),
        )
