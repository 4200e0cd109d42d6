"""What a callback waits for is looked up by indexes, whatever tables held when plans were made."""

import dataclasses

import asyncpg
import pytest

from quota_service.domain.payment import PaymentOutcome, RefundReason
from quota_service.ledger.confirmations import AttemptSuperseded, PaymentDecision, RecordedPayment
from quota_service.settings import Settings
from tests.support.exams import make_exam
from tests.support.ledgers import BOOKED, LedgerUnderTest, open_books, refund

GROUPS = 12
"""More than the five calls after which Postgres may keep a plan for all later ones."""

FILLED = 10_000
FILL = """
SET session_replication_role = replica;
CREATE TEMPORARY TABLE filling AS
SELECT 'old-' || n AS name, 'exam-1.0.old-' || n AS reservation FROM generate_series(1, 10000) AS n;
INSERT INTO payment_events (event, reservation, status, outcome, amount, currency, paid_at,
                            provider_reference, body_hash)
SELECT name, reservation, 'captured', 'confirmed', 1, 'CNY', now(), name, '' FROM filling;
INSERT INTO settled_pins (reservation, pin) SELECT reservation, 'attempt' FROM filling;
INSERT INTO bookings (reservation, exam, candidate, venue, amount, currency, event, reserved_at)
SELECT reservation, 'exam-1', name, 'jinan', 1, 'CNY', name, now() FROM filling;
INSERT INTO booking_items (reservation, exam, candidate, session, venue, subject)
SELECT reservation, 'exam-1', name, 'day1-am', 'jinan', 'general' FROM filling;
INSERT INTO exams (id, definition) SELECT name, '{}' FROM filling;
INSERT INTO shards (exam) SELECT name FROM filling;
INSERT INTO quotas (exam, venue, subject, capacity) SELECT name, 'jinan', 'general', 1 FROM filling;
INSERT INTO ceilings (exam, venue, session, seats) SELECT name, 'jinan', 'day1-pm', 1 FROM filling
"""
EMPTY_AND_MEASURED = "VACUUM ANALYZE"
READ = """
SELECT relname, seq_tup_read,
       (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid)
FROM   pg_stat_user_tables t
"""
LOOKED_UP = {
    "payment_events",
    "settled_pins",
    "bookings",
    "booking_items",
    "exams",
    "shards",
    "quotas",
    "ceilings",
}


async def settle_every_way(books: LedgerUnderTest, n: int) -> None:
    """Settle a payment in each of the ways that look something up of their own."""
    settle = books.confirmations.settle
    reservation = books.reservation(f"candidate-{n}", ("general", "qms"))
    verdict = dataclasses.replace(books.booking(reservation), shard=("exam-1", 1))
    told = dataclasses.replace(verdict.event, event=f"told-again-{n}")
    conflict = books.reservation(f"candidate-{n}", ("ems",))
    no_seat = books.reservation(f"other-{n}", ("general", "qms"), "xian")
    gone = books.reservation(f"gone-{n}")
    repeated = RecordedPayment(PaymentOutcome.CONFIRMED, None, repeated=True)

    assert await settle(verdict) == BOOKED
    assert await settle(verdict) == repeated
    assert await settle(dataclasses.replace(verdict, event=told)) == repeated
    assert await settle(books.booking(reservation)) == refund(RefundReason.ALREADY_PAID)
    assert await settle(books.booking(conflict)) == refund(RefundReason.SESSION_CONFLICT)
    assert await settle(books.booking(no_seat)) == refund(RefundReason.SOLD_OUT)
    await books.rows("INSERT INTO settled_pins VALUES ($1, $2)", gone.id, gone.attempt)
    assert await settle(books.booking(gone)) == AttemptSuperseded()
    due = PaymentDecision(
        books.event("exam-1.0.nobody"), PaymentOutcome.REFUND_DUE, RefundReason.RELEASED
    )
    assert await settle(due) == refund(RefundReason.RELEASED)


async def elsewhere(settings: Settings, statements: str) -> None:
    """Run statements on another connection: some let a connection make all its plans anew."""
    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def read_so_far(books: LedgerUnderTest) -> dict[str, tuple[int, int]]:
    """Return by table how many rows sequential scans have read, and how many entries index scans.

    The connection tells the server what it has counted first.
    """
    await books.tell_statistics()
    return {name: (rows, int(entries)) for name, rows, entries in await books.rows(READ)}


@pytest.mark.parametrize("is_measured", [False, True])
async def test_payments_are_settled_by_indexes_though_tables_were_empty_at_first(
    settings: Settings, *, is_measured: bool
) -> None:
    """A plan stays for as long as its connection; meanwhile tables that were empty grow."""
    seats = {"jinan": {"general": 99, "qms": 99, "ems": 99}, "xian": {"general": 0, "qms": 9}}
    exam = dataclasses.replace(make_exam(seats=seats), ceilings={("jinan", "day1-pm"): 99})
    async with open_books(dataclasses.replace(settings, postgres_pool_max=1), exam) as books:
        await books.rows("UPDATE shards SET state = 'open'")
        if is_measured:
            await elsewhere(settings, EMPTY_AND_MEASURED)
        before = await read_so_far(books)

        for n in range(GROUPS):
            await settle_every_way(books, n)
        await elsewhere(settings, FILL)

        for n in range(GROUPS, 2 * GROUPS):
            await settle_every_way(books, n)

        after = await read_so_far(books)
    by_scans = {name: after[name][0] - before[name][0] for name in LOOKED_UP}
    by_indexes = {name: after[name][1] - before[name][1] for name in LOOKED_UP}
    assert by_scans == dict.fromkeys(LOOKED_UP, 0)
    assert min(by_indexes.values()) > 0
    assert max(by_indexes.values()) < FILLED  # nor is the whole of an index read
