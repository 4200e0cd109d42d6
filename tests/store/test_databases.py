"""The databases that tests are lent: one test must not meet what another has left."""

import asyncpg
import pytest

from quota_service.embedded import EmbeddedPostgres
from tests.support.databases import Databases
from tests.support.waiting import eventually

COUNTS = """
SELECT (SELECT count(*) FROM exams), (SELECT count(*) FROM shards),
    (SELECT count(*) FROM audit_entries)
"""
AN_EXAM = "INSERT INTO exams (id, definition) VALUES ('e', '{}')"
A_SHARD = "INSERT INTO shards (exam) VALUES ('e')"
AN_ENTRY = """
INSERT INTO audit_entries (exam, promise, place, detail) VALUES ('e', 'P1', 'here', 'odd')
RETURNING id
"""


async def execute(dsn: str, *statements: str) -> list[tuple[object, ...]]:
    """Execute statements in a connection of their own; return the rows of the last."""
    connection = await asyncpg.connect(dsn, command_timeout=5)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return [tuple(row) for row in await connection.fetch(statements[-1])]
    finally:
        await connection.close()


async def test_what_a_test_wrote_is_gone_for_the_next_and_numbers_begin_anew(
    databases: Databases, postgres_server: EmbeddedPostgres, migrated_template: str
) -> None:
    written = []
    for _ in range(2):
        async with databases.lend(postgres_server.url, migrated_template) as dsn:
            before = await execute(dsn, COUNTS)
            ((number,),) = await execute(dsn, AN_EXAM, A_SHARD, AN_ENTRY)
            written.append((dsn, before, number))

    assert written == [(dsn, [(0, 0, 0)], 1)] * 2


async def test_a_connection_that_a_test_left_open_is_closed(
    databases: Databases, postgres_server: EmbeddedPostgres, migrated_template: str
) -> None:
    async with databases.lend(postgres_server.url, migrated_template) as dsn:
        left = await asyncpg.connect(dsn)
        await left.execute("BEGIN; LOCK TABLE exams")

    async with databases.lend(postgres_server.url, migrated_template) as again:
        assert again == dsn
        assert await execute(again, COUNTS) == [(0, 0, 0)]

    async def is_closed() -> bool:
        return left.is_closed()

    await eventually(is_closed)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE quotas DROP CONSTRAINT quotas_never_oversold",
        "ALTER TABLE exams ADD COLUMN odd int",
        "CREATE TABLE odd ()",
        "DROP FUNCTION ms(timestamptz)",
        "DELETE FROM schema_migrations",
        "ALTER DATABASE {name} SET synchronous_commit = off",
        "ALTER DATABASE {name} SET default_transaction_read_only = on",
    ],
)
async def test_a_database_that_was_altered_is_not_lent_again(
    databases: Databases, postgres_server: EmbeddedPostgres, migrated_template: str, change: str
) -> None:
    async with databases.lend(postgres_server.url, migrated_template) as dsn:
        await execute(dsn, change.format(name=dsn.rpartition("/")[2]), "SELECT 1")

    async with databases.lend(postgres_server.url, migrated_template) as another:
        assert another != dsn
        assert await execute(another, COUNTS) == [(0, 0, 0)]
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await asyncpg.connect(dsn)
