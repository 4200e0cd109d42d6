"""Times of an exam definition: RFC 3339 or datetimes in, milliseconds since the epoch out."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from quota_service.domain.definition import EPOCH, LATEST_MS

_MILLISECOND = timedelta(milliseconds=1)
_RFC_3339 = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]{1,9}))?"
    r"(?P<offset>[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?",
    re.ASCII,
)


def time_ms(value: str | datetime, zone: ZoneInfo | None) -> int | None:
    """Return the time in milliseconds since the epoch.

    A time without an offset is one on the clocks of `zone`; None comes back where that is not
    known. Raises ValueError saying what is wrong: no RFC 3339 time, finer than milliseconds, out of
    range, or on a clock change, where local time alone does not name one moment.
    """
    moment = _moment(value) if isinstance(value, str) else value
    if moment.microsecond % 1000:
        raise ValueError("is finer than milliseconds")
    if moment.tzinfo is None:
        if zone is None:
            return None
        moment = moment.replace(tzinfo=zone)
        if moment.utcoffset() != moment.replace(fold=1).utcoffset():
            raise ValueError(f"falls on a clock change of {zone.key}: give it with its offset")
    since_epoch_ms = (moment - EPOCH) // _MILLISECOND
    if not 0 <= since_epoch_ms <= LATEST_MS:
        raise ValueError("must be from the year 1970 to 9999")
    return since_epoch_ms


def _moment(text: str) -> datetime:
    parts = _RFC_3339.fullmatch(text)
    if parts is None:
        raise ValueError(
            "must be an RFC 3339 date and time such as 2023-03-14T12:00:00+08:00, "
            f"not {text[:40]!r}{'…' if len(text) > 40 else ''}"  # noqa: PLR2004 (a length to show)
        )
    fraction = parts["fraction"] or ""
    if fraction[3:].strip("0"):
        raise ValueError("is finer than milliseconds")
    offset = (parts["offset"] or "").upper()
    try:
        return datetime.fromisoformat(
            f"{parts['date']}T{parts['time']}.{fraction[:3]:0<3}{offset}",
        )
    except ValueError as fault:
        raise ValueError(f"{text!r} is on no calendar or clock: {fault}") from fault
