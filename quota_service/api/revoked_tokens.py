"""Revoked candidate tokens in memory: read from Postgres with the keys, what is new each time."""

import time

from quota_service.api.tokens import CandidateToken
from quota_service.domain.errors import Overloaded
from quota_service.ledger.revoked_tokens import FROM_THE_START, Revocation, RevokedTokenLedger

REVOKED_MAX = 100_000
"""Revocations in force at once; some 30 MB in each process."""
_FORGET_INTERVAL_S = 60.0


class RevokedTokens:
    """The revocations that this process knows of."""

    def __init__(self, ledger: RevokedTokenLedger) -> None:
        self._ledger = ledger
        self._known: dict[tuple[str, str, str], Revocation] = {}
        self._place = FROM_THE_START
        self._forgotten_s = 0.0

    async def refresh(self) -> None:
        """Read what is new; after a failure, LedgerUnavailable, the next look reads everything.

        Postgres may be another one then, which counts its transactions otherwise.
        """
        place, self._place = self._place, FROM_THE_START
        found, self._place = await self._ledger.since(place)
        for revocation in found:
            self.add(revocation)
        if time.monotonic() - self._forgotten_s > _FORGET_INTERVAL_S:
            self._forget()

    def add(self, revocation: Revocation) -> None:
        """Refuse what was revoked from here on."""
        what = (revocation.exam, revocation.candidate, revocation.token)
        known = self._known.get(what)
        if known is None or known.revoked_ms < revocation.revoked_ms:
            self._known[what] = revocation

    def check_room(self) -> None:
        """Raise Overloaded while no more may be revoked: then a new secret ends all tokens."""
        if len(self._known) >= REVOKED_MAX:
            raise Overloaded(f"{REVOKED_MAX} revocations of candidate tokens are in force already")

    def has(self, token: CandidateToken) -> bool:
        """Return whether a token was revoked, by itself or with all of its candidate."""
        if not self._known:
            return False
        all_of_it = self._known.get((token.exam, token.candidate, ""))
        if all_of_it is not None and token.issued_ms <= all_of_it.revoked_ms:
            return True
        return (token.exam, token.candidate, token.id) in self._known

    def _forget(self) -> None:
        """Forget revocations whose tokens have ended."""
        self._forgotten_s, now_ms = time.monotonic(), time.time() * 1000
        self._known = {
            what: revocation
            for what, revocation in self._known.items()
            if revocation.until_ms > now_ms
        }
