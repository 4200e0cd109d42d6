"""A request as a handler sees it, whichever way it came.

A handler takes what it works with and a `Request`, and returns a `Response`, or a coroutine that
ends in one when it has to ask a store. It is written once and knows no server's objects.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from multidict import CIMultiDictProxy, MultiMapping

from quota_service.http.response import Response

Context = TypeVar("Context")


@dataclass(slots=True)
class Request:
    """What a handler may know of a request; `params` are the variable parts of its address.

    `read_query` parses the query when a handler asks for it.
    """

    params: Mapping[str, str]
    headers: "CIMultiDictProxy[str]"
    body: bytes
    read_query: Callable[[], "MultiMapping[str]"]
    address: str = ""
    """Where the request comes from."""
    event: str = ""
    """The event id of a signed callback, once its signature is verified."""
    owner: str = ""
    """The candidate whose token came with it, who may reach only what is its own; "" for a key."""
    candidate: str = ""
    """The candidate it is about, for log and history: set by a handler that has checked the id."""


Handler = Callable[[Context, Request], Response | Coroutine[Any, Any, Response]]
"""A coroutine is run to its end even if the client leaves: it may be between two stores."""
