"""A Postgres that stands by, as the other host of a multi-host DSN, until it is promoted."""

import os
from urllib.parse import urlsplit

import asyncpg

from quota_service.embedded import EmbeddedPostgres


class StandbyPostgres(EmbeddedPostgres):
    """A Postgres that can be in recovery: it is read, and not written to, until promoted.

    It follows nobody: what it is to know is written to it before it stands by.
    """

    def stand_by(self) -> None:
        """Restart the server in recovery."""
        self.stop()
        owner = self.pgdata.stat()
        mark = self.pgdata / "standby.signal"
        mark.touch()
        os.chown(mark, owner.st_uid, owner.st_gid)
        self.start()


async def share_password(dsn: str, other: EmbeddedPostgres) -> str:
    """Give another server password and database of a DSN; return the other's URL with both."""
    known, url = urlsplit(dsn), urlsplit(other.url)
    name = known.path.removeprefix("/")
    await execute(other.url, f"CREATE DATABASE {name}")
    await execute(other.url, f"ALTER ROLE quota PASSWORD '{known.password}'")
    return f"postgresql://quota:{known.password}@{url.hostname}:{url.port}/{name}"


def multi_host(*urls: str) -> str:
    """Return one DSN that lists the hosts of several, which differ in nothing else."""
    parts = [urlsplit(url) for url in urls]
    hosts = ",".join(f"{part.hostname}:{part.port}" for part in parts)
    return f"postgresql://quota:{parts[0].password}@{hosts}{parts[0].path}"


async def execute(url: str, statement: str) -> None:
    """Run one statement in a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def count(url: str, table: str) -> int:
    """Return how many rows a table has."""
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608
    finally:
        await connection.close()
