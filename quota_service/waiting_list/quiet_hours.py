"""How long an offer can be paid for: a deadline that does not run in quiet hours.

The quiet hours are those of the exam and those of the candidate, each day in the exam's time zone.
Where the clocks are changed within them, they count in favour of the candidate. Seats are not held
for weeks by them: those of the candidate count only where a third of the day is left with both.
"""

import datetime as dt
import functools
from collections.abc import Sequence

from quota_service.domain.exam import QuietHours
from quota_service.waiting_list.local_time import earliest_ms, latest_ms, local_date

_DAY = dt.timedelta(days=1)
_DAY_MIN = 24 * 60
_AWAKE_MIN = 8 * 60
"""Minutes of the day that quiet hours have to leave."""


@functools.lru_cache
def that_count(of_exam: QuietHours | None, of_candidate: QuietHours | None) -> Sequence[QuietHours]:
    """Return the quiet hours that count for an offer."""
    both = [hours for hours in (of_exam, of_candidate) if hours is not None]
    quiet_min = len({minute for hours in both for minute in _minutes(hours)})
    if of_exam is not None and quiet_min > _DAY_MIN - _AWAKE_MIN:
        return (of_exam,)
    return both


def _minutes(hours: QuietHours) -> list[int]:
    """Return the minutes of the day that are in quiet hours."""
    starts, ends = (int(text[:2]) * 60 + int(text[3:]) for text in (hours.starts, hours.ends))
    return [minute % _DAY_MIN for minute in range(starts, ends + _DAY_MIN * (starts >= ends))]


def deadline_ms(
    now_ms: int,
    ttl_ms: int,
    quiet: Sequence[QuietHours],
    zone: dt.tzinfo,
    last_ms: int,
) -> int:
    """Return when an offer of now ends: after `ttl_ms` outside of all quiet hours.

    It is `last_ms` at most; that is what it is where the quiet hours leave no time of the day.
    """
    at_ms, left_ms = now_ms, ttl_ms
    while at_ms < last_ms:
        spans = _spans(at_ms, quiet, zone)
        ends = [end for start, end in spans if start <= at_ms < end]
        if ends:
            at_ms = max(ends)
            continue
        begins_ms = min((start for start, _ in spans if start > at_ms), default=last_ms)
        if begins_ms - at_ms >= left_ms:
            return min(at_ms + left_ms, last_ms)
        left_ms -= begins_ms - at_ms
        at_ms = begins_ms
    return last_ms


def _spans(at_ms: int, quiet: Sequence[QuietHours], zone: dt.tzinfo) -> list[tuple[int, int]]:
    """Return the quiet hours that begin the day before an instant, that day and the day after."""
    today = local_date(at_ms, zone)
    return [
        (
            earliest_ms(day, hours.starts, zone),
            latest_ms(day if hours.starts < hours.ends else day + _DAY, hours.ends, zone),
        )
        for day in (today - _DAY, today, today + _DAY)
        for hours in quiet
    ]
