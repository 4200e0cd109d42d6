"""The constraints that keep the promises, each by its name, whatever the code above them does."""

import asyncpg
import pytest

from quota_service.domain.errors import LedgerUnavailable
from quota_service.domain.exam import Quota
from quota_service.ledger.errors import (
    AlreadyBooked,
    EventRecorded,
    LedgerRefused,
    Oversold,
    SessionTaken,
    translate,
)
from tests.support.ledgers import LedgerUnderTest

BOOKING = (
    "INSERT INTO bookings (reservation, exam, candidate, venue, amount, currency, event,"
    " reserved_at) VALUES ($1, 'exam-1', 'candidate-1', 'jinan', 1, 'CNY', $2, now())"
)
EVENT = (
    "INSERT INTO payment_events (event, reservation, status, outcome, reason, amount, currency,"
    " paid_at, provider_reference, body_hash)"
    " VALUES ($1, 'r', $2, $3, $4, 1, 'CNY', now(), $1 || '-reference', 'h')"
)
ITEM = (
    "INSERT INTO booking_items (reservation, exam, candidate, session, venue, subject, active)"
    " VALUES ($1, 'exam-1', 'candidate-1', 'day1-am', 'jinan', $2, $3)"
)
OVERSELL = "UPDATE quotas SET confirmed = capacity + 1 WHERE venue = 'jinan'"

REFUSED = {
    "quotas_never_oversold": (OVERSELL,),
    "quotas_confirmed": ("UPDATE quotas SET confirmed = -1 WHERE venue = 'jinan'",),
    "quotas_capacity": ("UPDATE quotas SET capacity = -1, confirmed = -2 WHERE venue = 'jinan'",),
    "payment_events_status": (EVENT, "e", "lost", "recorded", None),
    "payment_events_ends": (EVENT, "e", "captured", "lost", None),
    "payment_events_repeats": ("UPDATE payment_events SET repeats = 'event-a'",),
    "payment_events_reason": (EVENT, "e", "captured", "refund_due", None),
    "bookings_exam_fk": (BOOKING.replace("'exam-1'", "'exam-2'"), "exam-1.0.r-9", "event-b"),
    "bookings_event_fk": (BOOKING, "exam-1.0.r-9", "never recorded"),
    "shards_state": ("UPDATE shards SET state = 'lost'",),
    "shards_epoch": ("UPDATE shards SET epoch = 0",),
}
HAVE_ERRORS = {
    "quotas_never_oversold": (Oversold, (OVERSELL,)),
    "bookings_pk": (AlreadyBooked, (BOOKING, "exam-1.0.r-1", "event-b")),
    "bookings_one_payment": (EventRecorded, (BOOKING, "exam-1.0.r-2", "event-a")),
    "payment_events_pk": (EventRecorded, (EVENT, "event-a", "failed", "ignored", None)),
    "payment_events_one_a_reference": (
        EventRecorded,
        ("UPDATE payment_events SET provider_reference = 'event-a-reference'",),
    ),
    "booking_items_one_subject_a_session": (SessionTaken, (ITEM, "exam-1.0.r-1", "other", True)),
}


async def prepare(books: LedgerUnderTest) -> None:
    """Record two payments, the first of them booked with an item in the first session."""
    async with books.ledger.transaction() as connection:
        for event in ("event-a", "event-b"):
            await connection.execute(EVENT, event, "captured", "confirmed", None)
        await connection.execute(BOOKING, "exam-1.0.r-1", "event-a")
        await connection.execute(ITEM, "exam-1.0.r-1", "general", True)


async def empty(books: LedgerUnderTest) -> None:
    async with books.ledger.connection() as connection:
        await connection.execute("TRUNCATE booking_items, bookings, payment_events CASCADE")


@pytest.mark.parametrize("name", REFUSED)
async def test_a_row_that_breaks_a_promise_is_refused_by_name(
    books: LedgerUnderTest, name: str
) -> None:
    await prepare(books)
    statement, *args = REFUSED[name]

    with pytest.raises(LedgerRefused) as refused:
        async with books.ledger.transaction() as connection:
            await connection.execute(statement, *args)

    assert refused.value.constraint == name
    await empty(books)


@pytest.mark.parametrize("name", HAVE_ERRORS)
async def test_a_constraint_that_decides_a_payment_has_an_error_of_its_own(
    books: LedgerUnderTest, name: str
) -> None:
    await prepare(books)
    error, (statement, *args) = HAVE_ERRORS[name]

    with pytest.raises(LedgerRefused) as refused:
        async with books.ledger.transaction() as connection:
            await connection.execute(statement, *args)

    assert (type(refused.value), refused.value.constraint) == (error, name)
    await empty(books)


async def test_an_item_that_is_not_active_any_more_frees_its_session(
    books: LedgerUnderTest,
) -> None:
    await prepare(books)

    async with books.ledger.transaction() as connection:
        await connection.execute("UPDATE booking_items SET active = false")
        await connection.execute(ITEM, "exam-1.0.r-1", "other", True)

    items = await books.rows("SELECT subject FROM booking_items WHERE active")
    assert items == [("other",)]
    await empty(books)


async def test_a_capacity_below_what_is_booked_is_refused_and_all_stay_as_they_were(
    books: LedgerUnderTest,
) -> None:
    await books.book("candidate-1", ("general",), "jinan")
    before = await books.rows("SELECT * FROM quotas ORDER BY venue, subject")

    with pytest.raises(Oversold):
        async with books.ledger.transaction() as connection:
            await books.exams.set_capacity(
                connection, "exam-1", {Quota("jinan", "qms"): 9, Quota("jinan", "general"): 0}
            )

    assert await books.rows("SELECT * FROM quotas ORDER BY venue, subject") == before


def test_a_violation_without_a_name_is_still_a_refusal() -> None:
    error = translate(asyncpg.IntegrityConstraintViolationError("odd"))

    assert isinstance(error, LedgerRefused)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM nowhere",
        "SELECT pg_terminate_backend(pg_backend_pid())",
        "DO $$ BEGIN RAISE serialization_failure; END $$",
        "DO $$ BEGIN RAISE deadlock_detected; END $$",
        "DO $$ BEGIN RAISE too_many_connections; END $$",
        "DO $$ BEGIN RAISE disk_full; END $$",
        "DO $$ BEGIN RAISE read_only_sql_transaction; END $$",
        "DO $$ BEGIN RAISE query_canceled; END $$",
        "DO $$ BEGIN RAISE cannot_connect_now; END $$",
    ],
)
async def test_a_server_at_fault_is_unavailable_and_serves_again(
    books: LedgerUnderTest, statement: str
) -> None:
    with pytest.raises(LedgerUnavailable) as raised:
        async with books.ledger.transaction() as connection:
            await connection.execute(statement)

    assert raised.value.applied is False
    assert await books.ledger.fetch("select_api_keys") == []
