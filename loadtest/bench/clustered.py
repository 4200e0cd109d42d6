"""The rows of a Redis Cluster: what a reserve costs on three primaries, against one server.

Each side has stores, an API process and a service in this process of its own, and no worker; they
are loaded alternately. CPU is what the kernel says: Redis's is that of the servers that have an
exam, the API's is that of its process.

One exam costs the same on either. With three exams, one on each primary, it is the load of each
exam that matters: where it is the same as that of one exam on one server, a reserve costs the same.
Where three exams share that load, each primary gets a third of it, in smaller batches, and syncs
its file as often as the one server does for all.
"""

import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import redis.asyncio

from loadtest.bench.counters import api_cpu_us, check_count, redis_use, steady
from loadtest.bench.errors import BenchError
from loadtest.bench.group_commit import bench_exam
from loadtest.bench.holding import trim_journal
from loadtest.bench.messages import order_requests
from loadtest.bench.redis_client import redis_client
from loadtest.bench.redis_cluster import redis_cluster
from loadtest.bench.rounds import alternate, warm_up
from loadtest.bench.table import Reach, Row, Spread, at_most, row_of_rounds
from loadtest.bench.targets import Sample, Target
from loadtest.bench.testbed import Testbed, serving_api
from loadtest.bench.throughput import SEATS
from loadtest.bench.wrk import run_wrk
from quota_service.app.opening import open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.embedded import EmbeddedRedis
from quota_service.ledger.api_keys import Scope
from quota_service.ledger.migrations import migrate

_PRIMARIES = 3
_CLUSTER, _ONE_SERVER = "cluster of three", "one server"
_REACH = at_most(1.05)

RedisOf = Mapping[str, "redis.asyncio.Redis"]
"""A client of the server that has an exam, by its id."""


class SpreadOrders(Target):
    """Orders of some exams in turn, with the CPU that each of them cost.

    With `each` every exam has as many connections as are asked for, otherwise they share them.
    """

    def __init__(
        self, testbed: Testbed, name: str, redis_of: RedisOf, *, each: bool = False
    ) -> None:
        super().__init__(testbed, name)
        self._redis_of = redis_of
        self._times = len(redis_of) if each else 1

    async def measure(self, connections: int, seconds: int) -> Sample:
        """Order, and see in Redis that there are as many holds more."""
        testbed, connections = self.testbed, connections * self._times
        holds, redis_us = await steady(self._holds), await self._redis_us()
        api_us = await api_cpu_us(testbed.http, testbed.api.admin_urls)
        done = await run_wrk(
            testbed.api.url, self._requests(), connections=connections, seconds=seconds
        )
        made = await steady(self._holds) - holds
        redis_us = await self._redis_us() - redis_us
        api_us = await api_cpu_us(testbed.http, testbed.api.admin_urls) - api_us
        if done.refused:
            raise BenchError(f"{self.name}: {done.refused} refused")
        check_count(self.name, done.requests, made, connections)
        for exam, client in self._redis_of.items():
            await trim_journal(testbed.service, client, exam)
        more = {"redis_us": redis_us / made, "api_us": api_us / made}
        return Sample(done.succeeded_per_s, done.p50_ms, done.p99_ms, more)

    def _requests(self) -> Sequence[bytes]:
        """Return orders of every exam in turn."""
        key, run = self.testbed.frontend_key, self.testbed.new_name("run")
        paths = [f"/v1/exams/{exam}/reservations" for exam in self._redis_of]
        each = [order_requests(path, key, run) for path in paths]
        return [order for some in zip(*each, strict=True) for order in some]

    async def _holds(self) -> int:
        stores = self.testbed.service.stores
        shards = [stores.registry.shard(exam) for exam in self._redis_of]
        return sum([(await stores.seats.snapshot(shard)).live_holds for shard in shards])

    async def _redis_us(self) -> float:
        """Return the CPU that the servers have used, each counted once."""
        return sum([(await redis_use(each)).cpu_us for each in {*self._redis_of.values()}])


async def cluster_rows(testbed: Testbed) -> list[Row]:
    """Return the rows of a reserve on a cluster against one server, with one exam and with three.

    Primaries beside the one of a single exam do nothing, and are not counted.
    """
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(redis_cluster(testbed.folder / "cluster"))
        server = stack.enter_context(EmbeddedRedis(testbed.folder / "alone"))
        exams = cluster.exams(_PRIMARIES)
        clients = {
            url: await stack.enter_async_context(redis_client(url))
            for url in (server.url, *(node.url for node in cluster.primaries))
        }
        spread = {exam: clients[(await cluster.node_of(exam)).url] for exam in exams}
        alone = dict.fromkeys(exams, clients[server.url])
        sides = (
            (await stack.enter_async_context(_side(testbed, cluster.url, exams, spread)), spread),
            (await stack.enter_async_context(_side(testbed, server.url, exams, alone)), alone),
        )
        (many, many_redis), (one, one_redis) = sides

        def some(redis_of: RedisOf, count: int) -> RedisOf:
            return {exam: redis_of[exam] for exam in exams[:count]}

        single = SpreadOrders(one, _ONE_SERVER, some(one_redis, 1))
        comparisons = (
            ("one exam", _REACH, SpreadOrders(many, _CLUSTER, some(many_redis, 1)), single),
            (
                "three exams ÷ one, each the same load",
                _REACH,
                SpreadOrders(many, _CLUSTER, many_redis, each=True),
                single,
            ),
            (
                "three exams sharing the load",
                None,
                SpreadOrders(many, _CLUSTER, many_redis),
                SpreadOrders(one, _ONE_SERVER, one_redis),
            ),
        )
        return [row for each in comparisons for row in await _rows_of(testbed, *each)]


async def _rows_of(
    testbed: Testbed, title: str, reach: Reach | None, upper: Target, lower: Target
) -> list[Row]:
    """Return the rows of Redis's and of the API's CPU, measured together."""
    plan, connections = testbed.plan, testbed.plan.connections[0]
    await warm_up([upper, lower], plan)
    samples = await alternate([upper, lower], plan, connections)
    rows = []
    for part, name in (("redis_us", "Redis"), ("api_us", "API")):
        both = [[sample.more[part] for sample in samples[each]] for each in (upper, lower)]
        figures = {
            each.name: {
                part: Spread.of(costs),
                "per_s": Spread.of([sample.per_s for sample in samples[each]]),
            }
            for each, costs in zip((upper, lower), both, strict=True)
        }
        conditions = {"connections": connections, "seconds": plan.seconds}
        title_of_row = f"{name} CPU of a reserve, {_CLUSTER} ÷ {_ONE_SERVER}, {title}"
        rows.append(row_of_rounds(title_of_row, reach, *both, {**figures, **conditions}))
    return rows


@asynccontextmanager
async def _side(
    testbed: Testbed, redis_url: str, exams: Sequence[str], redis_of: RedisOf
) -> AsyncIterator[Testbed]:
    """Lend a testbed with a database and an API process of its own on some Redis."""
    name = testbed.new_name("side")
    settings = dataclasses.replace(
        testbed.settings,
        redis_url=redis_url,
        postgres_dsn=await testbed.new_database(name),
        journal_backlog_max=10**9,
    )
    async with open_service(settings) as service:
        await migrate(service.stores.ledger)
        await service.stores.runners.check()  # reads the map of a Cluster
        await refresh_memory(service)
        key = await service.key_ledger.create("bench", frozenset({Scope.FRONTEND}))
        async with serving_api(settings, testbed.folder, name) as api:
            side = dataclasses.replace(
                testbed,
                settings=settings,
                service=service,
                redis=redis_of[exams[0]],
                frontend_key=key,
                api=api,
            )
            for exam in exams:
                await side.add_exam(bench_exam(SEATS, exam))
            yield side
