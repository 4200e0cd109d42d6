"""Migrations on a real Postgres: once each, by whoever comes first, and never a changed one."""

import asyncio
import dataclasses
import itertools

import asyncpg
import pytest

from quota_service.ledger import migrations
from quota_service.ledger.api_keys import KEY_SCOPES, ApiKeyLedger, Scope
from quota_service.ledger.migrations import Migration, MigrationError, load_migrations, migrate
from quota_service.ledger.pool import Ledger, open_ledger
from quota_service.ledger.refunds_due import RefundsDue
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings

NAMES = [migration.name for migration in load_migrations()]

FIRST_DATA = """
INSERT INTO exams (id, definition) VALUES ('exam-1', '{}'), ('exam-2', '{}');
INSERT INTO shards (exam, shard, epoch, state, drained_epoch, drained_version)
VALUES ('exam-1', 0, 3, 'open', 2, 41), ('exam-1', 1, 1, 'open', 1, 7),
       ('exam-2', 0, 1, 'new', 0, 0);
INSERT INTO payment_events (event, reservation, status, outcome, reason, amount, currency, paid_at,
                            provider_reference, body_hash, received_at)
VALUES ('e-1', 'exam-1.0.a', 'captured', 'confirmed',  NULL,                  8000, 'CNY',
        '2026-01-01Z', 'bank 1', '', '2026-01-01Z'),
       ('e-2', 'exam-1.0.b', 'captured', 'refund_due', 'sold-out',            8001, 'CNY',
        '2026-01-01Z', 'bank 2', '', '2026-01-04Z'),
       ('e-3', 'exam-2.0.c', 'captured', 'refund_due', 'wrong-currency',      8002, 'USD',
        '2026-01-01Z', 'bank 3', '', '2026-01-03Z'),
       ('e-4', 'nobody',     'captured', 'refund_due', 'unknown-reservation', 8003, 'CNY',
        '2026-01-01Z', 'bank 4', '', '2026-01-02Z'),
       ('e-5', 'exam-1.0.b', 'failed',   'ignored',    NULL,                  8004, 'CNY',
        '2026-01-01Z', 'bank 5', '', '2026-01-05Z');
INSERT INTO bookings (reservation, exam, candidate, venue, amount, currency, event, reserved_at)
VALUES ('exam-1.0.a', 'exam-1', 'candidate-1', 'jinan', 8000, 'CNY', 'e-1', '2026-01-01Z');
"""
"""What a service that knew the first migration only may have left in its database."""


async def applied(ledger: Ledger) -> list[tuple[int, str, str]]:
    async with ledger.connection() as connection:
        rows = await connection.fetch("SELECT number, name, sha256 FROM schema_migrations")
    return sorted(tuple(row) for row in rows)


async def test_migrating_applies_each_file_once_and_says_which(unmigrated: Settings) -> None:
    async with open_ledger(unmigrated, Metrics()) as ledger:
        first, second = await migrate(ledger), await migrate(ledger)

        assert (first, second) == (NAMES, [])
        assert await applied(ledger) == [(m.number, m.name, m.sha256) for m in load_migrations()]


async def test_of_many_who_migrate_at_once_each_file_is_applied_by_one(
    unmigrated: Settings,
) -> None:
    async with (
        open_ledger(unmigrated, Metrics()) as ledger,
        open_ledger(unmigrated, Metrics()) as other,
    ):
        done = await asyncio.gather(*(migrate(each) for each in (ledger, other) * 4))

        assert sorted(itertools.chain(*done)) == NAMES
        assert len(await applied(ledger)) == len(NAMES)


async def test_a_file_that_was_changed_after_it_was_applied_stops_the_migration(
    unmigrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_ledger(unmigrated, Metrics()) as ledger:
        await migrate(ledger)
        first = load_migrations()[0]
        changed = dataclasses.replace(first, sql=first.sql + "\n-- changed")
        monkeypatch.setattr(migrations, "load_migrations", lambda: [changed])

        with pytest.raises(MigrationError, match="changed after it was applied"):
            await migrate(ledger)


async def test_a_file_that_fails_leaves_nothing_behind_and_can_be_mended(
    unmigrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Migration(1, "0001_a.sql", "CREATE TABLE a (); CREATE TABLE a ();")
    mended = dataclasses.replace(broken, sql="CREATE TABLE a ();")
    async with open_ledger(unmigrated, Metrics()) as ledger:
        monkeypatch.setattr(migrations, "load_migrations", lambda: [broken])
        with pytest.raises(asyncpg.DuplicateTableError):
            await migrate(ledger)

        monkeypatch.setattr(migrations, "load_migrations", lambda: [mended])

        assert await migrate(ledger) == ["0001_a.sql"]


async def test_a_later_file_that_fails_keeps_the_earlier_ones(
    unmigrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Migration(1, "0001_a.sql", "CREATE TABLE a ()")
    second = Migration(2, "0002_b.sql", "CREATE TABLE b (")
    async with open_ledger(unmigrated, Metrics()) as ledger:
        monkeypatch.setattr(migrations, "load_migrations", lambda: [first, second])

        with pytest.raises(asyncpg.PostgresSyntaxError):
            await migrate(ledger)

        assert [name for _, name, _ in await applied(ledger)] == ["0001_a.sql"]


async def test_what_the_first_schema_held_is_carried_over_to_the_newest(
    unmigrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_ledger(unmigrated, Metrics()) as ledger:
        with monkeypatch.context() as at_first:
            at_first.setattr(migrations, "load_migrations", lambda: load_migrations()[:1])
            assert await migrate(ledger) == NAMES[:1]
        async with ledger.connection() as connection:
            await connection.execute(FIRST_DATA)

        assert await migrate(ledger) == NAMES[1:]

        async with ledger.connection() as connection:
            positions = await connection.fetch(
                "SELECT exam, shard, drained_epoch, drained_version FROM journal_positions"
                " ORDER BY 1, 2"
            )
            shards = await connection.fetch("SELECT exam, shard, epoch, state FROM shards")
            bookings = await connection.fetch("SELECT reservation, state FROM bookings")
        refunds_due = RefundsDue(ledger)
        of_none = await refunds_due.page("", 0, 10)
        first = await refunds_due.page("exam-1", 0, 10)
        second = await refunds_due.page("exam-2", 0, 10)
        every = await refunds_due.page(None, 0, 10)
    # A shard that is open goes on from the beginning of its epoch, where versions began anew.
    assert [tuple(row) for row in positions] == [
        ("exam-1", 0, 3, 0),
        ("exam-1", 1, 1, 7),
        ("exam-2", 0, 0, 0),
    ]
    assert sorted(tuple(row) for row in shards) == [
        ("exam-1", 0, 3, "open"),
        ("exam-1", 1, 1, "open"),
        ("exam-2", 0, 1, "new"),
    ]
    assert [tuple(row) for row in bookings] == [("exam-1.0.a", "confirmed")]
    # In the order the payments came, which is the order in which ops work through them.
    assert [due.event for due in every] == ["e-4", "e-3", "e-2"]
    assert [due.event for due in second] == ["e-3"]
    (nobody,), (sold_out,) = of_none, first
    assert (nobody.exam, nobody.reservation, nobody.reason) == (
        None,
        "nobody",
        "unknown-reservation",
    )
    assert (sold_out.exam, sold_out.reservation, sold_out.reason) == (
        "exam-1",
        "exam-1.0.b",
        "sold-out",
    )
    assert (sold_out.amount, sold_out.currency, sold_out.settled_ms) == (8001, "CNY", None)
    assert sold_out.provider_reference == "bank 2"
    assert sold_out.due_ms == 1_767_484_800_000  # 2026-01-04, when the payment was received


async def test_of_payments_that_had_one_reference_the_one_that_books_keeps_it(
    unmigrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_ledger(unmigrated, Metrics()) as ledger:
        with monkeypatch.context() as before:
            before.setattr(migrations, "load_migrations", lambda: load_migrations()[:5])
            await migrate(ledger)
        async with ledger.connection() as connection:
            await connection.execute(
                "INSERT INTO payment_events (event, reservation, status, outcome, reason, amount,"
                " currency, paid_at, provider_reference, body_hash, received_at)"
                " VALUES ('e-1', 'r', 'captured', 'refund_due', 'sold-out', 1, 'CNY',"
                " '2026-01-01Z', 'bank 1', '', '2026-01-01Z'), ('e-2', 's', 'captured',"
                " 'confirmed', NULL, 1, 'CNY', '2026-01-01Z', 'bank 1', '', '2026-01-02Z'),"
                " ('e-3', 's', 'failed', 'ignored', NULL, 1, 'CNY', '2026-01-01Z', 'bank 1', '',"
                " '2026-01-02Z')"
            )

        await migrate(ledger)

        async with ledger.connection() as connection:
            having = await connection.fetch(
                "SELECT event FROM payment_events WHERE status = 'captured' AND has_reference"
            )
    assert [row["event"] for row in having] == ["e-2"]


async def test_keys_that_are_there_go_on_to_do_what_they_could(
    unmigrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = [m for m in load_migrations() if m.name < "0011"]
    async with open_ledger(unmigrated, Metrics()) as ledger:
        with monkeypatch.context() as before:
            before.setattr(migrations, "load_migrations", lambda: earlier)
            await migrate(ledger)
        async with ledger.connection() as connection:
            await connection.execute(
                "INSERT INTO api_keys (id, name, scopes, secret_hash) VALUES"
                " ('a', 'portal', '{frontend}', ''), ('b', 'ops', '{ops}', ''),"
                " ('c', 'both', '{frontend,ops}', '')"
            )

        await migrate(ledger)

        keys = {key.id: key for key in await ApiKeyLedger(ledger).all()}
    assert {id_: key.scopes for id_, key in keys.items()} == {
        "a": {Scope.FRONTEND, Scope.REFUNDS},
        "b": {Scope.OPS},
        "c": set(KEY_SCOPES),
    }
    assert {key.exams for key in keys.values()} == {None}


async def test_rebuilds_of_earlier_versions_are_told_as_recoveries(
    unmigrated: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_ledger(unmigrated, Metrics()) as ledger:
        with monkeypatch.context() as before:
            before.setattr(migrations, "load_migrations", lambda: load_migrations()[:4])
            assert await migrate(ledger) == NAMES[:4]
        async with ledger.connection() as connection:
            await connection.execute(
                "INSERT INTO rebuilds (exam, shard, epoch, reason, finished_at, recovered_epoch,"
                " recovered_version, bookings, holds, holds_left_out, holds_lost)"
                " VALUES ('exam-1', 0, 2, 'redis lacks it', '2026-01-02Z', 1, 41, 7, 5, 1, 3),"
                " ('exam-1', 0, 3, 'redis lacks it', NULL, 0, 0, 0, 0, 0, 0)"
            )

        assert await migrate(ledger) == NAMES[4:]

        async with ledger.connection() as connection:
            recoveries = await connection.fetch(
                "SELECT epoch, opened_at IS NOT NULL, way, recovered_epoch, recovered_version,"
                " bookings, holds, holds_left_out FROM recoveries ORDER BY epoch"
            )
    assert [tuple(row) for row in recoveries] == [
        (2, True, "rebuilt", 1, 41, 7, 5, 1),
        (3, False, None, 0, 0, 0, 0, 0),
    ]
