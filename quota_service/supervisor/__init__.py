"""Several API processes on one port: `serve --workers N`.

The supervisor holds the port. It accepts connections and hands each to the worker that has the
fewest, over the channel it has with it. One listening socket shared by the workers would leave it
to chance who wakes up first, and connections that are kept alive would stay that unevenly; a socket
for each (SO_REUSEPORT) deals them by a hash, unevenly when they are few, and resets what waits in
the queue of one that dies. Here a worker's death costs nobody but those it was serving.

A worker counts in memory that its supervisor reads (`observability/shared_values`), so /metrics
of the supervisor is exact over all of them, also over those that were killed.

When the supervisor dies, in whatever way, its end of the channels closes; each worker reads that,
finishes what it has under way and ends. They hold no port, so a new supervisor need not wait.
"""
