"""Times on the wire: RFC 3339 in UTC with milliseconds out, any offset and precision in."""

import datetime as dt
import functools
import re

from quota_service.domain.definition import LATEST_MS

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)


def rfc3339(ms: int) -> str:
    """Return milliseconds since the epoch as `2023-03-14T04:00:00.000Z`."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@functools.lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Return a second since the epoch as text; the seconds of one moment are asked for together."""
    return f"{dt.datetime.fromtimestamp(seconds, tz=dt.UTC):%Y-%m-%dT%H:%M:%S}"


def parse_rfc3339(text: str) -> int | None:
    """Return milliseconds since the epoch, or None when the text is no RFC 3339 time.

    Only times of the years 1970 to 9999 are taken, which are those that can be written again.
    """
    if _RFC3339.fullmatch(text) is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    # Whole numbers throughout: a float of seconds would lose a millisecond here and there.
    time_ms = (moment - _EPOCH) // _MILLISECOND
    return time_ms if 0 <= time_ms <= LATEST_MS else None
