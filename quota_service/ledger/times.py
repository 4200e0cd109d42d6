"""Times as Postgres has them, and as the domain has them: milliseconds since the Unix epoch."""

import datetime as dt


def ms(time: dt.datetime) -> int:
    """Return a time in milliseconds."""
    return round(time.timestamp() * 1000)


def instant(ms: int) -> dt.datetime:
    """Return the time of milliseconds; ValueError or OverflowError where no calendar has it."""
    return dt.datetime.fromtimestamp(ms / 1000, tz=dt.UTC)
