"""Databases for tests, each as good as new, lent to one test after the other.

To copy a database for every test and drop it again makes and removes three hundred files, which
costs three times as much as to empty it. A database is therefore emptied and lent again, unless a
test changed more than its rows or wrote a great many: then it is dropped, and the next gets a copy.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import asyncpg

_COMMAND_TIMEOUT_S = 30
_TERMINATE_TIMEOUT_MS = 5000

_LARGE_BYTES = 4 * 1024 * 1024
"""From here on it is quicker to drop a database than to empty it."""

_WHO_IS_THERE = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""

_WRITTEN = """
SELECT oid::regclass::text AS name, pg_relation_size(oid) AS bytes
FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
  AND relname <> 'schema_migrations' AND pg_relation_size(oid) > 0
"""
"""Tables that are not as they were made; VACUUM gives an emptied one its length of 0 back."""

_SHAPE = """
WITH lasting (what, written) AS (
    SELECT 'relations', xmin FROM pg_class WHERE oid >= 16384
    UNION ALL SELECT 'columns', xmin FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL SELECT 'constraints', xmin FROM pg_constraint WHERE oid >= 16384
    UNION ALL SELECT 'functions', xmin FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT 'triggers', xmin FROM pg_trigger
    UNION ALL SELECT 'migrations', xmin FROM schema_migrations
    UNION ALL SELECT setconfig::text, 0::text::xid
    FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
    WHERE datname = current_database()
), counted AS (
    SELECT what, count(*) AS number, max(written::text::bigint) AS last
    FROM lasting GROUP BY what
)
SELECT string_agg(format('%s %s %s', what, number, last), ', ' ORDER BY what) FROM counted
"""
"""What emptying tables does not bring back: the schema, and settings of the database.

How many rows each catalog has, and the last transaction that wrote one of those: what they say
takes longer to read than all the rest.
"""

_FIRST_NUMBERS = """
SELECT setval(seqrelid, seqstart, false) FROM pg_sequence
WHERE pg_sequence_last_value(seqrelid) IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class _Database:
    """A database that can be lent again, and a connection that is kept to empty it.

    A new connection reads all it knows of tables and types again, which costs it more than to look
    for changes and to empty the tables.
    """

    dsn: str
    shape: str
    connection: "asyncpg.Connection[asyncpg.Record]"


@dataclass(slots=True)
class Databases:
    """The databases made so far, on whichever servers."""

    _spare: dict[str, _Database] = field(default_factory=dict)
    _made: int = 0

    @asynccontextmanager
    async def lend(self, server: str, template: str) -> AsyncIterator[str]:
        """Lend a database that equals `template`, by its DSN, of the server of a URL."""
        lent = self._spare.pop(server, None) or await self._copy(server, template)
        yield lent.dsn
        try:
            await lent.connection.execute("SELECT 1")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            # The test has ended it, or its server.
            lent.connection.terminate()
            lent = replace(lent, connection=await _connect(lent.dsn))
        if await _is_whole_again(lent):
            await self._keep(server, lent)
        else:
            await lent.connection.close()
            await execute(server, f"DROP DATABASE {lent.dsn.rpartition('/')[2]} WITH (FORCE)")

    async def aclose(self) -> None:
        """Close the connections that are kept."""
        for spare in self._spare.values():
            await spare.connection.close()
        self._spare.clear()

    async def _keep(self, server: str, database: _Database) -> None:
        """Keep the database for the next test; of several that were lent at once the last."""
        if other := self._spare.get(server):
            await other.connection.close()
        self._spare[server] = database

    async def _copy(self, server: str, template: str) -> _Database:
        self._made += 1
        name = f"quota_{self._made}"
        await execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
        dsn = with_database(server, name)
        connection = await _connect(dsn)
        return _Database(dsn, await connection.fetchval(_SHAPE), connection)


async def _connect(dsn: str) -> "asyncpg.Connection[asyncpg.Record]":
    connection = await asyncpg.connect(dsn, command_timeout=_COMMAND_TIMEOUT_S)
    await connection.execute("SET default_transaction_read_only = off")
    return connection


async def _is_whole_again(database: _Database) -> bool:
    """Empty a database; False when more than its rows has changed."""
    connection = database.connection
    # What a test left connected would go on in the next one's database.
    await connection.execute(
        f"SELECT pg_terminate_backend(pid, {_TERMINATE_TIMEOUT_MS})"  # noqa: S608
        f" FROM ({_WHO_IS_THERE}) AS others"
    )
    if await connection.fetchval(_SHAPE) != database.shape:
        return False
    written = await connection.fetch(_WRITTEN)
    if sum(table["bytes"] for table in written) > _LARGE_BYTES:
        return False
    if written:
        await _empty(connection, [table["name"] for table in written])
    return True


async def _empty(connection: "asyncpg.Connection[asyncpg.Record]", tables: list[str]) -> None:
    deletes = "; ".join(f"DELETE FROM {table}" for table in tables)  # noqa: S608
    # As a replica: the order of the tables does not matter where no foreign key is checked.
    await connection.execute(f"SET session_replication_role = replica; {deletes}")
    await connection.fetch(_FIRST_NUMBERS)
    # TRUNCATE makes new files for each table and index, which takes three times as long.
    await connection.execute(f"VACUUM {', '.join(tables)}")


def with_database(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return f"{url.rpartition('/')[0]}/{name}"


async def hash_password_once(url: str) -> None:
    """Have a server check its password by one round of the hash, if it can.

    A client computes all 4,096 rounds for each connection, which costs it more than all else.
    """
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "SELECT set_config(name, '1', false) FROM pg_settings WHERE name = 'scram_iterations'"
        )
        parts = urlsplit(url)
        await connection.execute(f"ALTER ROLE {parts.username} PASSWORD '{parts.password}'")
    finally:
        await connection.close()


async def execute(url: str, statement: str) -> None:
    """Execute a statement about databases, outside of any of them."""
    connection = await asyncpg.connect(with_database(url, "postgres"))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
