"""What a connection asks of the application behind it, and the requests it hands over."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from multidict import CIMultiDict, CIMultiDictProxy

BODY_MAX_BYTES = 16_384
"""Larger bodies are answered 413, but for calls with a limit of their own."""


class Client(Protocol):
    """The client of a connection, as the application sees it."""

    address: str

    @property
    def is_gone(self) -> bool:
        """Whether the client has left."""

    def answer(self, data: bytes, *, is_last: bool = False) -> None:
        """Send the answer to the request at work."""


class Application(Protocol):
    """What answers the requests of connections; `Found` is its own, a call and its parameters."""

    body_max_bytes: int
    """The longest body of a plain request."""
    head_timeout_s: float
    """How long the head of a request may take to come; the first, from the connection's begin."""
    body_timeout_s: float
    """The same for the body, from the end of the head."""
    idle_timeout_s: float
    """How long a connection may be without a request, or its client may read nothing."""

    def read(self, parse: Callable[[], None]) -> None:
        """Call what parses the bytes of a connection, now or when others had their turn."""

    def read_later(self, parse: Callable[[], None]) -> None:
        """Call it when others had their turn."""

    def find(self, method: bytes, target: str) -> Any:
        """Return the call that a request is for; None when plain requests cannot make it."""

    def take(self, client: Client, plain: "PlainRequest") -> None:
        """Answer a request, now or later, by the client's `answer`."""

    def refuse_malformed(self, client: Client, cause: str) -> None:
        """Answer what is no HTTP, or no request, as the last of its connection."""

    def refuse_slow(self, client: Client, plain: "PlainRequest") -> None:
        """Answer a request whose body does not come, as the last of its connection."""

    def by_aiohttp(self) -> asyncio.Protocol:
        """Return what a connection becomes that has more than plain requests."""

    def has_end(self, target: str) -> bool:
        """Return whether the answer of aiohttp to a request has an end, as a stream has none."""


@dataclass(slots=True)
class PlainRequest:
    """A whole request; `found` is what the application found for its target.

    `offered_id` is the request id that the client gave, and `origin` that of the page that asks, if
    any.
    """

    found: Any
    target: str
    offered_id: str | None
    origin: str | None
    lines: Sequence[tuple[bytes, bytes]]
    body: bytes

    def read_headers(self) -> "CIMultiDictProxy[str]":
        """Return the headers as aiohttp has them; made when asked for: a refusal needs none."""
        return CIMultiDictProxy(
            CIMultiDict(
                (name.decode("latin-1"), value.strip(b" \t").decode("utf-8", "surrogateescape"))
                for name, value in self.lines
            )
        )
