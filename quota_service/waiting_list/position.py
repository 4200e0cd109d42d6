"""What a candidate is told of its position in a waiting list: a band of it.

Entries before one leave the list all the time, and one that cannot be served in full is passed by
others, so an exact position would say more than it means.
"""

from dataclasses import dataclass

BANDS = (10, 50, 200, 1000, 5000)
"""The last position of each band; those beyond are in one of their own."""


@dataclass(frozen=True, slots=True)
class Band:
    """Positions from the first to the last; the last is None in the band of all others."""

    first: int
    last: int | None


def band_of(ahead: int) -> Band:
    """Return the band of the entry that so many wait before."""
    first = 1
    for last in BANDS:
        if ahead < last:
            return Band(first, last)
        first = last + 1
    return Band(first, None)
