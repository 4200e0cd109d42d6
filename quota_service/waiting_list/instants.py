"""The announced instants at which returned seats are dealt: times of each day in a time zone.

A time that the clocks go through twice is one instant, the first; one that they leave out is the
instant at which it would have been.
"""

import datetime as dt
from collections.abc import Sequence

from quota_service.waiting_list.local_time import local_date


def last_instant_ms(times: Sequence[str], zone: dt.tzinfo, now_ms: int) -> int | None:
    """Return the last instant that is not after now; None where there are no times."""
    today = local_date(now_ms, zone)
    days = (today - dt.timedelta(days=1), today)
    local = [dt.datetime.combine(d, dt.time.fromisoformat(t), zone) for d in days for t in times]
    instants = (round(each.timestamp() * 1000) for each in local)
    return max((at_ms for at_ms in instants if at_ms <= now_ms), default=None)
