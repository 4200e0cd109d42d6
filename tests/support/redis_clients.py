"""Clients of the Redis of a service, apart from the one connection the service has."""

import redis.asyncio

from quota_service.app import Service

_CLIENTS: dict[str, "redis.asyncio.Redis"] = {}


def redis_of(service: Service) -> "redis.asyncio.Redis":
    """Return a client of the Redis a service uses; it is closed when the test ends."""
    url = service.settings.redis_url
    if url not in _CLIENTS:
        _CLIENTS[url] = redis.asyncio.Redis.from_url(
            url, decode_responses=True, encoding_errors="backslashreplace"
        )
    return _CLIENTS[url]


async def close_clients() -> None:
    """Close every client a test has used."""
    while _CLIENTS:
        _, client = _CLIENTS.popitem()
        await client.aclose()
