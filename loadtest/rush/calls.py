"""Sends the calls of the client as the registration frontend does, and notes each of them.

All candidates share one pool of kept connections, because in production it is the frontend's few
servers that call, not ten thousand browsers. The time a call takes includes its wait for a
connection of the pool. They go through the client below locust's FastHttpUser, spoken to directly:
what FastHttpUser does on top (redirects, cookies, URLs) takes several times as long, and the crowd
shares the machine with the service. Nothing is sent again by itself, so that every answer counts.
"""

import time
from dataclasses import dataclass
from typing import Any

import orjson
from gevent import Timeout
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError
from locust.env import Environment

from loadtest.rush.evidence import Call as Called
from loadtest.rush.evidence import Document, Evidence
from quota_service.client.call import Call

_REFUSED = 400
_SERVER_FAULT = 500
_UNAVAILABLE = 503
_OK = (200, 201)
_RETRY_AFTER_S = 1.0
NO_ANSWER = (OSError, Timeout, HTTPParseError)
"""How a request ends that got no answer: refused, reset, too late, or broken off."""


class ServiceFaultError(Exception):
    """The service answered with a fault of its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended: status 0 when nothing came, the slug of a problem, the body as parsed."""

    status: int
    slug: str
    body: Any
    retry_after_s: float
    sent_s: float
    answered_s: float

    @property
    def is_ok(self) -> bool:
        """Whether the call was done."""
        return self.status in _OK

    @property
    def is_busy(self) -> bool:
        """Whether the same call may be repeated."""
        return self.status in {0, 429, _UNAVAILABLE}

    @property
    def document(self) -> Document:
        """The body, which a call that was done answers with an object."""
        if not isinstance(self.body, dict):
            raise TypeError(f"an answer {self.status} has {type(self.body).__name__} for a body")
        return self.body


class Caller:
    """Sends requests through a shared client; `key` is the API key, empty for public calls."""

    def __init__(
        self, environment: Environment, evidence: Evidence, client: HTTPClient, key: str = ""
    ) -> None:
        self._evidence = evidence
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = client
        self._tell_locust = environment.events.request.fire

    def send(self, step: str, call: Call) -> Answer:
        """Send one call, note it, and return how it ended; it never raises for an answer."""
        headers, body = {**self._headers, **call.headers}, call.body
        if body is not None:
            headers["Content-Type"] = "application/json"
        sent_s, started = time.time(), time.perf_counter()
        fault: Exception | None = None
        status, text, content_type, retry_after = 0, b"", "", ""
        try:
            response = self._client.request(
                call.method, call.path, body=body or b"", headers=headers
            )
            text = bytes(response.read())
            status = response.status_code
            content_type = str(response.get("content-type", ""))
            retry_after = str(response.get("retry-after", ""))
        except NO_ANSWER as error:
            fault, status = error, 0
        took_ms = (time.perf_counter() - started) * 1000
        parsed = orjson.loads(text) if status and text and "json" in content_type else text
        slug = _slug(status, parsed)
        self._evidence.add(Called(step, sent_s, took_ms, status, slug))
        # Refusals are answers; only faults of the service are failures to locust.
        if status >= _SERVER_FAULT and status != _UNAVAILABLE:
            fault = ServiceFaultError(f"{status} {slug}")
        self._tell_locust(
            request_type=call.method,
            name=step,
            response_time=took_ms,
            response_length=len(text),
            exception=fault,
            context={},
        )
        retry_after_s = float(retry_after) if retry_after else _RETRY_AFTER_S
        return Answer(status, slug, parsed, retry_after_s, sent_s, time.time())


def shared_client(host: str, connections_max: int, timeout_s: float) -> HTTPClient:
    """Return a client with a pool of kept connections for many callers; `host` is a URL."""
    return HTTPClient.from_url(
        host,
        concurrency=connections_max,
        network_timeout=timeout_s,
        connection_timeout=timeout_s,
    )


def _slug(status: int, parsed: Any) -> str:
    if status == 0:
        return "no-answer"
    if status < _REFUSED:
        return ""
    if isinstance(parsed, dict):
        return str(parsed.get("type", "")).rpartition("/")[2] or f"status-{status}"
    return f"status-{status}"
