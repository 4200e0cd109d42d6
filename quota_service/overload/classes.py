"""The classes of work, in the order in which they matter, and which class a call belongs to.

The class has to be known from the request line alone, before anything of a request is parsed, so it
is told from method and address: of a route those of the table, and of bytes that are not parsed yet
only where they can be read in one way (`request_head`).
"""

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
"""What is turned away when too many wait to be read; the rest is served out of turn then."""

_RESERVATIONS = b"/v1/reservations/"
_EXAMS = b"/v1/exams/"
_OPS_READS = (b"/bookings.csv", b"/audit", b"/refunds-due", b"/seat-releases")
_OPS_LISTS = (b"/v1/refunds-due", b"/v1/unreadable-payments")
_OPS_STEPS = (b"/pause", b"/resume", b"/extend-holds", b"/seat-releases", b"/settle", b"/archive")


def work_of(method: bytes, target: bytes) -> Work:
    """Return the class of a request by its request line; `target` may have a query.

    What is not known by its address is a public read, so that no made-up address gets a better
    place than it would have had.
    """
    path = target if (mark := target.find(b"?")) < 0 else target[:mark]
    reads = method in {b"GET", b"HEAD"}
    if path.startswith(_EXAMS):
        return _read_of_exam(path) if reads else _step_of_exam(method, path)
    if path.startswith(_RESERVATIONS):
        return Work.OWN_READ if reads else Work.RELEASE
    if path == b"/v1/payment-callbacks":
        return Work.CONFIRM
    if path in {b"/livez", b"/readyz"}:
        return Work.FREE
    if path.startswith(_OPS_LISTS):
        return Work.OPS
    return Work.PUBLIC_READ


def _read_of_exam(path: bytes) -> Work:
    if path.endswith(b"/availability/stream"):
        return Work.FREE
    if b"/candidates/" in path:
        return Work.OWN_READ
    if path.endswith(_OPS_READS):
        return Work.OPS
    return Work.PUBLIC_READ


def _step_of_exam(method: bytes, path: bytes) -> Work:
    if method == b"POST" and path.endswith(b"/reservations"):
        return Work.RESERVE
    if b"/waiting-room/claims" in path:
        # A candidate whose turn it is reserves next: the two are one piece of work.
        return Work.RESERVE
    if method == b"POST" and path.endswith(b"/waiting-room"):
        return Work.JOIN
    if method == b"PUT" or path.endswith(_OPS_STEPS) or b"/seat-releases/" in path:
        return Work.OPS
    return Work.PUBLIC_READ
