"""Servers for tests, whose data goes with them wherever it stands."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quota_service.embedded import EmbeddedPostgres


@contextmanager
def throwaway_postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    """Run a Postgres; as root its data stands outside of `folder`, so it is removed by itself."""
    server = EmbeddedPostgres(folder)
    try:
        with server:
            yield server
    finally:
        server.remove_data()
