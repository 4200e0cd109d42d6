"""How fast a caller may ask: a token bucket for each API key, and for each address without one.

The buckets are kept by each process and each has the full rate: the kernel deals connections, not
requests, to the processes, and a frontend keeps few connections, so a part of the rate for each
process would refuse a caller well under its limit. With N processes a caller may get up to N times
the rate. The header fields are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from typing import NamedTuple

from quota_service.settings import Settings

_ROUNDING_S = 1e-6
"""How far sums of intervals may be off; a request that is due must not be refused for it."""


class Taken(NamedTuple):
    """Whether a request may go on, what is left, and in how many seconds all of it is back."""

    is_allowed: bool
    remaining: int
    reset_s: int


class RateLimit:
    """Token buckets under one policy: `rate_per_s`, of which `burst_s` seconds may come at once.

    A bucket is one number, the moment at which it will be full again. The table is bounded: what
    was not used for longest is forgotten first, as a full bucket is what a new caller has anyway.
    """

    def __init__(
        self,
        name: str,
        *,
        rate_per_s: int,
        burst_s: int,
        callers_max: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_s = 1 / rate_per_s if rate_per_s else 0.0
        self._rate_per_s = rate_per_s
        self._burst_s = float(burst_s)
        self._callers_max = callers_max
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._name = f'"{name}"'
        self.policy = f'"{name}";q={rate_per_s * burst_s};w={burst_s}'

    @classmethod
    def of(cls, settings: Settings, name: str, rate_per_s: int) -> "RateLimit":
        """Return the limit the settings ask for, with a rate of its own."""
        return cls(
            name,
            rate_per_s=rate_per_s,
            burst_s=settings.rate_limit_burst_s,
            callers_max=settings.rate_limit_callers_max,
        )

    @property
    def is_off(self) -> bool:
        """Whether nothing is limited."""
        return self._rate_per_s == 0

    @property
    def rate_per_s(self) -> int:
        """Requests a second."""
        return self._rate_per_s

    @property
    def callers(self) -> int:
        """How many callers the table knows."""
        return len(self._full_at)

    def take(self, caller: str, requests: int = 1) -> Taken:
        """Take a request out of a caller's bucket, if it has one, or one that counts as several.

        One that counts as more than a full bucket empties it, and is repaid before the next.
        """
        now = self._clock()
        table = self._full_at
        full_at = table.get(caller, 0.0)
        cost_s = requests * self._interval_s
        wait_s = (full_at - now if full_at > now else 0.0) + cost_s
        is_allowed = wait_s <= self._burst_s + _ROUNDING_S or (requests > 1 and full_at <= now)
        if not is_allowed:
            wait_s -= cost_s
        table[caller] = now + wait_s
        table.move_to_end(caller)
        if len(table) > self._callers_max:
            table.popitem(last=False)
        remaining = int((self._burst_s - wait_s + _ROUNDING_S) * self._rate_per_s)
        return Taken(is_allowed, max(0, remaining), ceil(wait_s - _ROUNDING_S))

    def fields(self, taken: Taken) -> tuple[tuple[str, str], ...]:
        """Return the header fields that tell a caller of its limit."""
        return (
            ("RateLimit-Policy", self.policy),
            ("RateLimit", f"{self._name};r={taken.remaining};t={taken.reset_s}"),
        )
