"""A request and its answer without aiohttp's objects, for the calls that thousands make at once.

A handler of such a call takes a `Call` and returns an `Answer`, or a coroutine that ends in one
when it has to ask a store. So it is written once and runs on both lanes: the express lane, which
writes the answer's bytes straight to the connection, and aiohttp's, which takes whatever is unusual
about a request.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from multidict import CIMultiDictProxy, MultiMapping

from quota_service.api.answer import Answer
from quota_service.api.context import ApiContext


@dataclass(slots=True)
class Call:
    """What a handler may know of a request; `params` are the variable parts of its address.

    `read_query` parses the query when a handler asks for it.
    """

    params: Mapping[str, str]
    headers: "CIMultiDictProxy[str]"
    body: bytes
    read_query: Callable[[], "MultiMapping[str]"]
    address: str = ""
    """Where the request comes from."""


HotHandler = Callable[[ApiContext, Call], Answer | Coroutine[Any, Any, Answer]]
"""A coroutine is run to its end whoever goes meanwhile: it may be between two stores."""


@dataclass(frozen=True, slots=True)
class Hot:
    """Marks the handler of a call that thousands make at once.

    `is_simple` says that its coroutine waits for nothing but the answers of Redis.
    """

    handler: HotHandler
    is_simple: bool = False
