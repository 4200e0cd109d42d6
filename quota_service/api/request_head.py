"""Reads just enough of a request's bytes to turn it away: its class and where it ends.

Where a request ends must never be guessed: a byte taken for the beginning of the next one would
give its sender's neighbours on the connection the wrong answers. So only the plain form that
clients send is read here, a whole head with at most one Content-Length, and everything else is left
to the real parser.
"""

from dataclasses import dataclass

from quota_service.overload.classes import Work, work_of

_END = b"\r\n\r\n"
_CODING = b"transfer-encoding"
_LENGTH = b"\r\ncontent-length:"
_LENGTH_NAME = b"content-length"
_REQUEST_ID = b"\r\nx-request-id:"
_CONNECTION = b"\r\nconnection:"
_LENGTH_DIGITS_MAX = 9
_VERSION = b"HTTP/1.1"


@dataclass(slots=True)
class RequestHead:
    """The head of one request. Not frozen: one is made for each request."""

    work: Work
    is_head_method: bool
    length: int
    """Bytes of the body, as the head tells it."""
    missing: int
    """Bytes of the body that are still to come; below zero when the next request has begun."""
    data: bytes
    """What was received, beginning with the head."""
    lowered: bytes
    """The head in lower case, without its end."""

    @property
    def is_plain(self) -> bool:
        """Whether an answer can be given without knowing more: nothing but the answer is wanted."""
        return not (
            self.is_head_method
            or b"\r\nexpect:" in self.lowered
            or (self._value(_CONNECTION) or b"keep-alive").lower() != b"keep-alive"
        )

    @property
    def request_id(self) -> bytes | None:
        """The request id that was sent, if any."""
        return self._value(_REQUEST_ID)

    def _value(self, name: bytes) -> bytes | None:
        """Return what stands behind the first of a name."""
        at = self.lowered.find(name)
        if at < 0:
            return None
        begin = at + len(name)
        end = self.lowered.find(b"\r\n", begin)
        return self.data[begin : end if end >= 0 else len(self.lowered)].strip(b" \t")


def read_head(data: bytes) -> RequestHead | None:
    """Return the head that `data` begins with; None when it is not whole or not of plain form."""
    end = data.find(_END)
    if end < 0:
        return None
    lowered = data[:end].lower()
    at = lowered.find(_LENGTH)
    if not _is_unmistakable(lowered) or lowered.count(_LENGTH_NAME) != (at >= 0):
        return None
    length = 0
    if at >= 0:
        begin = at + len(_LENGTH)
        stop = lowered.find(b"\r\n", begin)
        digits = lowered[begin : stop if stop >= 0 else end].strip(b" \t")
        if not digits.isdigit() or len(digits) > _LENGTH_DIGITS_MAX:
            return None
        length = int(digits)
    line = data[: data.find(b"\r\n")].split(b" ")
    if len(line) != 3 or line[2] != _VERSION:  # noqa: PLR2004  method, target and version
        return None
    if not _is_plain_target(line[1]):
        return None
    return RequestHead(
        work_of(line[0], line[1]),
        line[0] == b"HEAD",
        length,
        length - (len(data) - end - len(_END)),
        data,
        lowered,
    )


def read_refusable(data: bytes, body_max_bytes: int) -> RequestHead | None:
    """Return the head of a request that can be turned away by it; None leaves it to the parser.

    That is one whose end is certain, whose body, of which more may be still to come, is not longer
    than it may be, and of which nothing is wanted but the answer.
    """
    head = read_head(data)
    if head is None or not 0 <= head.missing <= body_max_bytes or not head.is_plain:
        return None
    return head


def _is_plain_target(target: bytes) -> bool:
    """Return whether a target is an address as routes have them, with nothing to decode."""
    return target.startswith(b"/") and b"#" not in target and b"%" not in target.partition(b"?")[0]


def _is_unmistakable(lowered: bytes) -> bool:
    """Return whether every reader takes the same lines out of a head, none of them a coding."""
    lines = lowered.count(b"\r\n")
    return (
        lowered.count(b"\n") == lines
        and lowered.count(b"\r") == lines
        and _CODING not in lowered
        and b"\n " not in lowered
        and b"\n\t" not in lowered
    )
