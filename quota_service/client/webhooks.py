"""Signs and verifies webhooks by the Standard Webhooks scheme, on the raw bytes.

The signed text is `id.timestamp.body`, the signature `v1,<base64 of HMAC-SHA256>`; the header may
carry several, separated by spaces, and other versions, which are ignored. Several secrets may be in
force while one is rotated out.

    >>> secret = "whsec_" + base64.b64encode(b"known to the two of us only").decode()
    >>> body = b'{"type": "reservation.confirmed"}'
    >>> headers = sign_webhook(secret, "evt_1", body)
    >>> verify_webhook([secret], headers, body)
    {'id': 'evt_1', 'type': 'reservation.confirmed'}
    >>> verify_webhook([secret], headers, body + b" ")
    Traceback (most recent call last):
        ...
    quota_service.client.errors.WebhookRefused: not signed by a known secret, or stale
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, cast

import orjson

from quota_service.client.errors import WebhookRefused

if TYPE_CHECKING:  # the service needs no documents of the client
    from quota_service.client.documents import Event

SECRET_PREFIX = "whsec_"  # noqa: S105  the scheme's prefix, not a secret
SECRET_MIN_BYTES = 24
"""The least that Standard Webhooks asks of a secret; a shorter one can be found by trying."""
TOLERANCE_S = 300
"""How far the time of a signature may be from now."""
SIGNATURES_MAX = 16

_VERSION = "v1,"
_TIMESTAMP_MAX_DIGITS = 15


def sign_webhook(
    secret: str, event: str, body: bytes, *, now_s: float | None = None
) -> dict[str, str]:
    """Return the three headers that sign a body sent as an event; `now_s` since the epoch.

    Raises ValueError for a secret that is no `whsec_<base64>`.
    """
    timestamp = int(time.time() if now_s is None else now_s)
    return {
        "webhook-id": event,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secret_key(secret), event, timestamp, body),
    }


def verify_webhook(
    secrets: Iterable[str], headers: Mapping[str, str], body: bytes, *, now_s: float | None = None
) -> "Event":
    """Return the event that a webhook brings, with its id.

    It can come more than once: what was done under an id is not to be done again. Raises
    WebhookRefused where no secret has signed it, it is stale, or it is no JSON object; ValueError
    as `sign_webhook` does.
    """
    keys = tuple(secret_key(secret) for secret in secrets)
    named = {name.lower(): value for name, value in headers.items()}
    event = verified_event(keys, named, body, time.time() if now_s is None else now_s)
    if event is None:
        raise WebhookRefused("not signed by a known secret, or stale")
    try:
        return cast("Event", {"id": event, **orjson.loads(body)})
    except (orjson.JSONDecodeError, TypeError) as error:
        raise WebhookRefused("the body is not a JSON object") from error


def secret_key(secret: str, min_bytes: int = SECRET_MIN_BYTES) -> bytes:
    """Return the key in `whsec_<base64>`; ValueError for anything else, and for a short one."""
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a webhook secret begins with {SECRET_PREFIX}")
    try:
        key = base64.b64decode(secret[len(SECRET_PREFIX) :], validate=True)
    except binascii.Error as error:
        raise ValueError(f"what follows {SECRET_PREFIX} is not base64") from error
    if len(key) < min_bytes:
        raise ValueError(f"a webhook secret has at least {min_bytes} bytes")
    return key


def sign(key: bytes, event: str, timestamp: int, body: bytes) -> str:
    """Return the `webhook-signature` of a body; `timestamp` in seconds since the epoch."""
    return _signature(key, f"{event}.{timestamp}.", body)


def verified_event(
    keys: tuple[bytes, ...], headers: Mapping[str, str], body: bytes, now_s: float
) -> str | None:
    """Return the event id of a webhook that is signed by one of the keys, and not stale.

    None otherwise. The form of the id is not checked.
    """
    event = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    offered = headers.get("webhook-signature", "").split(" ")[:SIGNATURES_MAX]
    is_number = timestamp.isascii() and timestamp.isdigit()
    if not event or not is_number or len(timestamp) > _TIMESTAMP_MAX_DIGITS:
        return None
    # Both in whole seconds, as the sender counts them.
    if abs(int(now_s) - int(timestamp)) > TOLERANCE_S:
        return None
    told = f"{event}.{timestamp}."
    expected = [_signature(key, told, body).encode() for key in keys]
    # Every pair is compared, so that the time taken does not depend on which one matched.
    matches = [
        hmac.compare_digest(mine, theirs.encode(errors="replace"))
        for mine in expected
        for theirs in offered
    ]
    return event if any(matches) else None


def _signature(key: bytes, told: str, body: bytes) -> str:
    """Return the signature of a body behind `id.timestamp.`, those as the headers have them."""
    # What aiohttp could not decode of a header is turned back into the bytes that were sent.
    signed = told.encode(errors="surrogateescape") + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return _VERSION + base64.b64encode(digest).decode()
