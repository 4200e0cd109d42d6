"""Which pages of other origins may read what is answered, by the rules of the Fetch standard.

A browser sends `Origin`, and before most calls a preflight: an OPTIONS request without a key. An
origin is allowed when it is in the list, to the letter. One that is not is answered without the
headers, and its browser keeps the answer from the page. No cookie is meant: callers show a token.
"""

from quota_service.http.response import Headers

_MAX_AGE_S = 7200
"""How long a browser keeps a preflight, for its address: the longest that Chromium takes."""
_SENT = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, "
    "Waiting-Room-Pass, X-Request-ID"
)
"""Headers that a page may send."""
_READ = (
    "Date, ETag, Idempotency-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After, "
    "X-Request-ID"
)
"""Headers that a page may read, beside those that every page may."""
VARY: Headers = (("Vary", "Origin"),)


class Cors:
    """The origins that are allowed; without any nothing is said of them."""

    def __init__(self, origins: str) -> None:
        """`origins` is the setting: with a comma between them."""
        self._allowed: dict[str, Headers] = {
            origin: (
                ("Access-Control-Allow-Origin", origin),
                ("Access-Control-Expose-Headers", _READ),
                *VARY,
            )
            for origin in filter(None, origins.split(","))
        }

    @property
    def is_on(self) -> bool:
        """Whether any origin is allowed."""
        return bool(self._allowed)

    def headers(self, origin: str | None) -> Headers:
        """Return what every answer to a request has, by the Origin it came with."""
        if not self._allowed:
            return ()
        return self._allowed.get(origin or "", VARY)

    def preflight(self, origin: str | None, methods: str) -> Headers:
        """Return what the answer to a preflight has beside that; `methods` are of the address."""
        if origin not in self._allowed:
            return ()
        return (
            ("Access-Control-Allow-Methods", methods),
            ("Access-Control-Allow-Headers", _SENT),
            ("Access-Control-Max-Age", str(_MAX_AGE_S)),
        )
