"""The bench's own client of a Redis: the service's one connection is not for what a bench asks."""

import redis.asyncio

_ANSWER_LIMIT_S = 60.0
"""A server that frees a million keys answers late."""


def redis_client(url: str) -> "redis.asyncio.Redis":
    """Return a client that answers text; `async with` closes it."""
    return redis.asyncio.Redis.from_url(url, decode_responses=True, socket_timeout=_ANSWER_LIMIT_S)
