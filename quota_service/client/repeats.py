"""When a call is sent again: how often, how long, and after which pause."""

import random
from dataclasses import dataclass

import aiohttp

from quota_service.client.call import Call
from quota_service.client.errors import NoAnswer, ProblemError

_NOT_STARTED = frozenset({"overloaded", "rate-limited"})
"""Problems that say that nothing was done: any call can be sent again."""
_NOT_SURE = frozenset({"not-ready"})
"""Problems after which a repeatable call can be sent again."""
_PROXY_FAULTS = frozenset({429, 502, 503, 504})
"""Statuses of answers of a proxy that has no problem documents."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """Bounds of the repeats of one call; times in seconds.

    A pause is what `Retry-After` asks for, or grows from `pause_s` to `pause_max_s`; chance makes
    it up to half as long again, so that a crowd does not come back as one.
    """

    tries_max: int = 6
    within_s: float = 30.0
    """No try begins later than this after the first."""
    pause_s: float = 0.2
    pause_max_s: float = 5.0

    def pause_after(self, call: Call, error: NoAnswer | ProblemError, tries: int) -> float | None:
        """Return the seconds until the next try after so many; None where there is none."""
        if tries >= self.tries_max or not _may_repeat(call, error):
            return None
        pause_s = min(self.pause_max_s, self.pause_s * 2.0 ** (tries - 1))
        if isinstance(error, ProblemError) and error.retry_after_s is not None:
            pause_s = max(pause_s, error.retry_after_s)
        return pause_s * random.uniform(1.0, 1.5)  # noqa: S311  spreads callers


def _may_repeat(call: Call, error: NoAnswer | ProblemError) -> bool:
    if isinstance(error, NoAnswer):
        # Where there was no connection, nothing was sent.
        return call.is_repeatable or isinstance(error.__cause__, aiohttp.ClientConnectorError)
    if error.slug in _NOT_STARTED:
        return True
    is_fault = error.slug in _NOT_SURE or (not error.slug and error.status in _PROXY_FAULTS)
    return call.is_repeatable and is_fault
