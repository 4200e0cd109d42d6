"""Candidate tokens that were revoked, for as long as they could be used."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quota_service.ledger.pool import Ledger
from quota_service.ledger.times import ms
from quota_service.observability.caller import Caller

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection

FROM_THE_START = "0"
"""Where a look begins that reads everything."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """The tokens of a candidate issued until a time, or the one of an id; "" for all.

    `until_ms` is when the last of them ends by itself.
    """

    exam: str
    candidate: str
    token: str
    revoked_ms: int
    until_ms: int


class RevokedTokenLedger:
    """The revocations in force."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def insert(self, connection: "Connection", revocation: Revocation, by: Caller) -> None:
        """Revoke in the caller's transaction; of two for the same the later one counts."""
        await connection.execute(
            self._ledger.query["revoke_candidate_tokens"],
            revocation.exam,
            revocation.candidate,
            revocation.token,
            revocation.revoked_ms,
            revocation.until_ms,
            by.key_id,
            by.request_id,
        )

    async def since(self, place: str) -> tuple[list[Revocation], str]:
        """Return what was revoked since a look, and the place where the next one begins.

        A revocation may be returned twice, and none is missed.
        """
        rows = await self._ledger.fetch("select_revoked_candidate_tokens", place)
        found = [
            Revocation(
                row["exam"],
                row["candidate"],
                row["token"],
                ms(row["revoked_at"]),
                ms(row["until"]),
            )
            for row in rows
            if row["exam"] is not None
        ]
        return found, str(rows[0]["next"])

    async def prune(self, limit: int) -> int:
        """Remove at most `limit` whose tokens have ended; return how many."""
        rows = await self._ledger.fetch("prune_revoked_candidate_tokens", limit)
        return int(rows[0]["count"])
