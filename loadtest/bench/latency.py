"""The rows of latency: p99 at a set rate, against the baseline, and while holds expire in numbers.

The client is `open_loop.py`, whose latencies count from the time a request was due. How late the
client itself was is shown beside them, as it is part of both sides of a ratio.
"""

import math
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Self

import orjson

from loadtest.bench.echo import Echoed
from loadtest.bench.errors import BenchError
from loadtest.bench.group_commit import bench_exam
from loadtest.bench.holding import fill, trim_journal
from loadtest.bench.messages import order_requests
from loadtest.bench.open_loop import Samples
from loadtest.bench.order_counts import HELD, OrderCounts
from loadtest.bench.processes import first_line, start_python, stop
from loadtest.bench.table import Figures, Row, Spread, at_most, row_of_rounds
from loadtest.bench.targets import Orders
from loadtest.bench.testbed import Testbed
from loadtest.bench.throughput import SEATS, first_order, new_exam
from loadtest.bench.waiting import until
from quota_service.domain.exam import Exam

_CONNECTIONS = 64
_SHARE_OF_MAXIMUM = 0.5
_SHARE_WHILE_EXPIRING = 0.25
"""Lower than the other: client, worker, Postgres and the API have two cores between them here."""
_EXPIRY_LIMIT_S = 180
_BACK_WITHIN_S = 5
_SHORT_TTL_S, _LONG_TTL_S = 1, 3600
_CREATED = "201"


@dataclass(frozen=True, slots=True)
class Latencies:
    """The latencies of some requests of one run, in milliseconds."""

    p50_ms: float
    p99_ms: float
    client_late_p99_ms: float

    @classmethod
    def of(cls, samples: Samples, from_s: float = 0, to_s: float = math.inf) -> Self:
        """Return those of requests due between two times of the monotonic clock.

        Raises BenchError when one of them was never answered.
        """
        first = max(0, math.ceil((from_s - samples.started_s) / samples.interval_s))
        count = (min(to_s, time.monotonic()) - samples.started_s) / samples.interval_s
        due = samples.latencies_s[first : max(first, math.floor(count))]
        answered = [latency for latency in due if latency is not None]
        if not answered or len(answered) < len(due):
            raise BenchError(f"{len(due) - len(answered)} of {len(due)} were never answered")
        late = samples.late_s[first : first + len(due)]
        return cls(
            percentile(answered, 50) * 1e3,
            percentile(answered, 99) * 1e3,
            percentile(late, 99) * 1e3,
        )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of the values that at least `percent` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def figures_of(rounds: Sequence[Latencies]) -> Figures:
    """Return the spreads of some rounds."""
    return {
        "p50_ms": Spread.of([each.p50_ms for each in rounds]),
        "p99_ms": Spread.of([each.p99_ms for each in rounds]),
        "client_late_p99_ms": Spread.of([each.client_late_p99_ms for each in rounds]),
    }


class Running:
    """A running open-loop client."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def end(self) -> Samples:
        """Return its samples once it has ended by itself."""
        printed, _ = await self._process.communicate()
        if self._process.returncode != 0:
            raise BenchError(f"the open-loop client ended with {self._process.returncode}")
        return Samples(**orjson.loads(printed))

    async def end_now(self) -> Samples:
        """Let it send nothing more, and return its samples."""
        self._process.terminate()
        return await self.end()


@asynccontextmanager
async def asking(
    url: str, requests: Sequence[bytes], rate: float, seconds: float
) -> AsyncIterator[Running]:
    """Run an open-loop client that sends the requests in order; yield it once it sends."""
    with tempfile.NamedTemporaryFile(prefix="bench-requests-") as file:
        file.write(b"\0".join(requests))
        file.flush()
        process = await start_python(
            "loadtest.bench.open_loop",
            *("--url", url, "--requests", file.name, "--rate", str(rate)),
            *("--connections", str(_CONNECTIONS), "--seconds", str(seconds)),
        )
        try:
            await first_line(process)
            yield Running(process)
        finally:
            await stop(process)


async def half_rate_rows(testbed: Testbed) -> list[Row]:
    """Return the row of p99 at half of the maximum rate, both sides at the same rate."""
    exam = await new_exam(testbed)
    answer = await first_order(testbed, exam, 201)
    rate = await maximum_rate(testbed, exam) * _SHARE_OF_MAXIMUM
    plan, path = testbed.plan, f"/v1/exams/{exam}/reservations"
    reserved: list[Latencies] = []
    echoed: list[Latencies] = []
    async with testbed.baseline(
        "echo", [Echoed("POST", "/orders", answer.status, answer.document)]
    ) as url:
        for turn in range(-1, plan.rounds):
            orders = order_requests("/orders", testbed.frontend_key, "echo")
            async with asking(url, orders, rate, plan.seconds) as client:
                of_echo = Latencies.of(await client.end())
            orders = order_requests(path, testbed.frontend_key, testbed.new_name("run"))
            counts = await OrderCounts.now(testbed, testbed.api, exam)
            async with asking(testbed.api.url, orders, rate, plan.seconds) as client:
                samples = await client.end()
            await check_orders(counts, samples)
            if turn >= 0:
                echoed.append(of_echo)
                reserved.append(Latencies.of(samples))
    figures = {"reserve": figures_of(reserved), "echo": figures_of(echoed), "rate_per_s": rate}
    upper, lower = ([each.p99_ms for each in rounds] for rounds in (reserved, echoed))
    name = "p99 of reserve ÷ echo, at half of its maximum rate"
    return [row_of_rounds(name, at_most(3), upper, lower, figures)]


async def expiry_rows(testbed: Testbed) -> list[Row]:
    """Return the rows of many holds due at once: until they are back, and p99 meanwhile."""
    exam = await new_exam(testbed)
    rate = await maximum_rate(testbed, exam) * _SHARE_WHILE_EXPIRING
    before: list[Latencies] = []
    during: list[Latencies] = []
    took_s: list[float] = []
    for _ in range(testbed.plan.rounds):
        exam = await new_exam(testbed)
        quiet, busy, elapsed_s = await _expire_many(testbed, exam, rate)
        before.append(quiet)
        during.append(busy)
        took_s.append(elapsed_s)
    figures = {"while they expire": figures_of(during), "before": figures_of(before)}
    conditions = {"rate_per_s": rate, "holds": testbed.plan.expiring_holds}
    upper, lower = ([each.p99_ms for each in rounds] for rounds in (during, before))
    due = f"{testbed.plan.expiring_holds:,} holds due at once"
    back = Row(
        f"{due}, until all are back",
        Spread.of(took_s),
        at_most(_BACK_WITHIN_S),
        {**conditions, "rounds": len(took_s)},
        unit="s",
    )
    name = f"{due}, p99 of reserve meanwhile ÷ before"
    return [back, row_of_rounds(name, at_most(2), upper, lower, {**figures, **conditions})]


async def _expire_many(
    testbed: Testbed, exam: str, rate: float
) -> tuple[Latencies, Latencies, float]:
    """Let holds come due while the worker is stopped, then continue it under load.

    Returns the latencies before and while they expire, and how many seconds that took.
    """
    count, path = testbed.plan.expiring_holds, f"/v1/exams/{exam}/reservations"
    orders = order_requests(path, testbed.frontend_key, testbed.new_name("run"))
    counts = await OrderCounts.now(testbed, testbed.api, exam)
    async with asking(testbed.api.url, orders, rate, testbed.plan.seconds) as client:
        quiet = await client.end()
    await check_orders(counts, quiet)
    async with AsyncExitStack() as clients:
        with testbed.worker_stopped():
            await _let_come_due(testbed, exam)
            counts = await OrderCounts.now(testbed, testbed.api, exam)
            orders = order_requests(path, testbed.frontend_key, testbed.new_name("run"))
            load = asking(testbed.api.url, orders, rate, _EXPIRY_LIMIT_S)
            client = await clients.enter_async_context(load)
        began_s = time.monotonic()

        async def none_due() -> bool:
            return await _due(testbed, exam) == 0

        await until(none_due, "the holds to expire", within_s=_EXPIRY_LIMIT_S)
        ended_s = time.monotonic()
        samples = await client.end_now()
    await check_orders(counts, samples, expired=count)
    await trim_journal(testbed.service, testbed.redis, exam)
    busy = Latencies.of(samples, began_s, ended_s)
    return Latencies.of(quiet), busy, ended_s - began_s


async def _let_come_due(testbed: Testbed, exam: str) -> None:
    """Make the holds that are to expire, and return when all of them are due."""
    count = testbed.plan.expiring_holds
    await testbed.add_exam(_exam_with_ttl(exam, _SHORT_TTL_S))
    await fill(testbed.service, testbed.redis, exam, count)
    await testbed.add_exam(_exam_with_ttl(exam, _LONG_TTL_S))

    async def all_due() -> bool:
        return await _due(testbed, exam) == count

    await until(all_due, "the holds to be due")


async def _due(testbed: Testbed, exam: str) -> int:
    """Return how many holds are due, by Redis's clock."""
    service = testbed.service
    key = service.stores.registry.shard(exam).key("due")
    return int(await testbed.redis.zcount(key, "-inf", await service.runner.clock_ms()))


def _exam_with_ttl(exam: str, ttl_s: int) -> Exam:
    return bench_exam(SEATS, exam, hold={"ttl_s": ttl_s, "expiry_slack_s": 0})


async def maximum_rate(testbed: Testbed, exam: str) -> float:
    """Return how many orders a second can be made at all, in a second run after one that warms."""
    orders = Orders(testbed, "reserve", exam)
    await orders.measure(_CONNECTIONS, testbed.plan.seconds)
    return (await orders.measure(_CONNECTIONS, testbed.plan.seconds)).per_s


async def check_orders(counts: OrderCounts, samples: Samples, expired: int = 0) -> None:
    """Raise BenchError unless every order of a run was answered 201 and made a hold."""
    held, asked = samples.statuses.get(_CREATED, 0), len(samples.latencies_s)
    if held != asked:
        raise BenchError(f"of {asked} orders {held} made a hold: {dict(samples.statuses)}")
    await counts.check_since("open loop", HELD, answered=held, in_flight=0, expired=expired)
