"""Times of day in an exam's time zone, as instants (ms since the epoch).

A change of the clocks leaves out some local times and has others twice. `earliest_ms` and
`latest_ms` say which instants may be meant; they are the same on all other days.
"""

import datetime as dt


def local_date(at_ms: int, zone: dt.tzinfo) -> dt.date:
    """Return the date at an instant."""
    return dt.datetime.fromtimestamp(at_ms / 1000, zone).date()


def earliest_ms(day: dt.date, time_of_day: str, zone: dt.tzinfo) -> int:
    """Return the first instant at which it is `HH:MM` of a day."""
    return min(_both(day, time_of_day, zone))


def latest_ms(day: dt.date, time_of_day: str, zone: dt.tzinfo) -> int:
    """Return the last instant at which it is `HH:MM` of a day."""
    return max(_both(day, time_of_day, zone))


def _both(day: dt.date, time_of_day: str, zone: dt.tzinfo) -> tuple[int, int]:
    local = dt.datetime.combine(day, dt.time.fromisoformat(time_of_day), zone)
    first, second = (round(local.replace(fold=fold).timestamp() * 1000) for fold in (0, 1))
    return first, second
