"""The subjects under wrk: the baselines, and the calls of the service that are compared with them.

Each target runs once a turn and returns a sample. A sample of a call of the service is only
returned when the service's own counters and the stores agree with what wrk counted; successes and
refusals are never added up.
"""

import abc
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from loadtest.bench.counters import check_count, check_only, counted, redis_use, steady
from loadtest.bench.errors import BenchError
from loadtest.bench.holding import hold, trim_journal
from loadtest.bench.messages import order_requests, payment_requests
from loadtest.bench.order_counts import HELD, OrderCounts
from loadtest.bench.rowlock import count_orders
from loadtest.bench.testbed import Api, Testbed
from loadtest.bench.wrk import run_wrk

_PREPARED_SHARE = 1.4
"""How many payments are prepared for each that is expected to be sent."""
_FIRST_GUESS_PER_S = 3_000.0
_TRIES = 3
_CONFIRMED = "confirmed/"
"""Payments by outcome and reason; these have none."""
_CLIENT_LEFT = "GET/499"


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: answers a second of the kind that is meant, and what else was seen."""

    per_s: float
    p50_ms: float
    p99_ms: float
    more: Mapping[str, float] = field(default_factory=dict)


class Target(abc.ABC):
    """One subject, measured alternately with others."""

    def __init__(self, testbed: Testbed, name: str) -> None:
        self.testbed = testbed
        self.name = name

    @abc.abstractmethod
    async def measure(self, connections: int, seconds: int) -> Sample:
        """Load it for so many seconds and return what it did; BenchError when that is in doubt."""


class Echo(Target):
    """A baseline; `requests` are made anew for each turn."""

    def __init__(
        self, testbed: Testbed, name: str, url: str, requests: Callable[[], Sequence[bytes]]
    ) -> None:
        super().__init__(testbed, name)
        self._url = url
        self._requests = requests

    async def measure(self, connections: int, seconds: int) -> Sample:
        """Load the baseline."""
        done = await run_wrk(self._url, self._requests(), connections=connections, seconds=seconds)
        # A baseline that echoes a refusal answers with its status, and with nothing else.
        if done.refused not in (0, done.requests):
            raise BenchError(f"{self.name}: {done.refused} of {done.requests} refused")
        return Sample(done.requests / done.duration_s, done.p50_ms, done.p99_ms)


class RowLock(Target):
    """The baseline with a transaction for each order, on a database of its own."""

    def __init__(self, testbed: Testbed, name: str, url: str, dsn: str) -> None:
        super().__init__(testbed, name)
        self._url = url
        self._dsn = dsn

    async def measure(self, connections: int, seconds: int) -> Sample:
        """Order, and count the orders in the database."""
        requests = order_requests("/orders", "none", self.testbed.new_name("run"))
        before = await steady(self._orders)
        done = await run_wrk(self._url, requests, connections=connections, seconds=seconds)
        made = await steady(self._orders) - before
        check_count(self.name, done.requests - done.refused, made, connections)
        if done.refused:
            raise BenchError(f"{self.name}: {done.refused} refused")
        return Sample(done.succeeded_per_s, done.p50_ms, done.p99_ms)

    async def _orders(self) -> int:
        return await count_orders(self._dsn)


class Orders(Target):
    """`POST …/reservations`, every order of another target; `outcome` is what all must get."""

    def __init__(
        self, testbed: Testbed, name: str, exam: str, *, outcome: str = HELD, api: Api | None = None
    ) -> None:
        super().__init__(testbed, name)
        self.exam = exam
        self._outcome = outcome
        self._api = api or testbed.api

    async def measure(self, connections: int, seconds: int) -> Sample:
        """Order, and see in both the service's counters and Redis what became of it."""
        client = self.testbed.redis
        path = f"/v1/exams/{self.exam}/reservations"
        requests = order_requests(path, self.testbed.frontend_key, self.testbed.new_name("run"))
        counts = await OrderCounts.now(self.testbed, self._api, self.exam)
        used = await redis_use(client)
        done = await run_wrk(self._api.url, requests, connections=connections, seconds=seconds)
        use = (await redis_use(client)).since(used)
        answered = done.requests - done.refused if self._outcome == HELD else done.refused
        if answered != done.requests:
            raise BenchError(f"{self.name}: {done}, not all of them {self._outcome}")
        ended = await counts.check_since(
            self.name, self._outcome, answered=answered, in_flight=connections
        )
        await trim_journal(self.testbed.service, client, self.exam)
        more = {"redis_us": use.cpu_us / ended, "batch": ended / max(use.script_calls, 1)}
        return Sample(answered / done.duration_s, done.p50_ms, done.p99_ms, more)


class Payments(Target):
    """`POST /v1/payment-callbacks`, each the signed payment of another hold."""

    PATH = "/v1/payment-callbacks"

    def __init__(self, testbed: Testbed, name: str, exam: str) -> None:
        super().__init__(testbed, name)
        self.exam = exam
        self._per_s = _FIRST_GUESS_PER_S

    async def measure(self, connections: int, seconds: int) -> Sample:
        """Pay, and see in the service's counters and in Postgres that all of it was booked."""
        for _ in range(_TRIES):
            requests = await self._prepare(connections, seconds)
            outcomes, booked = await steady(self._outcomes), await self._booked()
            url = self.testbed.api.url
            done = await run_wrk(url, requests, connections=connections, seconds=seconds)
            grown = await steady(self._outcomes) - outcomes
            made = await self._booked() - booked
            await trim_journal(self.testbed.service, self.testbed.redis, self.exam)
            self._per_s = done.requests / done.duration_s
            if done.requests + connections > len(requests):
                continue  # wrk began anew, and a payment sent twice does not count: more are needed
            check_only(self.name, grown, _CONFIRMED)
            check_count(self.name, done.requests, grown[_CONFIRMED], connections)
            if done.refused or made != grown[_CONFIRMED]:
                raise BenchError(f"{self.name}: {done}, {made} booked, counted {dict(grown)}")
            return Sample(done.succeeded_per_s, done.p50_ms, done.p99_ms)
        raise BenchError(f"{self.name}: too few payments were prepared, {_TRIES} times")

    async def _prepare(self, connections: int, seconds: int) -> Sequence[bytes]:
        """Return signed payments of new holds, more than can be sent in the time."""
        testbed, count = self.testbed, round(self._per_s * seconds * _PREPARED_SHARE) + connections
        holds = await hold(testbed.service, self.exam, testbed.new_name("run"), range(count))
        await trim_journal(testbed.service, testbed.redis, self.exam)
        return payment_requests(self.PATH, testbed.payment_secret, holds)

    async def _outcomes(self) -> Counter[str]:
        name = "quota_confirmations_total"
        return await counted(self.testbed.http, self.testbed.api.admin_urls, name)

    async def _booked(self) -> int:
        rows = await self.testbed.service.stores.ledger.fetch("select_quotas", self.exam)
        return sum(row["confirmed"] for row in rows)


class Reads(Target):
    """A public GET that is answered from memory, with the worker stopped so that Redis is quiet."""

    def __init__(
        self,
        testbed: Testbed,
        name: str,
        route: str,
        requests: Sequence[bytes],
        *,
        status: int = 200,
        commands_max_per_s: float = math.inf,
    ) -> None:
        super().__init__(testbed, name)
        self._route = route
        self._requests = requests
        self._status = status
        self._commands_max_per_s = commands_max_per_s

    async def measure(self, connections: int, seconds: int) -> Sample:
        """Look, and see what was answered and how many commands Redis was sent meanwhile."""
        client = self.testbed.redis
        answers = await steady(self._answers)
        with self.testbed.worker_stopped():
            used = await redis_use(client)
            done = await run_wrk(
                self.testbed.api.url, self._requests, connections=connections, seconds=seconds
            )
            use = (await redis_use(client)).since(used)
        grown = await steady(self._answers) - answers
        # At the end wrk leaves, whatever it still waits for.
        left = grown.pop(_CLIENT_LEFT, 0)
        check_count(f"{self.name} of clients that left", 0, left, connections)
        check_only(self.name, grown, f"GET/{self._status}")
        check_count(self.name, done.requests, grown[f"GET/{self._status}"], connections)
        # Our own INFO is one of the commands.
        commands_per_s = (use.commands - 1) / done.duration_s
        if commands_per_s > self._commands_max_per_s:
            raise BenchError(f"{self.name}: {commands_per_s:.0f} Redis commands a second")
        more = {"redis_commands_per_s": commands_per_s}
        return Sample(done.succeeded_per_s, done.p50_ms, done.p99_ms, more)

    async def _answers(self) -> Counter[str]:
        name = "quota_http_request_duration_seconds_count"
        return await counted(
            self.testbed.http, self.testbed.api.admin_urls, name, route=self._route
        )
