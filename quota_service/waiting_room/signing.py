"""Signed texts: fields, and an HMAC-SHA256 over them, in the alphabet of URLs.

What is signed is the encoded form, so that no other spelling of the same fields is taken. It is
compared in constant time.
"""

import base64
import binascii
import hmac

SIGNED_MAX = 256
"""Characters of a signed text; the longest of ours has fewer."""

_SEPARATOR = "|"
"""A separator that no exam id and no candidate id has."""


def sign(key: bytes, fields: tuple[str | int, ...]) -> str:
    """Return the signed text of fields, none of which contains a `|`."""
    payload = _text(_SEPARATOR.join(map(str, fields)).encode())
    return f"{payload}.{_signature(key, payload)}"


def fields_of(text: str) -> tuple[str, ...] | None:
    """Return the fields a text claims, which prove nothing yet; None when it has none."""
    if len(text) > SIGNED_MAX or not text.isascii():
        return None
    try:
        decoded = base64.urlsafe_b64decode(f"{text.partition('.')[0]}===")
        return tuple(decoded.decode("ascii").split(_SEPARATOR))
    except (binascii.Error, UnicodeDecodeError):
        return None


def is_signed(key: bytes, text: str) -> bool:
    """Return whether a text that has fields was made by `sign` with this key."""
    payload, _, signature = text.partition(".")
    return hmac.compare_digest(_signature(key, payload), signature)


def whole(text: str) -> int | None:
    """Return the number in a field, or None when it is not of our form."""
    if len(text) <= _DIGITS_MAX and text.isascii() and text.isdigit():
        return int(text)
    return None


_DIGITS_MAX = 16
"""Digits of a number: enough for milliseconds, and exact in Lua."""


def _signature(key: bytes, payload: str) -> str:
    return _text(hmac.digest(key, payload.encode(), "sha256"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
