"""API keys in memory: looked up by id, compared in constant time, without a query to Postgres.

They are read again each `QUOTA_REGISTRY_REFRESH_S` (0.5 s). A key that was revoked or has expired
stays valid for as long; for longer only while Postgres does not answer.
"""

import hmac
from collections.abc import Mapping

from quota_service.domain.errors import NotReady
from quota_service.http.errors import Forbidden, Unauthorized
from quota_service.ledger.api_keys import ApiKey, ApiKeyLedger, Scope, hash_secret, split_key
from quota_service.observability.logs import KEY_ID

_BEARER = "bearer "
_KEY_MAX = 200
_VERIFIED_MAX = 1000
"""Headers remembered as right; more are verified each time."""
_NO_HASH = "0" * 64
_REFUSAL = "a valid API key is needed: Authorization: Bearer <key>"
"""One sentence for every cause, so that an answer does not reveal which part of a key was right."""


class KeyRing:
    """The keys in force."""

    def __init__(self, ledger: ApiKeyLedger) -> None:
        self._ledger = ledger
        self._keys: Mapping[str, ApiKey] | None = None
        self._verified: dict[str, ApiKey] = {}
        self._used: set[str] = set()

    @property
    def is_loaded(self) -> bool:
        """Whether the keys were read at least once."""
        return self._keys is not None

    async def refresh(self) -> None:
        """Read the keys again; LedgerUnavailable leaves those known in force."""
        keys = await self._ledger.all()
        self._keys = {key.id: key for key in keys if key.is_in_force}
        self._verified = {}

    async def note_used(self) -> None:
        """Tell Postgres which keys were used since the last time; those of a failure are lost."""
        used, self._used = self._used, set()
        if used:
            await self._ledger.note_used(used)

    def authorize(
        self,
        authorization: str | None,
        scope: Scope,
        exam: str | None,
        also: Scope | None = None,
    ) -> str:
        """Return the id of the key in an Authorization header, if it may do what is asked.

        It has to be in force and to have the scope, or the other where there is one, for the exam,
        or for all where `exam` is None.

        What is done from here on in the same context is done by that key.

        Raises Unauthorized and Forbidden, which say nothing more, and NotReady.
        """
        if self._keys is None:
            raise NotReady("the API keys have not been read yet")
        # A header that was found right since the keys were read last is right still. To be found
        # here it has to be the same to the last byte, and Python's string hash is keyed.
        known = self._verified.get(authorization or "")
        if known is not None and known.may(scope, exam, also):
            return self._in_use(known)
        if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
            raise Unauthorized(_REFUSAL)
        presented = authorization[len(_BEARER) :].strip()
        # Bytes of a header that are no UTF-8 arrive as lone surrogates, which nothing can encode.
        is_possible = len(presented) <= _KEY_MAX and presented.isascii()
        parts = split_key(presented) if is_possible else None
        key = self._keys.get(parts[0]) if parts else None
        # The comparison is made for an unknown id too, so that it takes as long.
        secret = parts[1] if parts else ""
        matches = hmac.compare_digest(key.secret_hash if key else _NO_HASH, hash_secret(secret))
        if key is None or not matches:
            raise Unauthorized(_REFUSAL)
        if not key.may(scope, exam, also):
            raise Forbidden("the API key does not have the scope needed, or is for other exams")
        if len(self._verified) < _VERIFIED_MAX:
            self._verified[authorization] = key
        return self._in_use(key)

    def _in_use(self, key: ApiKey) -> str:
        KEY_ID.set(key.id)
        self._used.add(key.id)
        return key.id
