"""Whether the caller still waits for the current work, checked just before it touches a store.

Work that waits for its turn may outlive its caller, or the time its caller was promised. It is the
edge that knows either, and the queue before the store that can still drop it; the context of the
task carries the question from one to the other.
"""

from collections.abc import Callable
from contextvars import ContextVar


def _always() -> bool:
    return True


IS_AWAITED: ContextVar[Callable[[], bool]] = ContextVar("is_awaited", default=_always)
"""Says whether a caller is there and its deadline has not passed; work of our own is awaited."""
