"""API keys and candidate tokens, checked in memory without a query to Postgres.

The keys, and the tokens that were revoked, are read again each `QUOTA_REGISTRY_REFRESH_S` (0.5 s).
A key that was revoked or has expired stays valid for as long, and the tokens that were made with
it; for longer only while Postgres does not answer.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from quota_service.api.revoked_tokens import RevokedTokens
from quota_service.api.tokens import CandidateToken, NotAToken, TokenSecrets
from quota_service.domain.errors import NotReady
from quota_service.http.errors import Forbidden, Unauthorized
from quota_service.ledger.api_keys import (
    PREFIX,
    ApiKey,
    ApiKeyLedger,
    Scope,
    hash_secret,
    split_key,
)
from quota_service.observability.logs import KEY_ID
from quota_service.seats.clock import RedisClock

_BEARER = "bearer "
_KEY_MAX = 200
_VERIFIED_MAX = 1000
"""Headers with a key remembered as right; more are verified each time."""
_NO_HASH = "0" * 64
_REFUSAL = "a valid API key or candidate token is needed: Authorization: Bearer <key>"
"""One sentence for every cause, so that an answer does not reveal which part of a key was right."""
_NOT_FOR_THIS = "the API key does not have the scope needed, or is for other exams"


@dataclass(frozen=True, slots=True)
class Access:
    """Who makes a call: a key by its id, and with a token the candidate, else ""."""

    key_id: str
    candidate: str = ""


class KeyRing:
    """The keys in force, and the candidate tokens that were made with them."""

    def __init__(
        self, ledger: ApiKeyLedger, tokens: TokenSecrets, revoked: RevokedTokens, clock: RedisClock
    ) -> None:
        """Tokens are issued and end by `clock`."""
        self._ledger = ledger
        self._tokens = tokens
        self.revoked = revoked
        self._clock = clock
        self._keys: Mapping[str, ApiKey] | None = None
        self._verified: dict[str, ApiKey] = {}
        self._used: set[str] = set()

    @property
    def is_loaded(self) -> bool:
        """Whether the keys were read at least once."""
        return self._keys is not None

    async def refresh(self) -> None:
        """Read keys and revocations again; LedgerUnavailable leaves those known in force."""
        keys = await self._ledger.all()
        if not self._tokens.is_empty:
            await self.revoked.refresh()
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
        scopes: frozenset[Scope],
        exam: str | None,
        *,
        has_exam_in_body: bool = False,
    ) -> Access:
        """Return who an Authorization header is from, if it may do what is asked.

        A key has to be in force and to have one of the scopes, for the exam, or for all where
        `exam` is None; of a call whose exam is in its body `check_exam` looks at that. A token has
        to be for the exam, and can do nothing that the key it was made with cannot do.

        What is done from here on in the same context is done by that key.

        Raises Unauthorized and Forbidden, which say nothing more, and NotReady.
        """
        if self._keys is None:
            raise NotReady("the API keys have not been read yet")
        # A header that was found right since the keys were read last is right still. To be found
        # here it has to be the same to the last byte, and Python's string hash is keyed.
        key = self._verified.get(authorization or "")
        token = None
        if key is None:
            if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
                raise Unauthorized(_REFUSAL)
            # Blanks of HTTP alone: a proxy that counts callers sees others as another caller.
            presented = authorization[len(_BEARER) :].strip(" \t")
            if presented.startswith(PREFIX):
                key = self._key(self._keys, presented)
                if len(self._verified) < _VERIFIED_MAX:
                    self._verified[authorization] = key
            else:
                token = self._token(presented)
                key = self._keys.get(token.key)
                if key is None:
                    raise Unauthorized(_REFUSAL)
        may = key.scopes & scopes and (has_exam_in_body or key.is_for(exam))
        if token is not None:
            may = may and Scope.CANDIDATE in scopes and token.exam == exam
        if not may:
            raise Forbidden(_NOT_FOR_THIS)
        KEY_ID.set(key.id)
        self._used.add(key.id)
        return Access(key.id, token.candidate if token else "")

    def check_exam(self, exam: str) -> ApiKey:
        """Return the key that this context works for, if it is for an exam.

        Raises Forbidden, and Unauthorized where the key has ended meanwhile.
        """
        key = (self._keys or {}).get(KEY_ID.get())
        if key is None:
            raise Unauthorized(_REFUSAL)
        if not key.is_for(exam):
            raise Forbidden(_NOT_FOR_THIS)
        return key

    @staticmethod
    def _key(keys: Mapping[str, ApiKey], presented: str) -> ApiKey:
        # Bytes of a header that are no UTF-8 arrive as lone surrogates, which nothing can encode.
        is_possible = len(presented) <= _KEY_MAX and presented.isascii()
        parts = split_key(presented) if is_possible else None
        key = keys.get(parts[0]) if parts else None
        # The comparison is made for an unknown id too, so that it takes as long.
        secret = parts[1] if parts else ""
        matches = hmac.compare_digest(key.secret_hash if key else _NO_HASH, hash_secret(secret))
        if key is None or not matches:
            raise Unauthorized(_REFUSAL)
        return key

    def _token(self, presented: str) -> CandidateToken:
        try:
            token = self._tokens.read(presented)
        except NotAToken as error:
            raise Unauthorized(_REFUSAL) from error
        if token.expires_ms <= self._clock.estimate_ms() or self.revoked.has(token):
            raise Unauthorized(_REFUSAL)
        return token
