"""One call as it is to be sent, and the class that every call is a method of."""

from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import orjson

_Document = TypeVar("_Document")
Answer = Coroutine[Any, Any, _Document]
"""A document to be awaited."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request without its credentials; `path` has the query in it."""

    method: str
    path: str
    document: Mapping[str, Any] | None = None
    """The JSON object of the body; None for no body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = False
    """Whether sending it again after a lost answer has one effect and the same answer."""
    is_long: bool = False
    """Whether it may take longer than other calls."""

    @property
    def body(self) -> bytes | None:
        """The bytes of the body."""
        return None if self.document is None else body_of(self.document)


class CallSender:
    """Sends what the methods of `Calls` make; a subclass says how."""

    def _call(self, call: Call) -> Answer[Any]:
        """Send a call and return the JSON of its answer."""
        raise NotImplementedError

    def _file(self, call: Call) -> AsyncIterator[bytes]:
        """Send a call and yield the file that it answers, in pieces."""
        raise NotImplementedError


def quoted(part: str | int) -> str:
    """Return an id as it stands in a path."""
    return quote(str(part), safe="")


def with_query(path: str, **query: object) -> str:
    """Return a path with its query, without what is None."""
    asked = "&".join(f"{name}={_asked(value)}" for name, value in given(**query).items())
    return f"{path}?{asked}" if asked else path


def given(**members: object) -> dict[str, Any]:
    """Return the members that are not None; an underscore at the end of a name is not sent."""
    return {name.rstrip("_"): value for name, value in members.items() if value is not None}


def body_of(document: Mapping[str, Any]) -> bytes:
    """Return the bytes that a JSON object is sent as."""
    return orjson.dumps(document)


def new_idempotency_key() -> str:
    """Return a key that no other request has."""
    return str(uuid4())


def _asked(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    texts = [str(value)] if isinstance(value, str | int) else map(str, value)  # type: ignore[call-overload]
    return ",".join(quote(text, safe="") for text in texts)
