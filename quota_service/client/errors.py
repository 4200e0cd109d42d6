"""How a call fails.

    QuotaClientError
    ├── NoAnswer        nothing, or nothing whole, came back: the call may have had its effect
    ├── WebhookRefused  what was sent to us is not signed by the service, or is stale
    └── ProblemError    the service refused; a subclass for each problem type (`problems`)

A refusal that `problems` does not know, from a newer service, is a plain ProblemError.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

ABOUT_BLANK = "about:blank"
"""The type of an error answer that says no more than its status (RFC 9457)."""


class QuotaClientError(Exception):
    """Root of all errors of the client."""


class NoAnswer(QuotaClientError):
    """The service could not be reached, broke off, or took too long."""


class WebhookRefused(QuotaClientError):
    """A webhook without a valid signature, or one that is stale."""


class ProblemError(QuotaClientError):
    """The service refused a call; `detail` says for people what happened this time."""

    slug: ClassVar[str] = ""
    """Names the problem type; empty where the class is none of its own."""

    def __init__(
        self,
        document: Mapping[str, Any],
        *,
        retry_after_s: float | None = None,
        request_id: str = "",
        tries: int = 1,
    ) -> None:
        """Take the problem document; `tries` is how often the call was sent."""
        self.document = document
        self.type = str(document.get("type", ABOUT_BLANK))
        self.title = str(document.get("title", ""))
        self.status = int(document.get("status", 0))
        self.detail = str(document.get("detail", self.title))
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        self.tries = tries
        for member in type(self).__annotations__:
            setattr(self, member, document.get(member))
        super().__init__(f"{self.type.rpartition('/')[2]}: {self.detail}")
