"""A moment by which a piece of work must be over, shared by all the steps of that work.

Starting a server is several waits in a row (a lock, a leftover, `initdb`, the first answer). One
deadline handed from step to step keeps the promise of `timeout_s` for the whole, which a timeout
for each step would not.
"""

import time
from collections.abc import Callable

__all__ = ["POLL_INTERVAL_S", "Deadline", "poll_until"]

POLL_INTERVAL_S = 0.02
"""Pause between two looks at something the operating system gives no event for, such as another
process's end.
"""


class Deadline:
    """The end of `timeout_s` seconds that begin now."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._ends_at_s = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self._ends_at_s - time.monotonic())

    def is_over(self) -> bool:
        """Tell whether no time is left."""
        return self.remaining_s() == 0.0

    def at_most(self, timeout_s: float) -> "Deadline":
        """Return a deadline `timeout_s` seconds from now, or this one's end if that comes first."""
        return Deadline(min(timeout_s, self.remaining_s()))


def poll_until(condition: Callable[[], bool], deadline: Deadline) -> bool:
    """Look at `condition`, at least once, until it holds or the deadline is over.

    Returns whether it held.
    """
    while not condition():
        if deadline.is_over():
            return False
        time.sleep(min(POLL_INTERVAL_S, deadline.remaining_s()))
    return True
