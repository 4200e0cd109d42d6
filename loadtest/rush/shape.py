"""The shape of the crowd's coming: before the opening evenly, a spike at it, and a tail."""

from loadtest.rush.options import Options

TAIL_QUIET_SHARE = 0.25
"""The last part of the open time without arrivals, so that the last candidates finish."""


def arrived(options: Options, at_s: float) -> int:
    """Return how many candidates have come by `at_s` seconds from the opening (negative before)."""
    tail_s = options.open_s * (1 - TAIL_QUIET_SHARE) - options.spike_s
    tail_share = 1 - options.before_share - options.spike_share
    before = min(1.0, max(0.0, (at_s + options.before_s) / options.before_s))
    spike = min(1.0, max(0.0, at_s / options.spike_s))
    tail = min(1.0, max(0.0, (at_s - options.spike_s) / tail_s))
    come = options.before_share * before + options.spike_share * spike + tail_share * tail
    return round(options.candidates * come)
