"""Brings the schema up to date: numbered files, each applied once, in order, under a lock.

A file that was applied is never edited; its hash is kept, and a changed one stops the migration.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from quota_service.domain.errors import QuotaError
from quota_service.ledger.pool import Ledger

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('quota-service migrations', 0))"
_TIMEOUT_S = 3600
"""How long one migration, or waiting for another process's, may take: tables may be large."""

_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer     NOT NULL CONSTRAINT schema_migrations_pk PRIMARY KEY,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationError(QuotaError):
    """The schema and the migration files disagree; the message says where."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The hash an applied migration is known by."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations() -> list[Migration]:
    """Return the migrations in order; MigrationError when a number is missing or doubled."""
    folder = resources.files("quota_service") / "ledger" / "migrations"
    files = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    found = [
        Migration(_number(name), name, (folder / name).read_text(encoding="utf-8"))
        for name in files
    ]
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"migrations are not numbered 1, 2, 3 …: {', '.join(files)}")
    return found


def _number(name: str) -> int:
    """Return the number a file's name starts with; 0, which none may have, when it has none."""
    digits = name[:4]
    return int(digits) if digits.isascii() and digits.isdigit() else 0


async def migrate(ledger: Ledger) -> list[str]:
    """Apply what is missing and return the names applied; any number may run at once."""
    done = []
    for migration in load_migrations():
        async with ledger.transaction() as connection:
            await connection.execute(_LOCK, timeout=_TIMEOUT_S)
            await connection.execute(_TABLE)
            if await _is_applied(connection, migration):
                continue
            await connection.execute(migration.sql, timeout=_TIMEOUT_S)
            await connection.execute(
                "INSERT INTO schema_migrations (number, name, sha256) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.sha256,
            )
        done.append(migration.name)
    return done


async def _is_applied(connection: "Connection", migration: Migration) -> bool:
    row = await connection.fetchrow(
        "SELECT name, sha256 FROM schema_migrations WHERE number = $1", migration.number
    )
    if row is None:
        return False
    if row["sha256"] != migration.sha256:
        raise MigrationError(f"{migration.name} was changed after it was applied as {row['name']}")
    return True
