"""How long each script keeps Redis at the largest legal sizes, by Redis's own log of slow commands.

What a script works on is made as large as the format and the settings allow: an exam of 512 venues
and 128 subjects, orders of 32 subjects at 32 venues in batches of 1,000, holds of 32 subjects, a
million places of a waiting room that are over at once, a journal of 200,000 large entries that is
trimmed at once.

The longest call counts what the machine did to Redis too. So the first and the last row are of a
script that always does the same and touches no key: how much longer its longest call takes than its
median is the machine's part.

    python -m loadtest.bench.script_times
"""

import asyncio
import dataclasses
import hashlib
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import redis.asyncio

from loadtest.bench.group_commit import bench_exam
from loadtest.bench.redis_client import redis_client
from quota_service.domain.exam import MAX_SUBJECTS, MAX_VENUES, Quota
from quota_service.embedded import EmbeddedRedis
from quota_service.observability.metrics import Metrics
from quota_service.seats.connection import BatchLimits, ScriptRunner
from quota_service.seats.keys import Shard
from quota_service.seats.recovery import RecoveryStore
from quota_service.seats.replies import ReserveRequest
from quota_service.seats.room_statistics import RoomStatisticsStore
from quota_service.seats.scripts import load_scripts
from quota_service.seats.servers import redis_pool
from quota_service.seats.store import SeatStore
from quota_service.settings import Settings

_LIST_MAX = 32
"""Subjects and venues of one order."""
_ORDERS = 1000
_PLACES, _ENTRIES, _PAGE = 1_000_000, 200_000, 2_000
_SAME_WORK = "local t = {} for i = 1, 4000 do t[i] = tostring(i) end return #t"
_SAME_WORK_CALLS = 650
_LOGGED_FROM_US = 100
_LOG_MAX = 100_000
_SUBJECTS = tuple(f"subject-{n:03}" for n in range(MAX_SUBJECTS))
_VENUES = tuple(f"venue-{n:03}" for n in range(MAX_VENUES))


@dataclasses.dataclass(frozen=True, slots=True)
class Sizes:
    """An open shard of the largest exam."""

    redis: "redis.asyncio.Redis"
    runner: ScriptRunner
    seats: SeatStore
    shard: Shard

    async def measure(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        """Do some work, and print how long the scripts of it took."""
        await self.redis.slowlog_reset()
        await work()
        names = {script.sha: name for name, script in self.runner.scripts.items()}
        names[hashlib.sha1(_SAME_WORK.encode(), usedforsecurity=False).hexdigest()] = "(the same)"
        times: dict[str, list[int]] = {}
        for entry in await self.redis.slowlog_get(_LOG_MAX):
            # redis-py gives the words as one text, in bytes.
            command, _, rest = bytes(entry["command"]).decode().partition(" ")
            if command == "EVALSHA":
                sha = rest.partition(" ")[0]
                times.setdefault(names[sha], []).append(entry["duration"])
        for name, taken_us in sorted(times.items()):
            taken_us.sort()
            figures = (
                statistics.median(taken_us),
                taken_us[len(taken_us) * 99 // 100],
                taken_us[-1],
            )
            texts = " ".join(f"{us / 1e3:8.2f}" for us in figures)
            print(f"{name:14} {what:42} {len(taken_us):6} {texts}")


@asynccontextmanager
async def largest(folder: Path) -> AsyncIterator[Sizes]:
    """Lend a shard without quotas yet, on a Redis that logs what is slow."""
    with EmbeddedRedis(folder) as server:
        settings = Settings(redis_url=server.url, redis_command_timeout_s=30).with_limits(
            BatchLimits(batch_max=_ORDERS)
        )
        runner = ScriptRunner(redis_pool(settings), load_scripts(), settings, Metrics())
        async with redis_client(server.url) as client:
            await client.config_set("slowlog-log-slower-than", _LOGGED_FROM_US)
            await client.config_set("slowlog-max-len", _LOG_MAX)
            sizes = Sizes(client, runner, SeatStore(runner), Shard("largest", 1))
            await sizes.seats.open(sizes.shard)
            try:
                yield sizes
            finally:
                await runner.aclose()


async def measure_all(sizes: Sizes) -> None:
    """Measure each script whose work grows with the stored data."""
    await _measure_same_work(sizes)
    seats, shard = sizes.seats, sizes.shard
    many = {Quota(venue, subject): 2 for venue in _VENUES for subject in _SUBJECTS}
    await sizes.measure("65,536 new quotas", lambda: seats.set_capacity(shard, many))
    await sizes.measure("65,536 quotas", lambda: seats.snapshot(shard))
    exam = dataclasses.replace(bench_exam(1, shard.exam, waiting_room={"idle_s": 1}), revision=1)
    await seats.define(shard, exam, "")

    async def order(first: int, at: int) -> None:
        """Reserve 32 subjects at 32 venues, of which that at position `at` has seats."""
        await asyncio.gather(
            *(seats.reserve(shard, exam, _order(n, at)) for n in range(first, first + _ORDERS))
        )

    await sizes.measure("1,000 orders of 32 subjects", lambda: order(0, 0))
    held = list(await sizes.redis.zrange(shard.key("due"), 0, -1))
    texts = [str(text) for text in await sizes.redis.mget(map(shard.record_key, held))]
    free = await sizes.redis.hgetall(shard.key("remaining"))
    await sizes.redis.delete(shard.key("remaining"))
    await sizes.measure("1,000 orders sold out at 32 venues", lambda: order(_ORDERS, 0))
    await sizes.redis.hset(shard.key("remaining"), mapping=free)
    await _let_be_due(sizes, held, texts)
    await sizes.measure("1,000 serials", lambda: seats.overdue(shard, "due", 0, _ORDERS))
    await sizes.measure("1,000 holds of 32 subjects", lambda: _expire_all(sizes))
    await sizes.redis.zadd(shard.key("pinned"), dict.fromkeys(map(str, range(20_000)), 1))
    await sizes.measure("5,000 serials", lambda: seats.overdue(shard, "pinned", 0, 5_000))
    await sizes.redis.delete(shard.key("pinned"))
    await _fill_journal(sizes)
    after = f"{shard.epoch}-1"
    await sizes.measure("10,000 entries of 1.5 kB", lambda: seats.journal(shard, after, 10_000))
    through = (shard.epoch, _ENTRIES)
    await sizes.measure("200,000 entries at once", lambda: seats.trim_journal(shard, through))
    places = {f"candidate-{n}": 1 for n in range(_PLACES)}
    for start in range(0, _PLACES, 20_000):
        part = list(places.items())[start : start + 20_000]
        await sizes.redis.zadd(shard.key("places"), dict(part))
    room_statistics = RoomStatisticsStore(sizes.runner)
    await sizes.measure("1,000,000 places over", lambda: room_statistics.read(shard))
    await _measure_recovery(sizes, many, texts)
    await _measure_same_work(sizes)


async def _measure_same_work(sizes: Sizes) -> None:
    """Measure a script that always does the same."""
    sha = await sizes.redis.script_load(_SAME_WORK)

    async def work() -> None:
        for _ in range(_SAME_WORK_CALLS):
            await sizes.redis.evalsha(sha, 0)

    await sizes.measure("the same work, without a key", work)


async def _measure_recovery(sizes: Sizes, many: dict[Quota, int], texts: list[str]) -> None:
    recovery = RecoveryStore(sizes.runner)
    claimed = dataclasses.replace(sizes.shard, epoch=2, is_recovered=True)
    await recovery.claim(claimed)
    serials = [f"{n:024}" for n in range(_PAGE)]
    records = [
        (serial, 0, texts[n % len(texts)].replace("|candidate-", f"|again-{n}-", 1))
        for n, serial in enumerate(serials)
    ]
    unpaid = [(f"candidate-{n}", 1, 1) for n in range(_PAGE)]
    await sizes.measure("65,536 quotas and 2,000 records", lambda: recovery.clear(claimed))
    await sizes.measure("65,536 quotas", lambda: recovery.seed(claimed, _ENTRIES, many))
    await sizes.measure(
        "2,000 holds of 32 subjects, fitted", lambda: recovery.put(claimed, records, fit=True)
    )
    await sizes.measure(
        "the same again, not fitted", lambda: recovery.put(claimed, records, fit=False)
    )
    await sizes.measure("2,000 candidates", lambda: recovery.put_unpaid(claimed, unpaid))
    await sizes.measure("2,000 serials", lambda: recovery.spend(claimed, serials))


def _order(number: int, at: int) -> ReserveRequest:
    subjects = _SUBJECTS[:_LIST_MAX]
    venues = tuple(_VENUES[(number + n + at) % len(_VENUES)] for n in range(_LIST_MAX))
    sessions = tuple(f"session-{n:02}" for n in range(_LIST_MAX))
    return ReserveRequest(
        f"{number:024}", f"candidate-{number}", subjects, sessions, venues, "request"
    )


async def _let_be_due(sizes: Sizes, serials: list[str], texts: list[str]) -> None:
    """Let holds have been due for long."""
    async with sizes.redis.pipeline(transaction=False) as pipe:
        for serial, text in zip(serials, texts, strict=True):
            fields = text.split("|")
            fields[10] = "1"
            pipe.set(sizes.shard.record_key(serial), "|".join(fields))
            pipe.zadd(sizes.shard.key("due"), {serial: 1})
        await pipe.execute()


async def _expire_all(sizes: Sizes) -> None:
    while due := await sizes.seats.overdue(sizes.shard, "due", 0, _ORDERS):
        await sizes.seats.expire(sizes.shard, due)


async def _fill_journal(sizes: Sizes) -> None:
    """Put entries into the journal as long as those of the largest orders."""
    key, epoch = sizes.shard.key("journal"), sizes.shard.epoch
    fields = {"verb": "reserve", "subject": "0" * 24, "at": 1, "body": "x" * 1500}
    await sizes.redis.delete(key)
    for start in range(1, _ENTRIES + 1, _PAGE):
        async with sizes.redis.pipeline(transaction=False) as pipe:
            for n in range(start, start + _PAGE):
                pipe.xadd(key, fields, id=f"{epoch}-{n}")
            await pipe.execute()


async def main() -> None:
    """Measure, and print a line for each script."""
    print(f"{'script':14} {'on':42} {'calls':>6} {'median':>8} {'p99':>8} {'longest':>8}  ms")
    with tempfile.TemporaryDirectory(prefix="quota-script-times-") as folder:
        async with largest(Path(folder)) as sizes:
            await measure_all(sizes)


if __name__ == "__main__":
    asyncio.run(main())
