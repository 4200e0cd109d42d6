"""Posts an event to a webhook endpoint; what an endpoint can do to the service is bounded.

An address that is not public is refused when it is connected to, whatever name led there (see
`domain/webhook.py`). No proxy of the environment is used: it would connect for us. Redirects are
not followed. Of the answer only the status counts, and nothing of it is kept: ops could read by it
what only the service reaches.
"""

import asyncio
import datetime as dt
import email.utils
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from aiohttp.client_exceptions import ClientConnectorDNSError

from quota_service import __version__
from quota_service.client.webhooks import sign
from quota_service.domain.webhook import PAUSE_MAX_S, is_public

_BODY_MAX_BYTES = 64 * 1024
"""So much of an answer is read, to use its connection again; that of a longer one is closed."""
_IDLE_S = 15.0
"""How long a connection is kept for the next delivery."""


@dataclass(frozen=True, slots=True)
class PostLimits:
    """How long an endpoint may take."""

    total_s: float = 10.0
    """To answer, connecting included."""
    connect_s: float = 3.0
    """To be connected to, TLS included."""


@dataclass(frozen=True, slots=True)
class Posted:
    """How a post ended. `status` where there was an answer; `error` unless the event was taken.

    `retry_after_s` is what the answer asked for, 0 where it asked for nothing.
    """

    status: int | None
    error: str | None
    retry_after_s: float = 0.0

    @property
    def is_taken(self) -> bool:
        """Whether the endpoint has the event."""
        return self.error is None


class PrivateAddressError(OSError):
    """An address is not public, so it is not connected to."""


class WebhookPoster:
    """Posts events, on connections of its own for each endpoint."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def post(self, url: str, secrets: Sequence[bytes], event: str, body: bytes) -> Posted:
        """Post the body of an event, signed by each of the secrets."""
        timestamp = int(time.time())
        headers = {
            "webhook-id": event,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(sign(key, event, timestamp, body) for key in secrets),
        }
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                await _read(response)
                return _posted(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Posted(None, _cause(error))


@asynccontextmanager
async def open_poster(limits: PostLimits, *, takes_private: bool) -> AsyncIterator[WebhookPoster]:
    """Open a poster; with `takes_private` it posts to private addresses too."""

    def socket_to(info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        family, kind, protocol, _, (address, *_) = info
        if not takes_private and not is_public(str(address)):
            raise PrivateAddressError("not a public address")
        return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(
        limit=0,  # each endpoint has its own bound, so that none waits for another's
        keepalive_timeout=_IDLE_S,
        socket_factory=socket_to,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={
            "Content-Type": "application/json",
            "User-Agent": f"quota-service/{__version__}",
        },
        timeout=aiohttp.ClientTimeout(total=limits.total_s, sock_connect=limits.connect_s),
    ) as session:
        yield WebhookPoster(session)


async def _read(response: aiohttp.ClientResponse) -> None:
    """Read an answer to its end, if that is near; the status was told before."""
    left = _BODY_MAX_BYTES
    with suppress(aiohttp.ClientError, OSError):
        async for part in response.content.iter_any():
            left -= len(part)
            if left < 0:
                break
        else:
            return
    response.close()


def _posted(response: aiohttp.ClientResponse) -> Posted:
    status = response.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Posted(status, None)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return Posted(status, f"answered {status}; redirects are not followed")
    return Posted(
        status, f"answered {status}", _retry_after_s(response.headers.get("Retry-After", ""))
    )


def _retry_after_s(text: str) -> float:
    """Return how long a Retry-After asks to wait, within limits; 0 where it asks for nothing."""
    if text.isascii() and text.isdigit() and len(text) < 10:  # noqa: PLR2004  more than a lifetime
        asked_s = float(text)
    else:
        try:
            moment = email.utils.parsedate_to_datetime(text).astimezone(dt.UTC)
        except (ValueError, IndexError, OverflowError):
            return 0.0
        asked_s = (moment - dt.datetime.now(dt.UTC)).total_seconds()
    return min(max(asked_s, 0.0), PAUSE_MAX_S)


_CAUSES: Sequence[tuple[type[Exception], str]] = (
    (aiohttp.InvalidURL, "its URL is not valid"),
    (ClientConnectorDNSError, "its name cannot be resolved"),
    (asyncio.TimeoutError, "no answer in time"),
    (aiohttp.ClientSSLError, "TLS cannot be agreed on, or its certificate is not valid"),
    (aiohttp.ClientConnectorError, "it cannot be connected to"),
)
"""What each error means, the special ones first; any other is that no answer came."""


def _cause(error: Exception) -> str:
    """Return why there was no answer, in words that tell nothing of what is behind an address."""
    below = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    if isinstance(below, PrivateAddressError):
        return "its address is not a public one"
    return next(
        (meaning for kind, meaning in _CAUSES if isinstance(error, kind)),
        "the connection ended without an answer",
    )
