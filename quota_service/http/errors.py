"""What is refused of a request before anything is asked of a use case.

QuotaError
└── BadRequest                  every one has a problem type of its own
    ├── MalformedRequest            400
    ├── MalformedJson               400
    ├── IdempotencyKeyMissing       400  in api/reservations.py
    ├── IdempotencyKeyAmbiguous     400  in api/reservations.py
    ├── Unauthorized                401
    ├── Forbidden                   403
    ├── BodyTooSlow                 408
    ├── PayloadTooLarge             413
    ├── ContentEncodingRefused      415
    └── InvalidRequest              422  with every member that is wrong
        ├── NationalIdRefused       422  in api/models.py
        └── LastEventIdMalformed    422  in api/streams.py
"""

from collections.abc import Sequence

from quota_service.domain.errors import QuotaError


class BadRequest(QuotaError):
    """Refused before any use case runs; nothing was begun."""


class ClientLeft(Exception):
    """The client left before the end of its body; no answer is sent."""


class MalformedRequest(BadRequest):
    """The request is not well-formed HTTP."""

    slug = "malformed-request"


class MalformedJson(BadRequest):
    """The body is not JSON."""

    slug = "malformed-json"


class Unauthorized(BadRequest):
    """No valid key or signature; nothing more is said."""

    slug = "unauthorized"


class Forbidden(BadRequest):
    """The key lacks the scope; nothing more is said."""

    slug = "forbidden"


class BodyTooSlow(BadRequest):
    """The body did not arrive in the time a request has."""

    slug = "body-too-slow"


class PayloadTooLarge(BadRequest):
    """The body is over the limit."""

    slug = "payload-too-large"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the body is larger than {max_bytes} bytes")
        self.max_bytes = max_bytes


class ContentEncodingRefused(BadRequest):
    """The body is encoded; nothing is ever decoded here."""

    slug = "content-encoding-refused"


class InvalidRequest(BadRequest):
    """Members that are wrong, as (field, detail)."""

    slug = "invalid-request"

    def __init__(self, wrong: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field} {detail}" for field, detail in wrong[:3]))
        self.wrong = tuple(wrong)
