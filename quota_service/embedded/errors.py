"""The one error that starting or stopping a local server raises.

    EmbeddedError

A caller can do nothing different for a missing binary, a refused directory or a server that would
not start: it shows the message and ends. So there is a single class, and every message says what
happened and what to do about it.
"""

__all__ = ["EmbeddedError"]


class EmbeddedError(Exception):
    """A local server could not be found, started, stopped or given a place for its data."""

    slug = "embedded-server-failed"
