"""The counters of booked seats, under the constraints that none is sold twice (P1)."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from quota_service.ledger.errors import LedgerRefused
from quota_service.ledger.pool import Ledger

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection


async def count_seats(
    connection: "Connection", ledger: Ledger, seats: Mapping[tuple[str, str, str], int]
) -> None:
    """Add seats, which may be fewer than none, to the booked ones of (exam, venue, subject).

    They are counted under the ceilings of these quotas too. One row a quota, then one a ceiling,
    each kind locked in one order. Raises Oversold, and LedgerRefused for a quota that is not there.
    """
    changed = {quota: n for quota, n in seats.items() if n}
    if not changed:
        return
    exams, venues, subjects = (list(column) for column in zip(*changed, strict=True))
    counted = await connection.fetch(
        ledger.query["count_confirmed"], exams, venues, subjects, list(changed.values())
    )
    if len(counted) != len(changed):
        raise LedgerRefused("the ledger has no such quota")
    under: Counter[tuple[str, str, str]] = Counter()
    for row in counted:
        if row["ceiling"] is not None:
            under[row["exam"], row["venue"], row["ceiling"]] += row["seats"]
    if not under:
        return
    exams, venues, sessions = (list(column) for column in zip(*under, strict=True))
    found = await connection.fetch(
        ledger.query["count_under_ceilings"], exams, venues, sessions, list(under.values())
    )
    if len(found) != len(under):
        raise LedgerRefused("the ledger has no such ceiling")
