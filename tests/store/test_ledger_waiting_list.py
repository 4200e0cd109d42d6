"""Waiting lists in Postgres: numbers without gaps, one live entry each, and what rows may hold."""

import asyncio

import pytest

from quota_service.domain.exam import QuietHours
from quota_service.ledger.errors import LedgerRefused
from quota_service.ledger.waiting_list import JoinEnd, Joining
from tests.support.ledgers import LedgerUnderTest, open_books
from tests.support.waiting_lists import new_entry, open_list

END = "UPDATE waiting_list_entries SET state = $1, ended_at = now()"
OFFER = (
    "UPDATE waiting_list_entries SET state = 'offered', offers = 1, reservation = $1,"
    " offer_deadline = now(), offered_at = now() WHERE candidate = $2"
)
COPY = (
    "INSERT INTO waiting_list_entries (exam, serial, candidate, number, subjects, sessions, venues,"
    " draw_window, request_hash, key_id, request_id, state, ended_at)"
    " SELECT exam, $1, $2, $3, subjects, sessions, venues, draw_window, '', '', '', $4,"
    " CASE WHEN $4 <> 'waiting' THEN now() END FROM waiting_list_entries"
)

REFUSED = {
    "waiting_list_entries_state": (END, "lost"),
    "waiting_list_entries_end": ("UPDATE waiting_list_entries SET state = 'left'",),
    "waiting_list_entries_offered": (END, "served"),
    "waiting_list_entries_offer": ("UPDATE waiting_list_entries SET offers = 1",),
    "waiting_list_entries_wanted": ("UPDATE waiting_list_entries SET sessions = '{}'",),
    "waiting_list_entries_number": ("UPDATE waiting_list_entries SET number = 0",),
    "waiting_list_entries_rank": ("UPDATE waiting_list_entries SET rank = 'first'",),
    "waiting_list_entries_quiet_from": (
        "UPDATE waiting_list_entries SET quiet_from = '24:00', quiet_to = '07:00'",
    ),
    "waiting_list_entries_quiet_hours": ("UPDATE waiting_list_entries SET quiet_to = '07:00'",),
    "waiting_list_entries_pk": (COPY, None, "c-2", 2, "left"),
    "waiting_list_entries_one_number": (COPY, "other", "c-2", 1, "left"),
    "waiting_list_entries_one_live": (COPY, "other", "c-1", 2, "waiting"),
    "waiting_lists_lease": ("UPDATE waiting_lists SET leader = 'worker'",),
    "waiting_lists_length_max": ("UPDATE waiting_lists SET length_max = 0",),
}


async def test_an_entry_is_read_as_it_was_made(books: LedgerUnderTest) -> None:
    lists = await open_list(books)
    new = new_entry(books, until_ms=4_000_000_000_000, quiet_hours=QuietHours("22:00", "07:30"))

    joined = await lists.join(new)

    assert joined.end is JoinEnd.JOINED
    assert joined.entry is not None
    made = joined.entry
    assert (made.number, made.venues, made.until_ms) == (1, new.venues, new.until_ms)
    assert (made.quiet_hours, made.request_hash) == (new.quiet_hours, new.request_hash)
    assert await lists.find(new.exam, new.serial) == made
    assert await lists.of_candidate(new.exam, new.candidate) == [made]
    assert await lists.page(new.exam, 0, 10) == [made]
    assert await lists.page(new.exam, 1, 10) == []


async def test_numbers_have_no_gap_and_follow_the_answers(books: LedgerUnderTest) -> None:
    lists = await open_list(books)

    async def one_after_the_other(task: int) -> list[int]:
        numbers = []
        for i in range(20):
            # Each third join is refused, and takes no number.
            longest = 101 if i % 3 == 2 else 1
            joined = await lists.join(new_entry(books, f"c-{task}-{i}", longest=longest))
            numbers += [] if joined.entry is None else [joined.entry.number]
        return numbers

    async with open_books(books.settings, books.exam) as other:
        beside = await open_list(other)
        told, _ = await asyncio.gather(
            asyncio.gather(*map(one_after_the_other, range(10))),
            asyncio.gather(*(beside.join(new_entry(books, f"d-{i}")) for i in range(60))),
        )

    entries = await lists.page(books.exam.id, 0, 1000)
    assert [entry.number for entry in entries] == list(range(1, 10 * 14 + 60 + 1))
    assert all(numbers == sorted(numbers) for numbers in told)


async def test_a_repeat_finds_its_entry_and_another_request_the_live_one(
    books: LedgerUnderTest,
) -> None:
    lists = await open_list(books)
    new = new_entry(books)
    first = (await lists.join(new)).entry

    assert await lists.join(new) == Joining(JoinEnd.REPEATED, first)
    assert await lists.join(new_entry(books)) == Joining(JoinEnd.LISTED, first)

    async with books.ledger.transaction() as connection:
        await connection.execute(END, "left")
    again = await lists.join(new_entry(books))
    assert again.entry is not None
    assert (again.end, again.entry.number) == (JoinEnd.JOINED, 2)


@pytest.mark.parametrize(
    ("change", "end"),
    [
        ("UPDATE waiting_lists SET is_suspended = true", JoinEnd.SUSPENDED),
        ("UPDATE waiting_lists SET length_max = 4", JoinEnd.FULL),
        ("UPDATE shards SET state = 'fenced'", JoinEnd.FENCED),
        ("UPDATE shards SET epoch = 2", JoinEnd.FENCED),
        ("DELETE FROM waiting_lists", JoinEnd.OFF),
        ("UPDATE exams SET revision = revision + 1", JoinEnd.STALE),
    ],
)
async def test_a_join_is_refused_by_what_is_committed(
    books: LedgerUnderTest, change: str, end: JoinEnd
) -> None:
    lists = await open_list(books)
    async with books.ledger.transaction() as connection:
        await connection.execute(change)

    assert await lists.join(new_entry(books, longest=5)) == Joining(end)
    assert await lists.page(books.exam.id, 0, 10) == []


@pytest.mark.parametrize("name", REFUSED)
async def test_what_no_entry_may_be_is_refused_by_name(books: LedgerUnderTest, name: str) -> None:
    lists = await open_list(books)
    entry = (await lists.join(new_entry(books))).entry
    assert entry is not None
    statement, *args = REFUSED[name]

    with pytest.raises(LedgerRefused) as refused:
        async with books.ledger.transaction() as connection:
            await connection.execute(statement, *(entry.serial if a is None else a for a in args))

    assert refused.value.constraint == name


async def test_no_two_entries_have_one_reservation(books: LedgerUnderTest) -> None:
    lists = await open_list(books)
    await lists.join(new_entry(books, "c-1"))
    await lists.join(new_entry(books, "c-2"))
    async with books.ledger.transaction() as connection:
        await connection.execute(OFFER, "exam-1.0.r", "c-1")

    with pytest.raises(LedgerRefused, match="waiting_list_entries_by_reservation"):
        async with books.ledger.transaction() as connection:
            await connection.execute(OFFER, "exam-1.0.r", "c-2")
