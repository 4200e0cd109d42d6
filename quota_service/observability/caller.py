"""Who asked for what is being done, as the context of the task carries it.

The edge that knows sets it; the journal, refunds and imports keep it, and log lines tell it.
"""

from dataclasses import dataclass

from quota_service.observability.logs import KEY_ID, REQUEST_ID

PROVIDER = "provider"
"""Stands for a key where the payment provider has signed a request."""

_SEPARATOR = "/"


@dataclass(frozen=True, slots=True)
class Caller:
    """The id of an API key, or what stands for it, and of a request; empty where there is none."""

    key_id: str
    request_id: str

    @property
    def text(self) -> str:
        """How scripts are told of it and the journal in Redis keeps it."""
        return f"{self.key_id}{_SEPARATOR}{self.request_id}"

    @classmethod
    def read(cls, text: str) -> "Caller":
        """Return the caller a text tells of; entries of earlier versions have none."""
        key_id, _, request = text.partition(_SEPARATOR)
        return cls(key_id, request)


def caller() -> Caller:
    """Return who asked for what is being done."""
    return Caller(KEY_ID.get(), REQUEST_ID.get())
