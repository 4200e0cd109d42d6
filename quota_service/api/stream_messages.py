"""The events of the availability stream as bytes, made once for all who are told the same.

Each is kept in both forms HTTP may want: plain for HTTP/1.0, which proxies speak, and as a chunk of
HTTP/1.1; so a crowd of watchers costs neither rendering nor framing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from quota_service.api.answers import AvailabilityStale
from quota_service.api.render import availability_change_json
from quota_service.api.times import rfc3339
from quota_service.registration.availability import Availability
from quota_service.registration.availability_changes import AvailabilityChange


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes for many streams; a reader that missed `news` has to be told everything anew."""

    plain: bytes
    chunked: bytes
    is_news: bool = True


def snapshot_message(availability: Availability, body: bytes) -> Message:
    """Return everything: `body` is the JSON of the availability itself."""
    return _event("snapshot", body, state_id=availability.state_id)


def change_message(change: AvailabilityChange, subjects: Sequence[str] | None) -> Message | None:
    """Return what changed in some subjects; None when nothing did."""
    document = availability_change_json(change, subjects)
    if not document["quotas"]:
        return None
    return _event("change", orjson.dumps(document), state_id=change.after.state_id)


def stale_message(availability: Availability) -> Message:
    """Return the word that nothing newer is known for now; it has no id of its own."""
    document: AvailabilityStale = {
        "exam": availability.exam.id,
        "version": availability.version,
        "revision": availability.exam.revision,
        "as_of": rfc3339(availability.as_of_ms),
    }
    return _event("stale", orjson.dumps(document))


def heartbeat_message() -> Message:
    """Return a comment, which keeps proxies from closing a quiet stream."""
    return _message(b":\n\n", is_news=False)


def retry_field(retry_ms: int) -> bytes:
    """Return the field that tells when to open the stream again once it has ended."""
    return b"retry: %d\n\n" % retry_ms


def _event(name: str, body: bytes, *, state_id: str = "") -> Message:
    lines = [f"event: {name}", *([f"id: {state_id}"] if state_id else [])]
    head = "\n".join(lines).encode()
    return _message(b"%b\ndata: %b\n\n" % (head, body))


def _message(plain: bytes, *, is_news: bool = True) -> Message:
    return Message(plain, b"%x\r\n%b\r\n" % (len(plain), plain), is_news)
