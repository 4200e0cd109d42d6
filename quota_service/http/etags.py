"""ETags: documents that are rendered once for all who ask, and who has them already."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson

from quota_service.http.request import Request
from quota_service.http.response import Headers, Response

_HASH_BYTES = 8
Source = TypeVar("Source")


def etag_of(content: bytes) -> str:
    """Return the ETag of a content."""
    return f'W/"{hashlib.blake2b(content, digest_size=_HASH_BYTES).hexdigest()}"'


def not_modified(request: Request, headers: Headers) -> Response | None:
    """Return the 304 for a client that has what the ETag in front of the headers names.

    ETags are compared weakly (RFC 9110).
    """
    lines = request.headers.getall("If-None-Match", ())
    if not lines:
        return None
    offered = [part.strip() for line in lines for part in line.split(",")]
    opaque = headers[0][1].removeprefix("W/")
    if "*" in offered or any(part.removeprefix("W/") == opaque for part in offered):
        return Response(b"", 304, headers)
    return None


@dataclass(frozen=True, slots=True)
class Rendered(Generic[Source]):
    """A document as JSON, and its ETag."""

    source: Source
    body: bytes
    etag: str


class RenderedOnce(Generic[Source]):
    """The latest document of each name, rendered once for each object it is made from."""

    def __init__(self) -> None:
        self._rendered: dict[str, Rendered[Source]] = {}

    def document(
        self, name: str, source: Source, render: Callable[[Source], Any]
    ) -> Rendered[Source]:
        """Return the document of a name; `render` makes it from the object, ready for JSON."""
        rendered = self._rendered.get(name)
        if rendered is None or rendered.source is not source:
            body = orjson.dumps(render(source))
            rendered = self._rendered[name] = Rendered(source, body, etag_of(body))
        return rendered
