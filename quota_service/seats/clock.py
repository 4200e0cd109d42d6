"""Redis's clock in this process: read once a second, and advanced by the host's in between."""

import time
from contextlib import suppress

from quota_service.domain.errors import NotReady, QuotaError
from quota_service.seats.servers import Runners


class RedisClock:
    """What the clock of Redis says, without asking it."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners
        self._offset_ms: int | None = None

    def now_ms(self) -> int:
        """Return the time by Redis's clock; NotReady while it was never read.

        The host's own clock may be minutes ahead, and what must not happen early would.
        """
        if self._offset_ms is None:
            raise NotReady("Redis's clock has not been read yet")
        return round(time.time() * 1000) + self._offset_ms

    def earliest_ms(self) -> int:
        """Return the same, and 0 while it was never read: nothing has begun or ended then."""
        return 0 if self._offset_ms is None else self.now_ms()

    def estimate_ms(self) -> int:
        """Return the same as nearly as it is known: by the host's clock while it was never read."""
        return round(time.time() * 1000) + (self._offset_ms or 0)

    async def read(self) -> None:
        """Read Redis's clock; raises SeatsUnavailable."""
        asked_ms = time.time() * 1000
        redis_ms = await self._runners.clock_ms()
        self._offset_ms = round(redis_ms - (asked_ms + time.time() * 1000) / 2)

    async def learn(self) -> None:
        """Read it if it was never read; a fault leaves it unknown."""
        if self._offset_ms is None:
            with suppress(QuotaError):
                await self.read()
