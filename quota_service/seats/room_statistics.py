"""The statistics of a waiting room in Redis, and the load that the processes report there."""

from dataclasses import dataclass

from quota_service.domain.exam import Window
from quota_service.seats.calls import ShardScripts
from quota_service.seats.keys import Shard
from quota_service.seats.servers import Runners
from quota_service.waiting_room.signals import Report, Signals, parse_signals

_PROCESSES_MAX = 1000
_FORGET_MS = 10_000
"""A process that has not reported for so long is taken to be gone for good."""


@dataclass(frozen=True, slots=True)
class RoomStatistics:
    """A waiting room at one moment, by Redis's clock.

    `revision` and `registration` are of the definition in force. `places` are live; `claims` counts
    claims, `claimed` the candidates who ever made one; `drawn` estimates those in the draw.
    `last_number` was the last to be handed out under the shard's epoch, None before the first.
    """

    clock_ms: int
    revision: int
    registration: Window
    places: int
    claims: int
    claimed: int
    drawn: int
    last_number: int | None
    reports: tuple[Report, ...]

    @property
    def is_open(self) -> bool:
        """Whether registration has opened."""
        return self.clock_ms >= self.registration.opens_at_ms

    @property
    def is_over(self) -> bool:
        """Whether registration has closed."""
        return self.clock_ms >= self.registration.closes_at_ms


class RoomStatisticsStore:
    """Reads and reports to the rooms of one Redis.

    Raises NotReady when the shard is not open under the caller's epoch, and SeatsUnavailable.
    """

    def __init__(self, runners: Runners) -> None:
        self._calls = ShardScripts(runners)

    async def read(self, shard: Shard) -> RoomStatistics:
        """Free the places whose time is over and return the room's statistics."""
        answer = await self._calls.call("room_statistics", shard, [shard.fence, _FORGET_MS])
        _, clock_ms, revision, opens_at_ms, closes_at_ms, *rest = answer
        places, claims, claimed, drawn, epoch, last, reports = rest
        is_ours = epoch != "" and int(epoch) == shard.epoch
        triples = zip(reports[::3], reports[1::3], reports[2::3], strict=True)
        return RoomStatistics(
            clock_ms=clock_ms,
            revision=revision,
            registration=Window(opens_at_ms, closes_at_ms),
            places=places,
            claims=claims,
            claimed=claimed,
            drawn=drawn,
            last_number=int(last) if is_ours and last != "" else None,
            reports=tuple(
                Report(process, age_ms / 1000, parse_signals(text))
                for process, age_ms, text in triples
            ),
        )

    async def report(self, shard: Shard, process: str, signals: Signals) -> None:
        """Report the load of this process."""
        await self._calls.call(
            "report", shard, [shard.fence, process, signals.text(), _PROCESSES_MAX, _FORGET_MS]
        )
