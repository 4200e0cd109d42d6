"""API keys: made from 256 random bits, kept as a hash, revoked or expired but never deleted."""

import datetime as dt
import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from quota_service.ledger.pool import Ledger

PREFIX = "quota_"
_ID_BYTES = 6
_SECRET_BYTES = 32


class Scope(StrEnum):
    """What a key may be used for; a candidate has no key but a token, which was made with one."""

    FRONTEND = "frontend"
    REFUNDS = "refunds"
    OPS = "ops"
    CANDIDATE = "candidate"


KEY_SCOPES = frozenset({Scope.FRONTEND, Scope.REFUNDS, Scope.OPS})
"""The scopes that a key can have."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: everything but its secret. `exams` None: it is for every exam.

    `expires_at` None: it ends when it is revoked. Whether it has expired Postgres's clock decides.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    secret_hash: str
    created_at: dt.datetime
    revoked_at: dt.datetime | None
    exams: frozenset[str] | None = None
    expires_at: dt.datetime | None = None
    last_used_at: dt.datetime | None = None
    is_expired: bool = False

    @property
    def is_in_force(self) -> bool:
        """Whether the key can be used."""
        return self.revoked_at is None and not self.is_expired

    def is_for(self, exam: str | None) -> bool:
        """Return whether the key is for an exam; None means all exams."""
        return self.exams is None or exam in self.exams


def hash_secret(secret: str) -> str:
    """Return the hash a secret is known by; plain SHA-256, as the secret is 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def split_key(key: str) -> tuple[str, str] | None:
    """Return id and secret of a key `quota_<id>_<secret>`, or None when it has another form."""
    if not key.startswith(PREFIX):
        return None
    key_id, separator, secret = key[len(PREFIX) :].partition("_")
    return (key_id, secret) if separator and key_id and secret else None


class ApiKeyLedger:
    """The stored keys."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def create(
        self,
        name: str,
        scopes: frozenset[Scope],
        exams: frozenset[str] | None = None,
        expires_at: dt.datetime | None = None,
    ) -> str:
        """Store a new key, for some exams or all, and return it whole, for the only time.

        Raises ValueError for a scope that no key can have.
        """
        if not scopes <= KEY_SCOPES:
            raise ValueError(f"no key has the scope {', '.join(scopes - KEY_SCOPES)}")
        key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
        await self._ledger.fetch(
            "insert_api_key",
            key_id,
            name,
            sorted(scopes),
            hash_secret(secret),
            None if exams is None else sorted(exams),
            expires_at,
        )
        return f"{PREFIX}{key_id}_{secret}"

    async def all(self) -> list[ApiKey]:
        """Return every key, oldest first, revoked and expired ones too."""
        rows = await self._ledger.fetch("select_api_keys")
        return [
            ApiKey(
                id=row["id"],
                name=row["name"],
                scopes=frozenset(Scope(scope) for scope in row["scopes"]),
                secret_hash=row["secret_hash"],
                created_at=row["created_at"],
                revoked_at=row["revoked_at"],
                exams=None if row["exams"] is None else frozenset(row["exams"]),
                expires_at=row["expires_at"],
                last_used_at=row["last_used_at"],
                is_expired=bool(row["is_expired"]),
            )
            for row in rows
        ]

    async def note_used(self, key_ids: Iterable[str]) -> None:
        """Remember that keys were used within the last minute."""
        await self._ledger.fetch("note_api_keys_used", sorted(key_ids))

    async def revoke(self, key_id: str) -> bool:
        """End a key; False when there is no live key of this id."""
        return bool(await self._ledger.fetch("revoke_api_key", key_id))
