"""Keeps what needs a table of the ledger waiting."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from quota_service.settings import Settings


@asynccontextmanager
async def bookings_held(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """Keep whoever asks for bookings waiting in Postgres until the block ends."""
    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE bookings IN ACCESS EXCLUSIVE MODE")
            yield connection
    finally:
        await connection.close()


async def waits(connection: asyncpg.Connection) -> bool:
    """Return whether something waits for a lock."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
    )
    return found
