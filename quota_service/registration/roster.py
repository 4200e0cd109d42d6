"""Roster with holds: who sits at a venue or has an unpaid seat there, from both stores."""

from collections.abc import AsyncIterator

from quota_service.domain.exam import Exam
from quota_service.ledger.export import RosterLine, roster_pages
from quota_service.registration.live_holds import live_holds
from quota_service.registration.stores import MaintenanceStores


async def roster_with_holds(
    stores: MaintenanceStores, exam: Exam, venue: str | None, session: str | None, page_max: int
) -> AsyncIterator[list[RosterLine]]:
    """Yield the lines of bookings by candidate, then those of holds, each reservation once.

    A hold is there as it was at the first page, unless it is among the bookings by the last one.
    Raises LedgerUnavailable, also in the middle; NotReady and SeatsUnavailable before the first.
    """
    found = await live_holds(stores, exam, venue, frozenset(exam.session_of))
    held = {each.id: each for each in found if not each.state.is_booked}
    async for page in roster_pages(stores.ledger, exam.id, venue, session, page_max):
        for line in page:
            held.pop(line.reservation, None)
        yield page
    lines = [
        RosterLine(each.venue, sitting, subject, each.candidate, each.id, each.state)
        for each in sorted(held.values(), key=lambda hold: hold.candidate)
        for subject, sitting in zip(each.subjects, each.sessions, strict=True)
        if session in {None, sitting}
    ]
    for start in range(0, len(lines), page_max):
        yield lines[start : start + page_max]
