"""What became of the orders of a run, by the service's counters and by Redis."""

from collections import Counter
from dataclasses import dataclass
from typing import Self

from loadtest.bench.counters import check_count, check_only, counted, steady
from loadtest.bench.errors import BenchError
from loadtest.bench.testbed import Api, Testbed

HELD = "held"
OVERLOADED = "overloaded"


@dataclass(frozen=True, slots=True)
class OrderCounts:
    """The orders of one exam through one API, up to a time without requests in flight."""

    testbed: Testbed
    api: Api
    exam: str
    outcomes: Counter[str]
    left: Counter[str]
    """Orders that were dropped before they reached Redis, their callers having gone."""
    holds: int

    @classmethod
    async def now(cls, testbed: Testbed, api: Api, exam: str) -> Self:
        """Count, once the counters are steady."""

        async def outcomes() -> Counter[str]:
            return await counted(
                testbed.http, api.admin_urls, "quota_reservations_total", exam=exam
            )

        found = await steady(outcomes)
        refused = await counted(
            testbed.http, api.admin_urls, "quota_requests_refused_total", work="reserve"
        )
        left = Counter({OVERLOADED: refused["caller_left"]})
        shard = testbed.service.stores.registry.shard(exam)
        snapshot = await testbed.service.stores.seats.snapshot(shard)
        return cls(testbed, api, exam, found, left, snapshot.live_holds)

    async def check_since(
        self, what: str, outcome: str, *, answered: int, in_flight: int, expired: int = 0
    ) -> int:
        """Return how many orders ended as `outcome` since then.

        Raises BenchError when the client was answered otherwise, when others ended otherwise,
        or when Redis has not as many holds more, but for those that expired.
        """
        now = await OrderCounts.now(self.testbed, self.api, self.exam)
        # wrk cuts its connections at the end: what still waited for a batch is dropped, and is
        # counted as turned away, for this reason and no other.
        grown = now.outcomes - self.outcomes - (now.left - self.left)
        check_only(what, grown, outcome)
        check_count(what, answered, grown[outcome], in_flight)
        held = now.holds - self.holds + expired
        if held != grown[HELD]:
            raise BenchError(f"{what}: {held} holds more in Redis, {grown[HELD]} counted")
        return grown[outcome]
