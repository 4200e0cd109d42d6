"""Ceilings in Postgres: no seat is booked beyond one, whatever Redis said."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping

import pytest

from quota_service.domain.exam import Exam
from quota_service.domain.payment import RefundReason
from quota_service.ledger.errors import Oversold
from quota_service.ledger.quotas import count_seats
from quota_service.settings import Settings
from tests.support.exams import make_exam
from tests.support.ledgers import BOOKED, LedgerUnderTest, open_books, refund

SOLD_OUT = refund(RefundReason.SOLD_OUT)
SEATS = {
    "jinan": {"general": 9, "qms": 9, "ems": 9, "service": 9},
    "xian": {"qms": 9, "ems": 9},
}
CEILINGS = {("jinan", "day1-pm"): 2, ("xian", "day1-pm"): 1}


def limited(ceilings: Mapping[tuple[str, str], int] | None = None) -> Exam:
    """Return an exam whose session `day1-pm` has the subjects qms and ems under ceilings."""
    exam = make_exam(seats=SEATS)
    return dataclasses.replace(exam, ceilings=CEILINGS if ceilings is None else ceilings)


@pytest.fixture
async def books(settings: Settings) -> AsyncIterator[LedgerUnderTest]:
    """The ledger of an exam with ceilings."""
    async with open_books(settings, limited()) as opened:
        yield opened


async def counted(books: LedgerUnderTest) -> dict[str, int]:
    """Return what is counted under each ceiling; it has to be what its quotas have."""
    rows = await books.rows("SELECT venue || '/' || session, confirmed FROM ceilings")
    quotas = await books.rows(
        "SELECT venue || '/' || ceiling, sum(confirmed) FROM quotas"
        " WHERE ceiling IS NOT NULL GROUP BY 1"
    )
    found = dict(rows)
    assert found == {name: int(seats) for name, seats in quotas}
    return found


async def test_the_seat_too_many_under_a_ceiling_is_never_booked(books: LedgerUnderTest) -> None:
    ends = [
        await books.book(f"c-{i}", subjects, "jinan")
        for i, subjects in enumerate([("qms",), ("general", "ems"), ("ems",), ("service",)])
    ]

    assert ends == [BOOKED, BOOKED, SOLD_OUT, BOOKED]
    assert await counted(books) == {"jinan/day1-pm": 2, "xian/day1-pm": 0}
    assert await books.confirmed() == dict.fromkeys(
        ("jinan/general", "jinan/qms", "jinan/ems", "jinan/service"), 1
    )


async def test_of_one_group_the_first_have_the_seats_and_the_others_keep_their_commit(
    books: LedgerUnderTest,
) -> None:
    orders = [("qms",), ("ems", "general"), ("qms", "service"), ("service",)]

    ends = await asyncio.gather(
        *(books.book(f"c-{i}", subjects, "jinan") for i, subjects in enumerate(orders))
    )

    assert ends == [BOOKED, BOOKED, SOLD_OUT, BOOKED]
    assert books.groups()[1] == len(orders)
    assert (await counted(books))["jinan/day1-pm"] == 2
    await books.check_books()


async def test_groups_at_once_share_what_is_left_under_a_ceiling(settings: Settings) -> None:
    async with open_books(settings, limited({("jinan", "day1-pm"): 5})) as one:
        async with open_books(settings, one.exam) as other:
            ends = await asyncio.gather(
                *(
                    (one, other)[i % 2].book(f"c-{i}", (("qms", "ems")[i % 2],), "jinan")
                    for i in range(12)
                )
            )

        assert sorted(end == BOOKED for end in ends) == [False] * 7 + [True] * 5
        assert await counted(one) == {"jinan/day1-pm": 5}
        await one.check_books()


async def test_seats_that_move_or_go_back_are_counted_under_their_ceilings(
    books: LedgerUnderTest,
) -> None:
    await books.book("c-1", ("qms", "general"), "jinan")

    async with books.ledger.transaction() as connection:
        moved = {("exam-1", "jinan", "qms"): -1, ("exam-1", "xian", "qms"): 1}
        await count_seats(connection, books.ledger, moved)

    assert await counted(books) == {"jinan/day1-pm": 0, "xian/day1-pm": 1}
    with pytest.raises(Oversold):
        async with books.ledger.transaction() as connection:
            await count_seats(connection, books.ledger, {("exam-1", "xian", "ems"): 1})
    assert await counted(books) == {"jinan/day1-pm": 0, "xian/day1-pm": 1}


async def test_a_new_ceiling_counts_what_is_booked_and_is_refused_below_it(
    settings: Settings,
) -> None:
    async with open_books(settings, limited({})) as books:
        for i, subject in enumerate(("qms", "ems", "ems")):
            await books.book(f"c-{i}", (subject,), "jinan")

        with pytest.raises(Oversold):
            await set_ceilings(books, {("jinan", "day1-pm"): 2})
        await set_ceilings(books, {("jinan", "day1-pm"): 3, ("jinan", "day1-am"): 1})

        assert await counted(books) == {"jinan/day1-pm": 3, "jinan/day1-am": 0}
        assert await books.book("c-9", ("qms",), "jinan") == SOLD_OUT


async def test_a_ceiling_that_is_gone_limits_nothing_and_its_quotas_know_none(
    books: LedgerUnderTest,
) -> None:
    await books.book("c-1", ("qms",), "xian")
    assert await books.book("c-2", ("qms",), "xian") == SOLD_OUT

    await set_ceilings(books, {("jinan", "day1-pm"): 2})

    assert await counted(books) == {"jinan/day1-pm": 0}
    assert await books.book("c-3", ("qms",), "xian") == BOOKED


async def test_a_booking_that_waits_for_a_ceiling_being_made_is_counted_under_it(
    settings: Settings,
) -> None:
    """Its call began when there was none, and looked at the quotas as they were then."""
    async with open_books(settings, limited({})) as books:
        async with books.ledger.transaction() as connection:
            await books.exams.lock_quotas(connection, "exam-1")
            booking = asyncio.create_task(books.book("c-1", ("qms",), "jinan"))
            await books.waiting_for_a_lock()
            exam = dataclasses.replace(books.exam, ceilings={("jinan", "day1-pm"): 1})
            await books.exams.set_ceilings(connection, exam)

        assert await booking == BOOKED
        assert await counted(books) == {"jinan/day1-pm": 1}
        assert await books.book("c-2", ("ems",), "jinan") == SOLD_OUT


async def set_ceilings(books: LedgerUnderTest, ceilings: Mapping[tuple[str, str], int]) -> None:
    """Set the ceilings of the exam, as an import does."""
    async with books.ledger.transaction() as connection:
        await books.exams.lock_quotas(connection, "exam-1")
        await books.exams.set_ceilings(
            connection, dataclasses.replace(books.exam, ceilings=ceilings)
        )
