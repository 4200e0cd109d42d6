"""ETags: whether a client has what it asks for already."""

from collections.abc import Collection


def is_known(if_none_match: Collection[str], etag: str) -> bool:
    """Return whether If-None-Match headers name the ETag, by weak comparison (RFC 9110)."""
    offered = [part.strip() for line in if_none_match for part in line.split(",")]
    return "*" in offered or any(part.removeprefix("W/") == etag[2:] for part in offered)
