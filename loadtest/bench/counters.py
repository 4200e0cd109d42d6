"""What the service and Redis counted themselves, so that a measurement cannot mislead.

A rate is only reported when the service's own counters, and the stores, say that what the client
counted has happened, and nothing else.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
import redis.asyncio
from prometheus_client.parser import text_string_to_metric_families

from loadtest.bench.errors import BenchError

Seen = TypeVar("Seen")

_STEADY_PAUSE_S = 0.1
_STEADY_LIMIT_S = 20.0


async def counted(
    http: aiohttp.ClientSession, admin_urls: Sequence[str], name: str, **fixed: str
) -> Counter[str]:
    """Return a counter, summed over processes, by its labels but those in `fixed`, as given."""
    found: Counter[str] = Counter()
    for admin_url in admin_urls:
        async with http.get(f"{admin_url}/metrics") as answer:
            text = await answer.text()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and fixed.items() <= sample.labels.items():
                    rest = [value for label, value in sample.labels.items() if label not in fixed]
                    found["/".join(rest)] += int(sample.value)
    return found


async def api_cpu_us(http: aiohttp.ClientSession, admin_urls: Sequence[str]) -> float:
    """Return the CPU that the processes of an API have used, in microseconds."""
    total_s = 0.0
    for admin_url in admin_urls:
        async with http.get(f"{admin_url}/metrics") as answer:
            text = await answer.text()
        total_s += sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "process_cpu_seconds_total"
        )
    return total_s * 1e6


async def steady(read: Callable[[], Awaitable[Seen]]) -> Seen:
    """Read until two readings are equal: work that the client did not wait for is then done."""
    async with asyncio.timeout(_STEADY_LIMIT_S):
        before = await read()
        while True:
            await asyncio.sleep(_STEADY_PAUSE_S)
            now = await read()
            if now == before:
                return now
            before = now


def check_count(what: str, answered: int, happened: int, in_flight: int) -> None:
    """Raise BenchError unless all that the client was answered happened.

    Up to `in_flight` requests more may have: those whose answer the client did not wait for.
    """
    if not answered <= happened <= answered + in_flight:
        raise BenchError(f"{what}: the client counted {answered}, the service {happened}")


def check_only(what: str, grown: Counter[str], outcome: str) -> None:
    """Raise BenchError when anything but `outcome` was counted."""
    others = {name: count for name, count in grown.items() if count and name != outcome}
    if others:
        raise BenchError(f"{what}: also counted {others}")


@dataclass(frozen=True, slots=True)
class RedisUse:
    """The resources a Redis had used at a time."""

    cpu_us: float
    commands: int
    script_calls: int

    def since(self, before: "RedisUse") -> "RedisUse":
        """Return what was used between two moments."""
        return RedisUse(
            self.cpu_us - before.cpu_us,
            self.commands - before.commands,
            self.script_calls - before.script_calls,
        )


async def redis_use(client: "redis.asyncio.Redis") -> RedisUse:
    """Return what a Redis has used so far: its own CPU, not that of its children."""
    info = await client.info("everything")
    seconds = float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
    calls = info.get("cmdstat_evalsha", {}).get("calls", 0)
    return RedisUse(seconds * 1e6, int(info["total_commands_processed"]), int(calls))
