"""Candidate tokens: what a browser shows in the place of an API key.

A token is a JWT (RFC 7519), signed with HMAC-SHA256: who it is for, until when, and which API key
asked for it. Checking one asks no store. The first of the secrets in force signs, each of them
verifies, so that a secret can be replaced while tokens of the one before are in use.

Tokens have one form only, and another one is none: the header is compared, not read, so it can
choose no algorithm. A library for all of JWT takes fifteen times as long for each request.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Annotated, Final

import orjson
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from quota_service.http.webhooks import parse_secrets

TTL_MAX_S = 86_400
"""The longest life of a token."""
SETTING = "QUOTA_CANDIDATE_TOKEN_SECRETS"
_SECRET_MIN_BYTES = 32
"""The least that RFC 7518, 3.2 asks of a secret for this algorithm."""
_ISSUER = "quota-service"
_TEXT_MAX = 1024
"""Characters of a token; ours have fewer."""
_ID_BYTES = 12
_Text = Annotated[str, Field(strict=True, min_length=1)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Claims(TypedDict):
    iss: Annotated[str, Field(pattern=f"^{_ISSUER}$")]
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
        self._by_header = {
            _header(secret): secret for secret in parse_secrets(text, SETTING, _SECRET_MIN_BYTES)
        }

    @property
    def is_empty(self) -> bool:
        """Whether no token can be made or read."""
        return not self._by_header

    def write(
        self, exam: str, candidate: str, key: str, now_ms: int, ttl_s: int
    ) -> tuple[CandidateToken, str]:
        """Return a new token and its text."""
        token = CandidateToken(
            exam, candidate, secrets.token_urlsafe(_ID_BYTES), key, now_ms, now_ms + ttl_s * 1000
        )
        claims: _Claims = {
            "iss": _ISSUER,
            "sub": token.candidate,
            "exam": token.exam,
            "jti": token.id,
            "key": token.key,
            "iat": token.issued_ms / 1000,
            "exp": token.expires_ms / 1000,
        }
        header, secret = next(iter(self._by_header.items()))
        signed = f"{header}.{_encoded(orjson.dumps(claims))}"
        return token, f"{signed}.{_signature(secret, signed)}"

    def read(self, text: str) -> CandidateToken:
        """Return what a token says; NotAToken for any other text. Its times are not looked at."""
        if len(text) > _TEXT_MAX or not text.isascii():
            raise NotAToken
        signed, _, signature = text.rpartition(".")
        header, _, body = signed.partition(".")
        secret = self._by_header.get(header)
        if secret is None or not hmac.compare_digest(_signature(secret, signed), signature):
            raise NotAToken
        try:
            padded = body + "=" * (-len(body) % 4)
            claims = _CLAIMS.validate_python(orjson.loads(base64.urlsafe_b64decode(padded)))
        except ValueError as error:  # the secret has signed something else
            raise NotAToken from error
        return CandidateToken(
            claims["exam"],
            claims["sub"],
            claims["jti"],
            claims["key"],
            round(claims["iat"] * 1000),
            round(claims["exp"] * 1000),
        )


def _header(secret: bytes) -> str:
    """Return the first part of the tokens that a secret signs; `kid` names the secret."""
    name = hashlib.sha256(secret).hexdigest()[:8]
    return _encoded(orjson.dumps({"alg": "HS256", "kid": name, "typ": "JWT"}))


def _signature(secret: bytes, signed: str) -> str:
    return _encoded(hmac.digest(secret, signed.encode(), "sha256"))


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).decode().rstrip("=")
