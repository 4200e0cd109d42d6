"""Databases for tests, each as good as new, lent to one test after the other.

To copy a database for every test and drop it again makes and removes three hundred files, which
costs three times as much as to empty it. A database is therefore emptied and lent again, unless a
test changed more than its rows or wrote a great many: then it is dropped, and the next gets a copy.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
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
SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM (
    SELECT format('%s %s %s', relname, relkind, relnamespace) AS line
    FROM pg_class WHERE oid >= 16384
    UNION ALL
    SELECT format('%s %s %s %s', attrelid::regclass, attname, atttypid, attnotnull)
    FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL
    SELECT format('%s %s', conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE oid >= 16384
    UNION ALL
    SELECT format('%s %s', proname, prosrc) FROM pg_proc WHERE oid >= 16384
    UNION ALL
    SELECT format('%s %s', tgname, tgenabled) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT format('%s', setconfig)
    FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
    WHERE datname = current_database()
    UNION ALL
    SELECT format('%s', schema_migrations) FROM schema_migrations
) AS shape
"""
"""What emptying tables does not bring back: the schema, and settings of the database."""

_FIRST_NUMBERS = """
SELECT setval(seqrelid, seqstart, false) FROM pg_sequence
WHERE pg_sequence_last_value(seqrelid) IS NOT NULL
"""


@dataclass(slots=True)
class Databases:
    """The databases made so far, on whichever servers."""

    _spare: dict[str, str] = field(default_factory=dict)
    _shapes: dict[str, str] = field(default_factory=dict)
    _made: int = 0

    @asynccontextmanager
    async def lend(self, server: str, template: str) -> AsyncIterator[str]:
        """Lend a database that equals `template`, by its DSN, of the server of a URL."""
        dsn = self._spare.pop(server, None) or await self._copy(server, template)
        yield dsn
        if await self._is_whole_again(server, dsn):
            self._spare[server] = dsn
        else:
            await execute(server, f"DROP DATABASE {dsn.rpartition('/')[2]} WITH (FORCE)")

    async def _copy(self, server: str, template: str) -> str:
        self._made += 1
        name = f"quota_{self._made}"
        await execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
        dsn = with_database(server, name)
        if server not in self._shapes:
            connection = await asyncpg.connect(dsn)
            self._shapes[server] = await connection.fetchval(_SHAPE)
            await connection.close()
        return dsn

    async def _is_whole_again(self, server: str, dsn: str) -> bool:
        """Empty a database; False when more than its rows has changed."""
        connection = await asyncpg.connect(dsn, command_timeout=_COMMAND_TIMEOUT_S)
        try:
            await connection.execute("SET default_transaction_read_only = off")
            # What a test left connected would go on in the next one's database.
            await connection.execute(
                f"SELECT pg_terminate_backend(pid, {_TERMINATE_TIMEOUT_MS})"  # noqa: S608
                f" FROM ({_WHO_IS_THERE}) AS others"
            )
            if await connection.fetchval(_SHAPE) != self._shapes[server]:
                return False
            written = await connection.fetch(_WRITTEN)
            if sum(table["bytes"] for table in written) > _LARGE_BYTES:
                return False
            if written:
                await _empty(connection, [table["name"] for table in written])
            return True
        finally:
            await connection.close()


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
