"""What the headers of a request say of how it is to be read, found in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from quota_service.http.request_id import REQUEST_ID_HEADER

_LENGTH_DIGITS_MAX = 18
_LINES_MAX = 100
_VERSIONS = ("1.0", "1.1")
_HOST, _LENGTH, _ORIGIN = b"host", b"content-length", b"origin"
_REQUEST_ID = REQUEST_ID_HEADER.lower().encode()
_UNUSUAL = (b"transfer-encoding", b"content-encoding", b"expect", b"upgrade")
"""Headers that make a request more than plain, whatever they say."""
_WATCHED = frozenset((_HOST, _LENGTH, _ORIGIN, _REQUEST_ID, *_UNUSUAL))


@dataclass(slots=True)
class RequestHead:
    """The headers that matter before the request is known; `length` is -1 when it is absurd."""

    lines: int = 0
    hosts: int = 0
    length: int = 0
    request_id: str | None = None
    origin: str | None = None
    is_unusual: bool = False

    @classmethod
    def of(cls, lines: Sequence[tuple[bytes, bytes]]) -> Self:
        """Return what header lines say that httptools has parsed."""
        head = cls(len(lines))
        for name, value in lines:
            watched = name.lower()
            if watched not in _WATCHED:
                continue
            if watched == _HOST:
                head.hosts += 1
            elif watched == _LENGTH:  # a number, and the only one: httptools has seen to it
                digits = value.strip(b" \t")
                head.length = int(digits) if len(digits) <= _LENGTH_DIGITS_MAX else -1
            elif watched == _REQUEST_ID:
                head.request_id = head.request_id or value.strip(b" \t").decode("latin-1")
            elif watched == _ORIGIN:
                head.origin = head.origin or value.strip(b" \t").decode("latin-1")
            else:
                head.is_unusual = True
        return head

    def is_well_formed(self, version: str) -> bool:
        """Return whether it may be served at all: RFC 9112, 3.2 asks for one Host from 1.1 on."""
        return (
            version in _VERSIONS
            and (self.hosts == 1 or (self.hosts == 0 and version == "1.0"))
            and self.length >= 0
            and self.lines <= _LINES_MAX
        )
