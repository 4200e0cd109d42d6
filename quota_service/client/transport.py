"""Sends calls over HTTP and reads their answers; sends again what may be sent again."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson
from yarl import URL

from quota_service.client.call import Call
from quota_service.client.errors import ABOUT_BLANK, NoAnswer, ProblemError
from quota_service.client.problems import PROBLEM_TYPES
from quota_service.client.repeats import Repeats

CONNECT_TIMEOUT_S = 5.0
TIMEOUT_S = 15.0
LONG_TIMEOUT_S = 300.0
"""For calls that go through a whole exam."""
_PROBLEM_TYPE = "application/problem+json"
_PIECE_BYTES = 65_536
_NO_ANSWER = (aiohttp.ClientError, OSError, TimeoutError)
"""How a request ends that got no whole answer."""


@dataclass(frozen=True, slots=True)
class Transport:
    """A way to one service with one set of credentials; the session is its owner's to close."""

    url: str
    session: aiohttp.ClientSession
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = TIMEOUT_S
    """For one try."""
    repeats: Repeats = field(default_factory=Repeats)

    async def answer(self, call: Call) -> Any:
        """Return the JSON of the answer; raises ProblemError and NoAnswer."""
        until_s, tries = time.monotonic() + self.repeats.within_s, 0
        limits = _timeout(LONG_TIMEOUT_S if call.is_long else self.timeout_s)
        while True:
            tries += 1
            try:
                async with self._sent(call, limits) as response:
                    return _parsed(await response.read())
            except (NoAnswer, ProblemError) as error:
                if isinstance(error, ProblemError):
                    error.tries = tries
                pause_s = self.repeats.pause_after(call, error, tries)
                if pause_s is None or time.monotonic() + pause_s > until_s:
                    raise
            await asyncio.sleep(pause_s)

    async def pieces(self, call: Call, idle_timeout_s: float) -> AsyncGenerator[bytes, None]:
        """Yield the body of the answer as it comes, sent once; raises as `answer` does."""
        async with self._sent(call, _timeout(None, idle_timeout_s)) as response:
            async for piece in response.content.iter_chunked(_PIECE_BYTES):
                yield piece

    @asynccontextmanager
    async def _sent(
        self, call: Call, limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a call once and give its answer, which is no refusal, to the block."""
        headers = {**self.headers, **call.headers}
        body = call.body
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self.session.request(
                call.method,
                URL(f"{self.url}{call.path}", encoded=True),  # "." and ".." may be ids
                data=body,
                headers=headers,
                timeout=limits,
                allow_redirects=False,
            ) as response:
                if response.status >= HTTPStatus.MULTIPLE_CHOICES:
                    raise _refusal(response, await response.read())
                yield response
        except _NO_ANSWER as error:
            reason = str(error) or type(error).__name__
            path = call.path.partition("?")[0]  # a ticket may be in the query
            raise NoAnswer(f"{call.method} {self.url}{path}: {reason}") from error


def _timeout(total_s: float | None, idle_s: float | None = None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_TIMEOUT_S, sock_read=idle_s)


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NoAnswer(f"the answer is not JSON: {error}") from error


def _refusal(response: aiohttp.ClientResponse, body: bytes) -> ProblemError:
    """Return the error of an answer that is no success, whoever sent it."""
    document: Any = None
    if response.content_type == _PROBLEM_TYPE:
        document = _parsed(body)
    if not isinstance(document, dict):
        detail = f"HTTP status {response.status} without a problem document"
        document = {"type": ABOUT_BLANK, "title": response.reason or "", "detail": detail}
    document["status"] = response.status
    slug = str(document.get("type", "")).rpartition("/")[2]
    later = response.headers.get("Retry-After", "")
    return PROBLEM_TYPES.get(slug, ProblemError)(
        document,
        retry_after_s=float(later) if later.isascii() and later.isdigit() else None,
        request_id=response.headers.get("X-Request-ID", ""),
    )
