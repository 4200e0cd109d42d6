"""Candidate tokens: what a browser shows in the place of an API key.

A token is a JWT, signed with HMAC-SHA256: who it is for, until when, and which API key asked for
it. Checking one asks no store. The first of the secrets in force signs, each of them verifies, so
that a secret can be replaced while tokens of the one before are in use.
"""

import functools
import hashlib
import secrets
from dataclasses import dataclass
from typing import Annotated, Final

import jwt
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from quota_service.http.webhooks import parse_secrets

TTL_MAX_S = 86_400
"""The longest life of a token."""
SETTING = "QUOTA_CANDIDATE_TOKEN_SECRETS"
_ALGORITHM = "HS256"
_SECRET_MIN_BYTES = 32
"""The least that RFC 7518, 3.2 asks of a secret for this algorithm."""
_ISSUER = "quota-service"
_TEXT_MAX = 1024
"""Characters of a token; ours have fewer."""
_READ_MAX = 10_000
"""Tokens that are remembered as signed; some 10 MB. Others are verified each time."""
_ID_BYTES = 12
_Text = Annotated[str, Field(strict=True, min_length=1)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Claims(TypedDict):
    sub: _Text
    exam: _Text
    jti: _Text
    key: _Text
    iat: _Seconds
    exp: _Seconds


_CLAIMS: Final = TypeAdapter(_Claims)


class NotAToken(Exception):
    """The text is no token that a secret in force has signed."""


@dataclass(frozen=True, slots=True)
class CandidateToken:
    """What a token says; times in ms, `key` is the id of the API key that it was made for."""

    exam: str
    candidate: str
    id: str
    key: str
    issued_ms: int
    expires_ms: int


class TokenSecrets:
    """The secrets that sign and verify; without any there are no tokens."""

    def __init__(self, text: str) -> None:
        """`text` is the setting; raises SettingsError."""
        self._secrets = {
            _name(secret): secret for secret in parse_secrets(text, SETTING, _SECRET_MIN_BYTES)
        }
        self.read = functools.lru_cache(_READ_MAX)(self._read)
        """Return what a token says; NotAToken for any other text. Its times are not looked at."""

    @property
    def is_empty(self) -> bool:
        """Whether no token can be made or read."""
        return not self._secrets

    def write(
        self, exam: str, candidate: str, key: str, now_ms: int, ttl_s: int
    ) -> tuple[CandidateToken, str]:
        """Return a new token and its text."""
        token = CandidateToken(
            exam, candidate, secrets.token_urlsafe(_ID_BYTES), key, now_ms, now_ms + ttl_s * 1000
        )
        claims = {
            "iss": _ISSUER,
            "sub": token.candidate,
            "exam": token.exam,
            "jti": token.id,
            "key": token.key,
            "iat": token.issued_ms / 1000,
            "exp": token.expires_ms / 1000,
        }
        name, secret = next(iter(self._secrets.items()))
        return token, jwt.encode(claims, secret, _ALGORITHM, headers={"kid": name})

    def _read(self, text: str) -> CandidateToken:
        if len(text) > _TEXT_MAX or not text.isascii():
            raise NotAToken
        try:
            secret = self._secrets.get(jwt.get_unverified_header(text).get("kid", ""))
            if secret is None:
                raise NotAToken
            claims = _CLAIMS.validate_python(
                jwt.decode(
                    text,
                    secret,
                    algorithms=[_ALGORITHM],
                    issuer=_ISSUER,
                    # Times are compared with the clock of Redis, and by whoever asks: a token that
                    # is remembered ends too.
                    options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
                )
            )
        except (jwt.InvalidTokenError, ValidationError) as error:
            raise NotAToken from error
        return CandidateToken(
            claims["exam"],
            claims["sub"],
            claims["jti"],
            claims["key"],
            round(claims["iat"] * 1000),
            round(claims["exp"] * 1000),
        )


def _name(secret: bytes) -> str:
    """Return by which `kid` a token names the secret that has signed it."""
    return hashlib.sha256(secret).hexdigest()[:8]
