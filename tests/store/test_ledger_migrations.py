"""Migrations on a real Postgres: once each, by whoever comes first, and never a changed one."""

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator

import asyncpg
import pytest

from quota_service.embedded import EmbeddedPostgres
from quota_service.ledger import migrations
from quota_service.ledger.migrations import Migration, MigrationError, load_migrations, migrate
from quota_service.ledger.pool import Ledger, open_ledger
from quota_service.observability.metrics import Metrics
from quota_service.settings import Settings

NAMES = [migration.name for migration in load_migrations()]


@pytest.fixture
async def empty(postgres_server: EmbeddedPostgres) -> AsyncIterator[Settings]:
    """Settings for a database without a schema."""
    base = postgres_server.url.rpartition("/")[0]
    connection = await asyncpg.connect(f"{base}/postgres")
    await connection.execute("CREATE DATABASE quota_unmigrated")
    yield Settings(postgres_dsn=f"{base}/quota_unmigrated")
    await connection.execute("DROP DATABASE quota_unmigrated WITH (FORCE)")
    await connection.close()


async def applied(ledger: Ledger) -> list[tuple[int, str, str]]:
    async with ledger.connection() as connection:
        rows = await connection.fetch("SELECT number, name, sha256 FROM schema_migrations")
    return sorted(tuple(row) for row in rows)


async def test_migrating_applies_each_file_once_and_says_which(empty: Settings) -> None:
    async with open_ledger(empty, Metrics()) as ledger:
        first, second = await migrate(ledger), await migrate(ledger)

        assert (first, second) == (NAMES, [])
        assert await applied(ledger) == [(m.number, m.name, m.sha256) for m in load_migrations()]


async def test_of_many_who_migrate_at_once_each_file_is_applied_by_one(empty: Settings) -> None:
    async with open_ledger(empty, Metrics()) as ledger, open_ledger(empty, Metrics()) as other:
        done = await asyncio.gather(*(migrate(each) for each in (ledger, other) * 4))

        assert sorted(itertools.chain(*done)) == NAMES
        assert len(await applied(ledger)) == len(NAMES)


async def test_a_file_that_was_changed_after_it_was_applied_stops_the_migration(
    empty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_ledger(empty, Metrics()) as ledger:
        await migrate(ledger)
        first = load_migrations()[0]
        changed = dataclasses.replace(first, sql=first.sql + "\n-- changed")
        monkeypatch.setattr(migrations, "load_migrations", lambda: [changed])

        with pytest.raises(MigrationError, match="changed after it was applied"):
            await migrate(ledger)


async def test_a_file_that_fails_leaves_nothing_behind_and_can_be_mended(
    empty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Migration(1, "0001_a.sql", "CREATE TABLE a (); CREATE TABLE a ();")
    mended = dataclasses.replace(broken, sql="CREATE TABLE a ();")
    async with open_ledger(empty, Metrics()) as ledger:
        monkeypatch.setattr(migrations, "load_migrations", lambda: [broken])
        with pytest.raises(asyncpg.DuplicateTableError):
            await migrate(ledger)

        monkeypatch.setattr(migrations, "load_migrations", lambda: [mended])

        assert await migrate(ledger) == ["0001_a.sql"]


async def test_a_later_file_that_fails_keeps_the_earlier_ones(
    empty: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Migration(1, "0001_a.sql", "CREATE TABLE a ()")
    second = Migration(2, "0002_b.sql", "CREATE TABLE b (")
    async with open_ledger(empty, Metrics()) as ledger:
        monkeypatch.setattr(migrations, "load_migrations", lambda: [first, second])

        with pytest.raises(asyncpg.PostgresSyntaxError):
            await migrate(ledger)

        assert [name for _, name, _ in await applied(ledger)] == ["0001_a.sql"]
