"""The one error of local servers.

A caller can do nothing different for a missing program, a refused directory or a server that does
not start: it shows the message and ends. Every message says what happened and what to do about it.
"""

__all__ = ["EmbeddedError"]


class EmbeddedError(Exception):
    """A local server could not be found, started, stopped or given a place for its data."""

    slug = "embedded-server-failed"
