"""Checks callback signatures by the Standard Webhooks scheme, on the raw bytes.

The signed text is `id.timestamp.body`, the signature `v1,<base64 of HMAC-SHA256>`; the header may
carry several, separated by spaces, and other versions, which are ignored. Several secrets may be in
force while one is rotated out.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from quota_service.settings import SettingsError

SECRET_PREFIX = "whsec_"  # noqa: S105  the scheme's prefix, not a secret
TOLERANCE_S = 300
SIGNATURES_MAX = 16
SECRET_MIN_BYTES = 24
"""The least that Standard Webhooks asks of a secret; a shorter one can be found by trying."""

_VERSION = "v1,"


def parse_secrets(
    text: str, setting: str = "QUOTA_PAYMENT_SECRETS", min_bytes: int = SECRET_MIN_BYTES
) -> tuple[bytes, ...]:
    """Return the keys in a comma-separated list of `whsec_<base64>`; SettingsError if malformed."""
    secrets = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        try:
            if not item.startswith(SECRET_PREFIX):
                raise ValueError("no whsec_ in front")  # noqa: TRY301
            secret = base64.b64decode(item[len(SECRET_PREFIX) :], validate=True)
            if len(secret) < min_bytes:
                raise ValueError("too short")  # noqa: TRY301
            secrets.append(secret)
        except (ValueError, binascii.Error) as error:
            raise SettingsError(
                f"{setting} takes whsec_<base64>, comma-separated, each of at least "
                f"{min_bytes} bytes"
            ) from error
    return tuple(secrets)


def sign(secret: bytes, event: str, timestamp: int, body: bytes) -> str:
    """Return the `webhook-signature` of a body; `timestamp` in seconds since the epoch."""
    return _signature(secret, f"{event}.{timestamp}.", body)


def verified_event(
    secrets: tuple[bytes, ...], headers: Mapping[str, str], body: bytes, now_s: float
) -> str | None:
    """Return the event id of a callback that is signed by one of the secrets, and not stale.

    None otherwise. The form of the id is not checked.
    """
    event = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    offered = headers.get("webhook-signature", "").split(" ")[:SIGNATURES_MAX]
    if not event or not (timestamp.isascii() and timestamp.isdigit()) or len(timestamp) > 15:  # noqa: PLR2004
        return None
    # Both in whole seconds, as the sender counts them.
    if abs(int(now_s) - int(timestamp)) > TOLERANCE_S:
        return None
    told = f"{event}.{timestamp}."
    expected = [_signature(secret, told, body).encode() for secret in secrets]
    # Every pair is compared, so that the time taken does not depend on which one matched.
    matches = [
        hmac.compare_digest(mine, theirs.encode(errors="replace"))
        for mine in expected
        for theirs in offered
    ]
    return event if any(matches) else None


def _signature(secret: bytes, told: str, body: bytes) -> str:
    """Return the signature of a body behind `id.timestamp.`, those as the headers have them."""
    # What aiohttp could not decode of a header is turned back into the bytes that were sent.
    signed = told.encode(errors="surrogateescape") + body
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return _VERSION + base64.b64encode(digest).decode()
