"""The classes of work, in the order in which they matter; a route names its own."""

from dataclasses import dataclass
from enum import IntEnum


class Work(IntEnum):
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

    `share` of the limit is kept for the class alone. Of what is kept for nobody a class may borrow
    while less than `reach` of that is lent: the lower the class, the sooner it is refused.
    """

    share: float
    reach: float


PARTS: dict[Work, Part] = {
    Work.CONFIRM: Part(share=0.25, reach=0.0),  # a payment callback: money has moved already
    Work.RELEASE: Part(share=0.10, reach=1.0),  # release, checkout, change, refund: frees or pays
    Work.RESERVE: Part(share=0.20, reach=0.95),
    Work.OWN_READ: Part(share=0.04, reach=0.85),
    Work.PUBLIC_READ: Part(share=0.04, reach=0.75),
    Work.JOIN: Part(share=0.03, reach=0.60),
    Work.OPS: Part(share=0.05, reach=0.25),  # few, some long; what steers the day never waits
}
"""The part of each class. FREE has none: health has to answer, and a stream has a bound of its own.

CONFIRM has its share of the most the limit adapts to, beside the limit: payments mostly wait for
Postgres, and must not be refused because reservations made the limit shrink. What is kept for the
others adds up to somewhat less than half, so a rush of one class may use about three quarters.
"""

CAN_WAIT = frozenset({Work.RESERVE, Work.OWN_READ, Work.PUBLIC_READ, Work.JOIN})
"""What is refused when too many wait to be begun; all else waits."""
