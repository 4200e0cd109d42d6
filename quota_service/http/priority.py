"""The classes of work, in the order in which they matter; a route names its own."""

from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """A class of work; a smaller number matters more."""

    CONFIRM = 0
    RELEASE = 1
    RESERVE = 2
    OWN_READ = 3
    PUBLIC_READ = 4
    JOIN = 5
    OPS = 6
    FREE = 7

    @property
    def label(self) -> str:
        """How metrics and settings name it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Part:
    """A class's part in the limit.

    `share` of the limit is guaranteed to the class. The rest is shared: a class may take of it
    while less than `ceiling` of it is in use, so that the lower class is refused sooner.
    """

    share: float
    ceiling: float


PARTS: dict[Priority, Part] = {
    Priority.CONFIRM: Part(share=0.25, ceiling=0.0),  # a payment callback: money has moved already
    Priority.RELEASE: Part(share=0.10, ceiling=1.0),  # frees seats, or leads to a payment
    Priority.RESERVE: Part(share=0.20, ceiling=0.95),
    Priority.OWN_READ: Part(share=0.04, ceiling=0.85),
    Priority.PUBLIC_READ: Part(share=0.04, ceiling=0.75),
    Priority.JOIN: Part(share=0.03, ceiling=0.60),
    Priority.OPS: Part(share=0.05, ceiling=0.25),  # few, some long; ops never wait
}
"""The part of each class. FREE has none: health has to answer, and a stream has a bound of its own.

CONFIRM has its share of the most the limit adapts to, beside the limit: payments mostly wait for
Postgres, and must not be refused because reservations made the limit shrink. What is guaranteed to
the others adds up to somewhat less than half, so a rush of one class may use about three quarters.
"""

CAN_WAIT = frozenset({Priority.RESERVE, Priority.OWN_READ, Priority.PUBLIC_READ, Priority.JOIN})
"""What is refused when too many wait to be begun; all else waits."""
