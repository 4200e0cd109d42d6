"""Times on the wire: RFC 3339 in UTC with milliseconds out, any offset and precision in."""

import datetime as dt
import re

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)


def rfc3339(ms: int) -> str:
    """Return milliseconds since the epoch as `2023-03-14T04:00:00.000Z`."""
    moment = dt.datetime.fromtimestamp(ms // 1000, tz=dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def parse_rfc3339(text: str) -> int | None:
    """Return milliseconds since the epoch, or None when the text is no RFC 3339 time."""
    if _RFC3339.fullmatch(text) is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text.upper())
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
