"""The worker of seat releases: carries each out within a second of its time.

It asks Postgres for what is next, unfinished releases of dead processes included, and sleeps
until then: for half a second at most, as ops can plan one for the next moment. Redis's clock
decides, which candidates count down by. A server that hangs holds up its own exams alone.
"""

from collections.abc import Mapping, Sequence

from quota_service.ledger.seat_releases import UnfinishedRelease
from quota_service.registration.release_seats import carry_out
from quota_service.registration.stores import ExamStores
from quota_service.seats.keys import Shard
from quota_service.workers.loop import ServersApart, each_of

_INTERVAL_S = 0.5
_SOON_S = 0.01
"""The shortest pause: the next one is due now, or a moment later."""
_RELEASES_MAX = 100
"""Releases that one round looks at."""
_AT_ONCE = 8


class SeatReleaseWorker:
    """The releases whose time has come, to a bound, a round."""

    name = "seat-releases"

    def __init__(self, stores: ExamStores) -> None:
        self._stores = stores
        self.interval_s = _INTERVAL_S
        self._servers = ServersApart(self._server_of, self._carry_out)

    async def run_once(self) -> Mapping[str, int]:
        """Carry out what is due; returns {"released": seats}."""
        unfinished = await self._stores.seat_releases.unfinished(_RELEASES_MAX)
        now_ms = self._stores.clock.earliest_ms()
        due = [each for each in unfinished if each.is_done or each.at_ms <= now_ms]
        to_come_s = [(each.at_ms - now_ms) / 1000 for each in unfinished if each.at_ms > now_ms]
        self.interval_s = max(_SOON_S, min([*to_come_s, _INTERVAL_S]))
        return {"released": 0, **await self._servers.run_once(due)}

    def _server_of(self, release: UnfinishedRelease) -> str:
        return self._stores.seats.server_of(Shard(release.exam, 0))

    async def _carry_out(self, due: Sequence[UnfinishedRelease]) -> Mapping[str, int]:
        async def one(release: UnfinishedRelease) -> Mapping[str, int]:
            now_ms = self._stores.clock.now_ms
            return {"released": await carry_out(self._stores, release, now_ms)}

        return await each_of(due, one, at_once=_AT_ONCE)
