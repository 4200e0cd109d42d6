"""What a recovery reads follows what was lost: no plan reads a table as a whole."""

import pytest

from quota_service.app.opening import Service

READS = {
    "select_touched_holds": ("text,bigint,bigint,int", "'exam-1',1,60990,2000"),
    "select_touched_bookings": ("text,bigint,bigint,text,int", "'exam-1',1,30990,'',2000"),
    "select_touched_refunds": ("text,bigint,bigint", "'exam-1',1,60990"),
    "count_journal_between": (
        "text,bigint,bigint,bigint,bigint",
        "'exam-1',1,60990,1,61000",
    ),
}
"""Each query with the types of its parameters, and values by which ten of many rows are lost."""

FILL = """
SET session_replication_role = replica;
INSERT INTO journal SELECT 'exam-1', 0, 1, 1000 + g, 'reserve', 's' || g, now(), 'x'
FROM generate_series(1, 60000) g;
INSERT INTO reservations
SELECT 'exam-1.0.s' || g, 'exam-1', 0, 'c' || g, 'held', 'r', 1, 1000 + g, now()
FROM generate_series(1, 60000) g;
INSERT INTO payment_events
SELECT 'e' || g, 'exam-1.0.s' || g, 'captured', 'confirmed', NULL, 1, 'CNY', now(), 'p' || g, 'b',
       now()
FROM generate_series(1, 30000) g;
INSERT INTO bookings (reservation, exam, candidate, venue, amount, currency, event, reserved_at,
                      step_epoch, step_version)
SELECT 'exam-1.0.s' || g, 'exam-1', 'c' || g, 'jinan', 1, 'CNY', 'e' || g, now(), 1, 1000 + g
FROM generate_series(1, 30000) g;
INSERT INTO booking_items (reservation, exam, candidate, session, venue, subject)
SELECT 'exam-1.0.s' || g, 'exam-1', 'c' || g, 'day1-am', 'jinan', 'general'
FROM generate_series(1, 30000) g;
INSERT INTO refunds (exam, candidate, reservation, seats_returned_at, returned_epoch,
                     returned_version)
SELECT 'exam-1', 'c' || g, 'exam-1.0.s' || g, now(), 1, g FROM generate_series(1, 10000) g;
SET session_replication_role = DEFAULT;
ANALYZE;
"""


@pytest.mark.parametrize("plan", ["force_generic_plan", "force_custom_plan"])
async def test_no_table_is_read_as_a_whole(service: Service, plan: str) -> None:
    query = service.stores.ledger.query
    plans = {}
    async with service.stores.ledger.connection() as connection:
        await connection.execute(FILL, timeout=120)
        await connection.execute(f"SET plan_cache_mode = {plan}")
        for name, (types, values) in READS.items():
            await connection.execute(f"PREPARE q ({types}) AS {query[name]}")
            lines = await connection.fetch(f"EXPLAIN (COSTS OFF) EXECUTE q ({values})")
            await connection.execute("DEALLOCATE q")
            plans[name] = [line for (line,) in lines if "Seq Scan" in line]
        await connection.execute("RESET plan_cache_mode")

    assert plans == {name: [] for name in READS}
