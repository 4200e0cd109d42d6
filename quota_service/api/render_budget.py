"""Bounds the time that bodies take which nobody has asked for lately.

There are more filters than can be kept, and a large exam has large bodies: whoever asks for ever
new ones is not to have the time of everybody else. So they have a share of a process's time; what
is kept, and the bodies of exams of common size, cost nothing of it.
"""

import time
from collections.abc import Callable

from quota_service.domain.errors import Overloaded

_SHARE = 0.1
"""The part of a process's time."""
_BURST_S = 1.0
"""So much of the share may be used ahead of its time."""


class RenderBudget:
    """The time that is left, in one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._used_until_s = 0.0

    def take(self, cost_ms: int) -> None:
        """Take what a body is about to cost; raises Overloaded when nothing is left."""
        if not cost_ms:
            return
        now_s = self._clock()
        used_until_s = max(self._used_until_s, now_s)
        if used_until_s - now_s >= _BURST_S:
            raise Overloaded("too many ?subjects= that nobody asked for lately; ask again")
        self._used_until_s = used_until_s + cost_ms / 1000 / _SHARE
