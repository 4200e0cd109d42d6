"""Clients of the Redis of a service, apart from the one connection the service has."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio

from quota_service.app.opening import Service

_CLUSTER = "redis+cluster://"
_CLIENTS: dict[tuple[str, bool], "redis.asyncio.Redis"] = {}


def redis_of(service: Service, *, decodes: bool = True) -> "redis.asyncio.Redis":
    """Return a client of the Redis a service uses; it is closed when the test ends.

    One that `decodes` answers text, the other bytes.
    """
    name = service.settings.redis_url, decodes
    if name not in _CLIENTS:
        options: Any = {"decode_responses": decodes, "encoding_errors": "backslashreplace"}
        if name[0].startswith(_CLUSTER):
            first = name[0].removeprefix(_CLUSTER).partition(",")[0]
            made: Any = redis.asyncio.RedisCluster.from_url(f"redis://{first}", **options)
        else:
            made = redis.asyncio.Redis.from_url(name[0], **options)
        _CLIENTS[name] = made
    return _CLIENTS[name]


async def close_clients() -> None:
    """Close every client a test has used."""
    while _CLIENTS:
        _, client = _CLIENTS.popitem()
        await client.aclose()


@asynccontextmanager
async def writes_held(client: "redis.asyncio.Redis") -> AsyncIterator[None]:
    """Keep every step waiting in Redis until the block ends, however it ends."""
    await client.client_pause(60_000, all=False)
    try:
        yield
    finally:
        await client.client_unpause()


@asynccontextmanager
async def server_setting(
    client: "redis.asyncio.Redis", name: str, value: str
) -> AsyncIterator[None]:
    """Change a setting of the server for a while."""
    before = (await client.config_get(name))[name]
    await client.config_set(name, value)
    try:
        yield
    finally:
        await client.config_set(name, before)
