"""The rows of Redis: what a reserve costs it, alone and among many holds, and what a hold weighs.

The service here is one in this process, on a Redis and a database of its own without workers, so
that nothing but what is measured uses that Redis. Its CPU is what the kernel says it used.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.bench.counters import redis_use
from loadtest.bench.errors import BenchError
from loadtest.bench.group_commit import bench_exam
from loadtest.bench.holding import fill, hold, trim_journal
from loadtest.bench.messages import SUBJECT, VENUES
from loadtest.bench.table import Row, Spread, at_most, row_of_rounds
from loadtest.bench.testbed import OwnStores, Testbed
from loadtest.bench.throughput import SEATS
from loadtest.bench.waiting import until
from quota_service.registration.release import release
from quota_service.seats.keys import Shard

_ORDERS = 10_000
_AT_WORK = 64
_FEW_HOLDS = 1_000
_STEPS, _STEP_ORDERS = 4, 1_000
_REWRITE_LIMIT_S = 120.0
_EXAM = "bench"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one reservation cost, in microseconds of CPU and of time."""

    redis_us: float
    process_us: float
    elapsed_us: float
    batch: float


async def plain_commands_rows(testbed: Testbed) -> list[Row]:
    """Return the row of Redis's CPU for a reserve against the same writes as plain commands."""
    scripts: list[Cost] = []
    plain: list[float] = []
    async with testbed.own_stores(bench_exam(SEATS, _EXAM)) as stores:
        for turn in range(-1, testbed.plan.rounds):
            cost, _ = await _cost_of_orders(stores, testbed.new_name("run"), _ORDERS)
            record = await _a_record(stores)
            batch = max(1, round(cost.batch))
            writes = await _cost_of_writes(stores, record, batch, f"plain{turn + 1}")
            await trim_journal(stores.service, stores.redis, _EXAM)
            if turn >= 0:
                scripts.append(cost)
                plain.append(writes)
    name = "Redis CPU of a reserve ÷ its writes as plain pipelined commands"
    reserve = {
        "redis_us": Spread.of([cost.redis_us for cost in scripts]),
        "batch": Spread.of([cost.batch for cost in scripts]),
    }
    figures = {"reserve": reserve, "plain": {"redis_us": Spread.of(plain)}, "orders": _ORDERS}
    upper = [cost.redis_us for cost in scripts]
    return [row_of_rounds(name, at_most(1.3), upper, plain, figures)]


async def live_holds_rows(testbed: Testbed) -> list[Row]:
    """Return the rows of a reserve among many live holds, and of the memory of each."""
    count = testbed.plan.live_holds
    exam = bench_exam(SEATS, _EXAM)
    async with testbed.own_stores(exam) as few, testbed.own_stores(exam) as many:
        await hold(few.service, _EXAM, "few", range(_FEW_HOLDS))
        bytes_each = await _fill_and_weigh(many, count)
        costs = await _alternating_costs(testbed, few, many)
    sides = {f"with {count:,}": costs["many"], f"with {_FEW_HOLDS:,}": costs["few"]}
    figures = {
        side: {
            "redis_us": Spread.of([cost.redis_us for cost in measured]),
            "process_us": Spread.of([cost.process_us for cost in measured]),
            "elapsed_us": Spread.of([cost.elapsed_us for cost in measured]),
        }
        for side, measured in sides.items()
    }
    many_us, few_us = ([cost.redis_us for cost in costs[each]] for each in ("many", "few"))
    name = f"Redis CPU of a reserve with {count:,} live holds ÷ with {_FEW_HOLDS:,}"
    memory = Row(
        name="Redis memory for each live hold, journal trimmed",
        ratio=Spread.of([bytes_each]),
        reach=at_most(500),
        figures={"holds": count},
        unit="bytes",
    )
    return [row_of_rounds(name, at_most(1.15), many_us, few_us, figures), memory]


async def _alternating_costs(
    testbed: Testbed, few: OwnStores, many: OwnStores
) -> dict[str, list[Cost]]:
    """Return what a reserve costs in either store, round by round, alternating step by step."""
    both = {"few": few, "many": many}
    costs: dict[str, list[Cost]] = {name: [] for name in both}
    for turn in range(-1, testbed.plan.rounds):
        steps: dict[str, list[Cost]] = {name: [] for name in both}
        for step in range(_STEPS):
            for name in both if step % 2 else reversed(both):
                steps[name].append(await _cost_of_a_step(testbed, both[name]))
        for name, measured in steps.items():
            if turn >= 0:
                measured.sort(key=lambda cost: cost.redis_us)
                costs[name].append(measured[len(measured) // 2])
    return costs


async def _cost_of_a_step(testbed: Testbed, stores: OwnStores) -> Cost:
    """Return what a reserve costs; what the step took it gives back, so that the size stays."""
    before = await _live_holds(stores)
    cost, made = await _cost_of_orders(stores, testbed.new_name("run"), _STEP_ORDERS)
    for start in range(0, len(made), _AT_WORK):
        part = made[start : start + _AT_WORK]
        await asyncio.gather(*(release(stores.service.stores, reservation) for reservation in part))
    await trim_journal(stores.service, stores.redis, _EXAM)
    if await _live_holds(stores) != before:
        raise BenchError("what was taken was not given back")
    return cost


async def _cost_of_orders(stores: OwnStores, run: str, count: int) -> tuple[Cost, list[str]]:
    """Return what each of so many reservations costs, and their ids."""
    client = stores.redis
    used, process_s, started_s = await redis_use(client), time.process_time(), time.perf_counter()
    made = await hold(stores.service, _EXAM, run, range(count), at_work=_AT_WORK)
    elapsed_s, process_s = time.perf_counter() - started_s, time.process_time() - process_s
    use = (await redis_use(client)).since(used)
    cost = Cost(
        redis_us=use.cpu_us / count,
        process_us=process_s * 1e6 / count,
        elapsed_us=elapsed_s * 1e6 / count,
        batch=count / use.script_calls,
    )
    return cost, made


async def _fill_and_weigh(stores: OwnStores, count: int) -> float:
    """Make `count` holds and return the bytes of Redis's memory that each takes."""
    client = stores.redis
    before = int((await client.info("memory"))["used_memory"])
    await fill(stores.service, client, _EXAM, count)

    async def is_quiet() -> bool:
        return not (await client.info("persistence"))["aof_rewrite_in_progress"]

    await until(is_quiet, "the end of Redis's rewriting its file", within_s=_REWRITE_LIMIT_S)
    if (live := await _live_holds(stores)) != count:
        raise BenchError(f"{live} holds live, not {count}")
    return (int((await client.info("memory"))["used_memory"]) - before) / count


async def _cost_of_writes(stores: OwnStores, record: str, batch: int, tag: str) -> float:
    """Return Redis's CPU, in microseconds, for what a reserve writes, as plain commands."""
    client = stores.redis
    shard = Shard(tag, 0)
    used = await redis_use(client)
    for start in range(0, _ORDERS, batch):
        async with client.pipeline(transaction=False) as pipe:
            for n in range(start, min(start + batch, _ORDERS)):
                for words in _writes(shard, record, n):
                    pipe.execute_command(*words)
            await pipe.execute()
    use = (await redis_use(client)).since(used)
    made = await client.zcard(shard.key("due"))
    if made != _ORDERS:
        raise BenchError(f"{made} plain holds were written, not {_ORDERS}")
    return use.cpu_us / _ORDERS


def _writes(shard: Shard, record: str, n: int) -> Sequence[tuple[str | int, ...]]:
    """Return the commands of one hold: the writes of `lua/reserve.lua` with as long arguments."""
    serial, quota = f"{n:024}", f"{VENUES[n % len(VENUES)]}/{SUBJECT}"
    due_ms = 1_700_000_000_000 + n
    fields = ("verb", "reserve", "subject", serial, "at", due_ms, "body", record)
    return (
        ("HINCRBY", shard.key("remaining"), quota, -1),
        ("HINCRBY", shard.key("held"), quota, 1),
        ("HSET", shard.key("claims"), f"run-1-{n:08}/s1", serial),
        ("SET", shard.record_key(serial), record),
        ("ZADD", shard.key("due"), due_ms, serial),
        ("INCR", shard.key("version")),
        ("XADD", shard.key("journal"), f"1-{n + 1}", *fields),
    )


async def _a_record(stores: OwnStores) -> str:
    """Return the text of a hold's record, as the plain commands are to write it."""
    client, shard = stores.redis, _shard(stores)
    (serial,) = await client.zrange(shard.key("due"), 0, 0)
    return str(await client.get(shard.record_key(str(serial))))


async def _live_holds(stores: OwnStores) -> int:
    return (await stores.service.stores.seats.snapshot(_shard(stores))).live_holds


def _shard(stores: OwnStores) -> Shard:
    return stores.service.stores.registry.shard(_EXAM)
