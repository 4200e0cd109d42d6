"""The announced instants at which returned seats are dealt: times of each day in a time zone.

A time that the clocks go through twice is one instant, the first; one that they leave out is the
instant at which it would have been.
"""

import datetime as dt
from collections.abc import Sequence

from quota_service.waiting_list.local_time import local_date

_DAYS = (-1, 0, 1)


def last_instant_ms(times: Sequence[str], zone: dt.tzinfo, now_ms: int) -> int | None:
    """Return the last instant that is not after now; None where there are no times."""
    return max((at for at in _around(times, zone, now_ms) if at <= now_ms), default=None)


def next_instant_ms(times: Sequence[str], zone: dt.tzinfo, now_ms: int) -> int | None:
    """Return the first instant after now; None where there are no times."""
    return min((at for at in _around(times, zone, now_ms) if at > now_ms), default=None)


def _around(times: Sequence[str], zone: dt.tzinfo, now_ms: int) -> list[int]:
    """Return the instants of the day before, of today and of the day after."""
    today = local_date(now_ms, zone)
    days = [today + dt.timedelta(days=offset) for offset in _DAYS]
    local = [dt.datetime.combine(d, dt.time.fromisoformat(t), zone) for d in days for t in times]
    return [round(each.timestamp() * 1000) for each in local]
