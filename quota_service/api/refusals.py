"""The answer `overloaded` as ready bytes, for who turns requests away by the thousand.

Imports nothing of aiohttp: the usher's process, which does little else, should be small.
"""

import random
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from email.utils import formatdate

import orjson

from quota_service.api.request_head import RequestHead

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class RefusalParts:
    """What a refusal is made of; `retry_after_s` is the least and the most that is drawn."""

    body: str
    content_type: str
    server: str
    retry_after_s: Sequence[int]
    body_max_bytes: int
    """The longest body of a request that is turned away unread."""

    def to_json(self) -> bytes:
        """Return the parts as they are told to another process."""
        return orjson.dumps(asdict(self))


class Refusals:
    """The bytes of the answer, ready but for the request id; one for each process.

    Made from the problem that a handler would answer with, so that nobody can tell the two apart.
    """

    def __init__(self, parts: RefusalParts) -> None:
        self._parts = parts
        self._body = parts.body.encode()
        self._second = 0
        self._heads: list[bytes] = []

    def answer(self, head: RequestHead) -> bytes:
        """Return an answer; Retry-After is drawn anew, so that a crowd does not return as one."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            low, high = self._parts.retry_after_s
            date = formatdate(second, usegmt=True)
            self._heads = [self._head(date, after_s) for after_s in range(low, high + 1)]
        ready = self._heads[int(random.random() * len(self._heads))]  # noqa: S311
        return b"%b%b\r\n\r\n%b" % (ready, _request_id(head), self._body)

    def _head(self, date: str, retry_after_s: int) -> bytes:
        lines = (
            "HTTP/1.1 503 Service Unavailable",
            f"Content-Type: {self._parts.content_type}",
            f"Content-Length: {len(self._body)}",
            f"Date: {date}",
            f"Server: {self._parts.server}",
            f"Retry-After: {retry_after_s}",
            "X-Request-ID: ",
        )
        return "\r\n".join(lines).encode("ascii")


def _request_id(head: RequestHead) -> bytes:
    """Return the id that was sent, or one that names nothing: what is refused is not logged."""
    offered = head.request_id
    if offered is not None and _REQUEST_ID.fullmatch(offered):
        return offered
    return b"%016x" % random.getrandbits(64)
