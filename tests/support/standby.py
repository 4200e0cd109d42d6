"""Two Postgres, the second a synchronous standby of the first."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from quota_service.embedded import EmbeddedPostgres, find_postgres_bin_dir
from tests.support.pair_of_postgres import execute
from tests.support.waiting import eventually

_COPY_TIMEOUT_S = 60


class PostgresPair:
    """A primary whose commits wait for its standby."""

    def __init__(self, primary: EmbeddedPostgres, standby: EmbeddedPostgres) -> None:
        self.primary = primary
        self.standby = standby

    def dsn(self, database: str) -> str:
        """Return the DSN that lists both."""
        one, two = urlsplit(self.primary.url), urlsplit(self.standby.url)
        hosts = f"{one.hostname}:{one.port},{two.hostname}:{two.port}"
        return f"postgresql://quota:{one.password}@{hosts}/{database}"

    async def promote(self) -> None:
        """Let the standby be the primary, and return when it takes writes."""
        await execute(self.standby.url, "SELECT pg_promote()")
        await execute(self.standby.url, "ALTER SYSTEM SET synchronous_standby_names = ''")
        await execute(self.standby.url, "SELECT pg_reload_conf()")

    async def is_synchronous(self) -> bool:
        """Return whether commits wait for the standby, and it is there."""
        connection = await asyncpg.connect(self.primary.url)
        try:
            states = await connection.fetch("SELECT sync_state FROM pg_stat_replication")
        finally:
            await connection.close()
        return [row["sync_state"] for row in states] == ["sync"]


def copy_of(primary: EmbeddedPostgres, folder: Path) -> EmbeddedPostgres:
    """Make a standby of a primary that runs; it is not started."""
    made = folder / "made"
    subprocess.run(
        [
            find_postgres_bin_dir() / "pg_basebackup",
            *("--dbname", primary.url),
            *("--pgdata", made),
            *("--checkpoint", "fast"),
            "--write-recovery-conf",
        ],
        check=True,
        timeout=_COPY_TIMEOUT_S,
        capture_output=True,
    )
    standby = EmbeddedPostgres(folder / "standby")
    standby.pgdata.parent.mkdir(mode=0o700)
    made.rename(standby.pgdata)
    owner = primary.pgdata.stat()
    password = standby.pgdata.parent / "postgres.password"
    password.write_text((primary.pgdata.parent / "postgres.password").read_text())
    for path in (password, standby.pgdata, *standby.pgdata.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    password.chmod(0o600)
    return standby


@asynccontextmanager
async def postgres_pair(folder: Path) -> AsyncIterator[PostgresPair]:
    """Run a pair; yields once the standby is synchronous."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    with EmbeddedPostgres(folder / "primary") as primary:
        hba = primary.pgdata / "pg_hba.conf"
        hba.write_text(f"{hba.read_text()}host replication all 127.0.0.1/32 scram-sha-256\n")
        await execute(primary.url, "SELECT pg_reload_conf()")
        with await asyncio.to_thread(copy_of, primary, folder) as standby:
            pair = PostgresPair(primary, standby)
            await execute(primary.url, "ALTER SYSTEM SET synchronous_standby_names = '*'")
            await execute(primary.url, "SELECT pg_reload_conf()")
            await eventually(pair.is_synchronous)
            yield pair
