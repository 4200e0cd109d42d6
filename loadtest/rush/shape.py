"""The shape of the crowd's coming: the arrival curve of the crowd, in the time of the run."""

import itertools

from loadtest.rush.options import Options


def arrived(options: Options, at_s: float) -> int:
    """Return how many candidates have come by `at_s` seconds from the opening (negative before).

    A point of the curve that is later than the next one in this run, because one of them is in
    seconds and the other is not, counts at the time of the next.
    """
    curve = [
        (point.at_s(options.before_s, options.open_s), point.come)
        for point in options.crowd.arrivals
    ]
    times = list(itertools.accumulate([at for at, _ in reversed(curve)], min))[::-1]
    points = [(at, come) for at, (_, come) in zip(times, curve, strict=True)]
    share = 0.0
    for (start_s, before), (end_s, after) in itertools.pairwise(points):
        if at_s >= end_s:
            share = after
        elif at_s > start_s:
            share = before + (after - before) * (at_s - start_s) / (end_s - start_s)
            break
    return round(options.candidates * share)
