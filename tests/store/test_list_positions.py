"""Positions in a waiting list: by venue and subject, for all who look at once."""

import asyncio

import pytest

from quota_service.registration.list_positions import ListPositions, PositionLimits
from quota_service.waiting_list.entry import Entry
from quota_service.waiting_list.position import Band, band_of
from tests.support.ledgers import LedgerUnderTest
from tests.support.waiting_lists import new_entry, open_list, waiting_entry


async def joined(books: LedgerUnderTest, *wishes: tuple[str, str]) -> ListPositions:
    """Let entries join, each for subjects at venues, written with spaces between."""
    lists = await open_list(books)
    for i, (subjects, venues) in enumerate(wishes):
        chosen = tuple(subjects.split())
        new = new_entry(
            books, f"c-{i}", subjects=chosen, sessions=chosen, venues=tuple(venues.split())
        )
        await lists.join(new)
    return ListPositions(lists, PositionLimits())


def entry(number: int, subjects: str, venues: str) -> Entry:
    chosen = tuple(subjects.split())
    return waiting_entry(number, chosen, chosen, tuple(venues.split()))


async def test_a_position_is_the_one_at_the_venue_where_fewest_wait_before(
    books: LedgerUnderTest,
) -> None:
    positions = await joined(
        books, ("general", "jinan"), ("qms", "jinan"), ("general", "jinan xian"), ("ems", "xian")
    )

    assert await positions.ahead(entry(5, "general", "jinan")) == 2
    assert await positions.ahead(entry(5, "general", "jinan xian")) == 1
    assert await positions.ahead(entry(5, "general qms", "jinan")) == 2
    assert await positions.ahead(entry(5, "general", "jinan beijing")) == 0
    assert await positions.ahead(entry(3, "general", "jinan")) == 1


async def test_the_estimate_counts_offers_of_a_day_by_quota(books: LedgerUnderTest) -> None:
    before = await joined(books, *[("general", "jinan")] * 3, ("qms", "xian"))
    asked = entry(9, "general qms", "jinan")

    assert await before.offered_within_a_day(asked) is None
    async with books.ledger.transaction() as connection:
        await connection.execute(
            "UPDATE waiting_list_entries SET state = 'offered', offers = 1, reservation = serial,"
            " offer_deadline = now(),"
            " offered_at = now() - CASE WHEN number = 1 THEN '2 days' ELSE '0' END::interval"
            " WHERE number < 4"
        )

    after = ListPositions(await open_list(books), PositionLimits())
    assert await after.offered_within_a_day(asked) == 2
    assert await after.offered_within_a_day(entry(9, "qms", "xian")) is None


async def test_a_list_is_read_once_for_all_who_look(books: LedgerUnderTest) -> None:
    lists = await open_list(books)
    await lists.join(new_entry(books))
    positions = ListPositions(lists, PositionLimits(interval_s=3600))

    looks = [positions.ahead(entry(n, "general", "jinan")) for n in range(1, 200)]
    assert set(await asyncio.gather(*looks)) == {0, 1}
    async with books.ledger.transaction() as connection:
        await connection.execute("DELETE FROM waiting_list_entries")

    assert await positions.ahead(entry(9, "general", "jinan")) == 1


@pytest.mark.parametrize(
    ("ahead", "band"),
    [
        (0, Band(1, 10)),
        (9, Band(1, 10)),
        (10, Band(11, 50)),
        (49, Band(11, 50)),
        (50, Band(51, 200)),
        (4999, Band(1001, 5000)),
        (5000, Band(5001, None)),
        (10**6, Band(5001, None)),
    ],
)
def test_a_position_is_told_as_a_band(ahead: int, band: Band) -> None:
    assert band_of(ahead) == band
