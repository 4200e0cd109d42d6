"""Keeps callers to their rate: one for each API key, one for each address that has no key.

An address may stand for many people behind one proxy, so its rate is as generous as a key's; it is
there for clients that ask far more often than anybody has to. A request that shows no valid key or
signature where one is needed, or asks for what is not there, is taken out of the rate of its
address too, after it has failed: that holds back nobody else there whose key or signature is valid.
"""

from aiohttp import web

from quota_service.api.context import ApiContext
from quota_service.api.errors import (
    ContentEncodingRefused,
    Forbidden,
    MalformedRequest,
    RateLimited,
    Unauthorized,
)
from quota_service.api.read_in_turn import ReadInTurn
from quota_service.overload.rate_limit import RateLimit

_STRANGERS = (Unauthorized, Forbidden, MalformedRequest, ContentEncodingRefused)
"""What is refused before anybody has shown who asks."""

BYTES_OF_A_REQUEST = 4096
"""A public answer counts as one request, and one more for each of these of its size."""

Fields = tuple[tuple[str, str], ...]

RATE: web.RequestKey[Fields] = web.RequestKey("rate", tuple)
"""The header fields that tell the caller of a request how much of its rate is left."""


def take_of_key(context: ApiContext, key_id: str) -> Fields:
    """Take one request out of a key's rate and return what to tell of it; raises RateLimited."""
    return _take(context, context.key_rate, "key", key_id)


def take_of_address(context: ApiContext, address: str) -> None:
    """Take one request out of an address's rate; raises RateLimited.

    Nothing is told of it: answers to the public are the same for all.
    """
    _take(context, context.address_rate, "address", address)


def charged(context: ApiContext, connection: ReadInTurn, error: BaseException) -> BaseException:
    """Return what to answer a failed request with: its error, or that its address is too fast."""
    if isinstance(error, _STRANGERS):
        connection.is_failing = True
        try:
            take_of_address(context, connection.address)
        except RateLimited as limited:
            return limited
    return error


def take_large_of_address(context: ApiContext, address: str, size: int) -> None:
    """Take what a large answer, of about so many bytes, counts beyond one request.

    The documents of a large exam are megabytes: to put one together and send it takes as long as
    hundreds of small requests. Raises RateLimited.
    """
    requests = size // BYTES_OF_A_REQUEST
    if requests:
        _take(context, context.address_rate, "address", address, requests)


def take_render_of_address(context: ApiContext, address: str, took_ms: int) -> None:
    """Take the time that a body takes which nobody has asked for lately; raises RateLimited.

    There are more filters than can be kept, and a large exam has large bodies: one client that
    asks for ever new ones is not to have the time of all others.
    """
    if took_ms:
        _take(context, context.render_rate, "render", address, took_ms)


def _take(
    context: ApiContext, rate: RateLimit, policy: str, caller: str, requests: int = 1
) -> Fields:
    if rate.is_off:
        return ()
    taken = rate.take(caller, requests)
    if not taken.is_allowed:
        context.stores.metrics.rate_limited.labels(caller=policy).inc()
        raise RateLimited(policy, rate.rate_per_s, rate.fields(taken))
    return rate.fields(taken)
