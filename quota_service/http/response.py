"""What a request is answered with: a status, headers and a whole body."""

from dataclasses import dataclass
from typing import Any, Self

import orjson
from aiohttp import web

JSON = "application/json"
Headers = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Response:
    """What is sent back. Headers are our own words, never a client's: nothing escapes them."""

    body: bytes
    status: int = 200
    headers: Headers = ()
    content_type: str = JSON

    @classmethod
    def json(cls, document: Any, status: int = 200, headers: Headers = ()) -> Self:
        """Return a response whose body is a document as JSON."""
        return cls(orjson.dumps(document), status, headers)

    def to_aiohttp(self) -> web.Response:
        """Return the response as aiohttp's."""
        return web.Response(
            body=self.body or None,
            status=self.status,
            headers=self.headers,
            content_type=self.content_type if self.body else None,
        )
