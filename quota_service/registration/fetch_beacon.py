"""Fetches the beacon of a drand round; what comes is bounded, and checked before it is believed."""

from http import HTTPStatus

import aiohttp
import orjson

from quota_service.domain.exam import DrawSource
from quota_service.waiting_room.drand import BeaconRefused, check_signature, read_beacon

TIMEOUT_S = 3.0
_BYTES_MAX = 4096
"""A beacon has some 300 bytes."""


class SourceUnavailableError(Exception):
    """The source could not be had from an address, or what came from there is not it."""


async def fetch_beacon(url: str, source: DrawSource) -> bytes:
    """Return the signature of the round of a source from a server of drand's HTTP API.

    Raises SourceUnavailableError: it is asked again, there or elsewhere.
    """
    address = f"{url.rstrip('/')}/{source.chain}/public/{source.round}"
    try:
        signature = read_beacon(orjson.loads(await _get(address)), source.round)
        check_signature(source.chain, source.round, signature)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        cause = f"{type(error).__name__}: {error}".rstrip(": ")
        raise SourceUnavailableError(f"{url} cannot be asked: {cause}") from error
    except (BeaconRefused, orjson.JSONDecodeError) as error:
        raise SourceUnavailableError(f"{url} answers no beacon: {error}") from error
    return signature


async def _get(address: str) -> bytes:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
        session.get(address, allow_redirects=False) as response,
    ):
        if response.status != HTTPStatus.OK:
            raise BeaconRefused(f"the status is {response.status}")
        body = b""
        async for part in response.content.iter_any():
            body += part
            if len(body) > _BYTES_MAX:
                raise BeaconRefused(f"the answer has more than {_BYTES_MAX} bytes")
        return body
