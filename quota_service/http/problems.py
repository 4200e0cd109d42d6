"""Problem answers (RFC 9457): a type of them, and its response."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson

from quota_service.http.response import Response

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = (1, 3)
"""Seconds a client is asked to wait, drawn evenly so that a crowd does not come back as one."""
_ASK_AGAIN = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""Statuses that say when to ask again."""

_TITLES = {
    "malformed-json": "Malformed JSON",
    "idempotency-key-missing": "Idempotency-Key missing",
    "idempotency-key-ambiguous": "Idempotency-Key ambiguous",
    "idempotency-key-reused": "Idempotency-Key reused",
    "last-event-id-malformed": "Last-Event-ID malformed",
}
"""Titles whose words are spelled in a way of their own."""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of error answer; `example` shows the members beside the standard ones.

    `optional` are those of them that an answer may leave out.
    """

    slug: str
    status: int
    meaning: str
    example: Mapping[str, Any] = field(default_factory=dict)
    optional: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The words of the slug, as they are spelled."""
        return _TITLES.get(self.slug) or self.slug.replace("-", " ").capitalize()

    @property
    def uri(self) -> str:
        """The value of `type`."""
        return f"/problems/{self.slug}"

    def document(self, detail: str, **members: Any) -> dict[str, Any]:
        """Return the body of an answer: what all of the type have, and what happened this time."""
        about = {"type": self.uri, "title": self.title, "status": self.status}
        return {**about, "detail": detail, **members}

    def response(
        self, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> Response:
        """Return the answer: the status and title of the type, this detail, these members.

        A 429 and a 503 say with Retry-After (seconds) when to ask again.
        """
        body = self.document(detail, **members)
        all_headers = dict(headers or {})
        if self.status in _ASK_AGAIN:
            all_headers.setdefault("Retry-After", str(random.randint(*RETRY_AFTER_S)))  # noqa: S311
        if self.status == HTTPStatus.UNAUTHORIZED:
            all_headers["WWW-Authenticate"] = "Bearer"
        return Response(orjson.dumps(body), self.status, tuple(all_headers.items()), CONTENT_TYPE)
