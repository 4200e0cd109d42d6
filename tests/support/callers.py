"""Who asks, for tests of what is kept or counted by it."""

from collections.abc import Iterator
from contextlib import contextmanager

from quota_service.observability.logs import KEY_ID


@contextmanager
def called_with(key_id: str) -> Iterator[None]:
    """Let what is asked for here be asked for with an API key."""
    token = KEY_ID.set(key_id)
    try:
        yield
    finally:
        KEY_ID.reset(token)
