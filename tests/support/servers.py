"""Servers for tests, whose data goes with them wherever it stands."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis


@contextmanager
def throwaway_postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    """Run a Postgres; as root its data stands outside of `folder`, so it is removed by itself."""
    server = EmbeddedPostgres(folder)
    try:
        with server:
            yield server
    finally:
        server.remove_data()


@contextmanager
def killed(server: EmbeddedRedis | EmbeddedPostgres) -> Iterator[None]:
    """Kill a server, and start it again at the end."""
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextmanager
def paused(server: EmbeddedRedis | EmbeddedPostgres) -> Iterator[None]:
    """Stop a server where it stands, and let it go on at the end."""
    server.pause()
    try:
        yield
    finally:
        server.resume()
