"""The rows of webhooks: deliveries a second from one worker, and reserving beside them.

Events are written into Postgres as their triggers do; the worker numbers, posts and records them.
The receiver is a process of the bench that takes what comes. Beside orders at a set rate events
come at the rate that is to be reached, and the row only counts if the deliveries kept up with them.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loadtest.bench.errors import BenchError
from loadtest.bench.latency import Latencies, asking, check_orders, figures_of
from loadtest.bench.messages import order_requests
from loadtest.bench.order_counts import OrderCounts
from loadtest.bench.processes import serving
from loadtest.bench.table import Row, Spread, at_least, at_most, row_of_rounds
from loadtest.bench.testbed import Testbed
from loadtest.bench.throughput import new_exam
from loadtest.bench.waiting import until
from quota_service.embedded.ports import LOOPBACK, free_loopback_port
from quota_service.ledger.webhook_endpoints import NewEndpoint
from quota_service.registration.webhook_endpoints import delete_endpoint, make_endpoint

_DELIVERIES_PER_S = 1_000
_AT_ONCE = 5_000
"""Events that wait when the worker begins."""
_ORDERS_PER_S = 500
_SECONDS_MIN = 4
_PORTION_S = 0.1
_BEHIND_MAX = _DELIVERIES_PER_S
"""Events that may be left when the last one came: those of a second."""
_LIMIT_S = 60.0
_KIND = "exam.resumed"
"""Orders tell of other kinds, which the endpoint is not told of."""
_HAPPEN = """
INSERT INTO events (kind, reservation, at, data)
SELECT $1, 'bench-' || n, clock_timestamp(), '{"venue": "jinan", "subjects": ["general"]}'
FROM   generate_series(1, $2) AS n
"""
_LEFT = """
SELECT (SELECT count(*) FROM events WHERE kind = $2 AND sequence IS NULL)
     + (SELECT count(*) FROM webhook_deliveries WHERE endpoint = $1 AND state = 'pending')
"""


async def webhooks_rows(testbed: Testbed) -> list[Row]:
    """Return the rows of deliveries alone and beside orders."""
    async with _told(testbed) as endpoint:
        per_s = [await _delivered_per_s(testbed, endpoint) for _ in range(testbed.plan.rounds)]
        exam = await new_exam(testbed)
        beside: list[Latencies] = []
        alone: list[Latencies] = []
        for turn in range(-1, testbed.plan.rounds):
            quiet = await _order(testbed, exam)
            busy = await _order_beside(testbed, exam, endpoint)
            if turn >= 0:
                alone.append(quiet)
                beside.append(busy)
    rounds = {"rounds": testbed.plan.rounds}
    figures = {"beside deliveries": figures_of(beside), "alone": figures_of(alone)}
    rates = {"rate_per_s": _ORDERS_PER_S, "deliveries_per_s": _DELIVERIES_PER_S}
    upper, lower = ([each.p99_ms for each in of_rounds] for of_rounds in (beside, alone))
    return [
        Row(
            "webhooks, deliveries a second",
            Spread.of(per_s),
            at_least(_DELIVERIES_PER_S),
            {"events": _AT_ONCE, **rounds},
            unit="/s",
        ),
        row_of_rounds(
            f"p99 of reserve beside {_DELIVERIES_PER_S:,} deliveries a second ÷ alone",
            at_most(2),
            upper,
            lower,
            {**figures, **rates},
        ),
    ]


@asynccontextmanager
async def _told(testbed: Testbed) -> AsyncIterator[str]:
    """Run a receiver and make an endpoint of it; lends its id."""
    port, log = free_loopback_port(), testbed.folder / "receiver.log"
    stores = testbed.service.stores.webhooks
    async with serving("loadtest.bench.receiver", "--port", str(port), port=port, log=log):
        new = NewEndpoint(f"http://{LOOPBACK}:{port}/", None, (_KIND,), "the bench")
        made = await make_endpoint(stores, new, "the bench")
        try:
            yield made.endpoint.id
        finally:
            await delete_endpoint(stores, made.endpoint.id, "the bench is done")


async def _delivered_per_s(testbed: Testbed, endpoint: str) -> float:
    """Return how many deliveries a second the worker makes of events that wait for it."""
    with testbed.worker_stopped():
        await _happen(testbed, _AT_ONCE)
    began_s = time.monotonic()
    await _all_told(testbed, endpoint)
    return _AT_ONCE / (time.monotonic() - began_s)


async def _order(testbed: Testbed, exam: str) -> Latencies:
    """Return the latencies of orders at a set rate."""
    path = f"/v1/exams/{exam}/reservations"
    orders = order_requests(path, testbed.frontend_key, testbed.new_name("run"))
    counts = await OrderCounts.now(testbed, testbed.api, exam)
    seconds = max(testbed.plan.seconds, _SECONDS_MIN)
    async with asking(testbed.api.url, orders, _ORDERS_PER_S, seconds) as client:
        samples = await client.end()
    await check_orders(counts, samples)
    return Latencies.of(samples)


async def _order_beside(testbed: Testbed, exam: str, endpoint: str) -> Latencies:
    """Return the same while events come at the rate; BenchError if deliveries fall behind."""
    events = asyncio.create_task(_keep_happening(testbed))
    try:
        latencies = await _order(testbed, exam)
    finally:
        events.cancel()
        await asyncio.gather(events, return_exceptions=True)
    left = await _left(testbed, endpoint)
    if left > _BEHIND_MAX:
        raise BenchError(f"{left} deliveries were left at {_DELIVERIES_PER_S} events a second")
    await _all_told(testbed, endpoint)
    return latencies


async def _keep_happening(testbed: Testbed) -> None:
    """Let events happen at the rate, in portions."""
    began_s, made = time.monotonic(), 0
    while True:
        due = round((time.monotonic() - began_s) * _DELIVERIES_PER_S) - made
        await _happen(testbed, due)
        made += due
        await asyncio.sleep(_PORTION_S)


async def _happen(testbed: Testbed, count: int) -> None:
    async with testbed.service.stores.ledger.connection() as connection:
        await connection.execute(_HAPPEN, _KIND, count)


async def _all_told(testbed: Testbed, endpoint: str) -> None:
    async def none_left() -> bool:
        return await _left(testbed, endpoint) == 0

    await until(none_left, "the events to be delivered", within_s=_LIMIT_S)


async def _left(testbed: Testbed, endpoint: str) -> int:
    async with testbed.service.stores.ledger.connection() as connection:
        count: int = await connection.fetchval(_LEFT, endpoint, _KIND)
    return count
