"""The row of live availability: orders with thousands of watchers, against orders without."""

import orjson

from loadtest.bench.errors import BenchError
from loadtest.bench.processes import first_line, start_python, stop
from loadtest.bench.rounds import alternating_rows
from loadtest.bench.table import Row, at_least
from loadtest.bench.targets import Orders, Sample
from loadtest.bench.testbed import Testbed
from loadtest.bench.throughput import new_exam

_SECONDS_MIN = 4
"""Watchers are sent changes every other second; a shorter time would measure none or a half."""


class WatchedOrders(Orders):
    """Orders of an exam whose availability is watched by many."""

    async def measure(self, connections: int, seconds: int) -> Sample:
        """Start the watchers, order, and check that all got changes and are still connected."""
        wanted = self.testbed.plan.watchers
        url = f"{self.testbed.api.url}/v1/exams/{self.exam}/availability/stream"
        process = await start_python(
            "loadtest.bench.watchers", "--url", url, "--count", str(wanted)
        )
        try:
            watching = int(await first_line(process))
            sample = await super().measure(connections, max(seconds, _SECONDS_MIN))
            process.terminate()
            printed, _ = await process.communicate()
        finally:
            await stop(process)
        seen = orjson.loads(printed)
        if watching != wanted or seen["left"] != wanted or not seen["bytes"]:
            raise BenchError(f"of {wanted} watchers {watching} came, then: {seen}")
        told = {"bytes_told_each": seen["bytes"] / wanted}
        return Sample(sample.per_s, sample.p50_ms, sample.p99_ms, {**sample.more, **told})


async def watchers_rows(testbed: Testbed) -> list[Row]:
    """Return the row of orders with watchers, against without."""
    exam = await new_exam(testbed)
    watched = WatchedOrders(testbed, "watched", exam)
    alone = Orders(testbed, "not watched", exam)
    name = f"reserve with {testbed.plan.watchers:,} watchers ÷ without"
    pair = (name, at_least(0.9), watched, alone)
    seconds = max(testbed.plan.seconds, _SECONDS_MIN)
    return await alternating_rows(testbed, [pair], testbed.plan.connections[:1], seconds)
