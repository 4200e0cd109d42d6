"""The bench: what the service does at its best, as ratios to baselines of the same run.

    python -m loadtest.bench [--rounds N] [--seconds N] [--connections N,N] [--only NAME] [--quick]

It prints a table, and writes `loadtest/results/bench.json` (one object a row) and `bench.png`. What
is compared alternates, round by round; a ratio is the median of the ratios of the rounds, and
the smallest and the largest are shown beside every median. What warms up does not count. wrk is the
client (one thread) of the rows of throughput, `open_loop` of the rows of latency. The baselines are
`echo`, a bare aiohttp application that reads and answers the same bodies, and `rowlock`, the same
with one Postgres row-lock transaction each.

A measurement counts when the service's own counters and the stores agree with what the client was
told; one that is in doubt is reported as such, has no row, and the exit status is 1.

The journal is drained as in production while something is measured. What is left of it afterwards
is thrown away instead of drained, so that it is no burden to what is measured next.

Benches that run by themselves:

    python -m loadtest.bench.group_commit    confirmations, group-committed and not (a row here too)
    python -m loadtest.bench.recovery        the payments of a process that died
    python -m loadtest.bench.recovery_times  how soon the service is back after Redis was lost
    python -m loadtest.bench.overload        three times as many orders as can be served; `--proxy`
"""
