"""Start a local Redis and a local Postgres, on loopback, for `quota-service demo` and the tests.

Both are real child processes with production's settings for durability. They run as root or as an
ordinary user, are found on the machine or in the wheels of the `embedded` extra, keep their data
between runs, and end when the process that started them does, even by kill -9. The interface is
synchronous, because starting and stopping happens before and after an event loop.
"""

from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.postgres_server import EmbeddedPostgres
from quota_service.embedded.programs import find_postgres_bin_dir, find_redis_binary
from quota_service.embedded.redis_server import EmbeddedRedis

__all__ = [
    "EmbeddedError",
    "EmbeddedPostgres",
    "EmbeddedRedis",
    "find_postgres_bin_dir",
    "find_redis_binary",
]
