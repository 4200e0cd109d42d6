"""Who asked for what is being done, as the context of the task carries it.

The edge that knows sets it; the journal, refunds and imports keep it, and log lines have it.
"""

from dataclasses import dataclass

from quota_service.observability.logs import KEY_ID, REQUEST_ID

PROVIDER = "provider"
"""In place of a key where the payment provider has signed a request."""

_SEPARATOR = "/"


@dataclass(frozen=True, slots=True)
class Caller:
    """The ids of an API key, or a word in its place, and of a request; empty without one."""

    key_id: str
    request_id: str

    @property
    def text(self) -> str:
        """The text for scripts and the journal in Redis."""
        return f"{self.key_id}{_SEPARATOR}{self.request_id}"

    @classmethod
    def read(cls, text: str) -> "Caller":
        """Return the caller of a text; entries of earlier versions have none."""
        key_id, _, request = text.partition(_SEPARATOR)
        return cls(key_id, request)


def caller() -> Caller:
    """Return who asked for what is being done."""
    return Caller(KEY_ID.get(), REQUEST_ID.get())
