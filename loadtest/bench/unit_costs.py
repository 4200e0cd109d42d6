"""The rows of unit costs: the CPU that one request costs the API, Redis and Postgres.

They are what `loadtest/capacity/` reckons with. Each kind of request is sent by wrk while the
worker is stopped, and the CPU of every process is read before and after. What the worker costs is
measured for a journal entry: holds are made, and the CPU counts until all of it is drained.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from loadtest.bench.counters import api_cpu_us, redis_use
from loadtest.bench.errors import BenchError
from loadtest.bench.holding import hold, trim_journal
from loadtest.bench.messages import order_requests, payment_requests, read_requests
from loadtest.bench.table import Row, Spread
from loadtest.bench.targets import Payments
from loadtest.bench.testbed import Testbed
from loadtest.bench.throughput import first_look, new_exam
from loadtest.bench.waiting import until
from loadtest.bench.wrk import http_request, run_wrk
from quota_service.registration.waiting_room import Joined, join

_ONCE_PER_S = 8_000
"""How many requests that may be sent once are prepared for each second; more than are answered."""
_AT_WORK = 256
_FAST_ROOM = {"rate_per_s": 100_000, "rate_max_per_s": 100_000, "places_max": 1_000_000}
_ENTRIES = 5_000
_DRAIN_LIMIT_S = 60.0
_TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")
_PARENT, _OWN, _CHILDREN = 1, slice(11, 13), slice(13, 15)
"""Where /proc/PID/stat has the parent's pid and the ticks of CPU, counted from the state."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """What the processes have used so far, or for one request, in microseconds."""

    api_us: float
    redis_us: float
    postgres_us: float
    worker_us: float

    def each_since(self, before: "Cpu", count: int) -> "Cpu":
        """Return what was used since then for each of so many."""
        return Cpu(
            (self.api_us - before.api_us) / count,
            (self.redis_us - before.redis_us) / count,
            (self.postgres_us - before.postgres_us) / count,
            (self.worker_us - before.worker_us) / count,
        )


async def unit_costs_rows(testbed: Testbed) -> list[Row]:
    """Return a row for each kind of request, and one for a journal entry."""
    exam, sold_out = await new_exam(testbed), await new_exam(testbed, seats=0)
    room = await new_exam(testbed, waiting_room={})
    fast_room = await new_exam(testbed, waiting_room=_FAST_ROOM)
    later = {"opens_at": _in_hours(1), "closes_at": _in_hours(2)}
    draw = await new_exam(testbed, waiting_room={}, registration=later)
    await first_look(testbed, f"/v1/exams/{exam}/availability")
    for each in (room, fast_room, draw):
        await first_look(testbed, f"/v1/exams/{each}/waiting-room")
    looks = read_requests(f"/v1/exams/{exam}/availability")
    polls = read_requests(f"/v1/exams/{room}/waiting-room")
    costs: dict[str, list[Cpu]] = {}
    for turn in range(-1, testbed.plan.rounds):
        found = {
            "reserve": await _cost(testbed, exam, _orders(testbed, exam)),
            "reserve, sold out": await _cost(testbed, sold_out, _orders(testbed, sold_out)),
            "join the draw": await _cost(testbed, draw, _joins(testbed, draw)),
            "join the queue": await _cost(testbed, room, _joins(testbed, room)),
            "claim a turn": await _cost(
                testbed, fast_room, await _claims(testbed, fast_room), is_once=True
            ),
            "poll the waiting room": await _cost(testbed, room, polls),
            "availability": await _cost(testbed, exam, looks),
            "payment": await _cost(testbed, exam, await _payments(testbed, exam), is_once=True),
            "journal entry": await _drain_cost(testbed, exam),
        }
        for name, cost in found.items():
            if turn >= 0:
                costs.setdefault(name, []).append(cost)
    return [_row(name, measured) for name, measured in costs.items()]


def _row(name: str, costs: Sequence[Cpu]) -> Row:
    parts = {part: [getattr(cost, part) for cost in costs] for part in Cpu.__dataclass_fields__}
    sums = [sum(each) for each in zip(*parts.values(), strict=True)]
    figures = {part: Spread.of(measured) for part, measured in parts.items()}
    return Row(f"CPU of one: {name}", Spread.of(sums), None, figures, unit="µs")


async def _cost(
    testbed: Testbed, exam: str, requests: Sequence[bytes], *, is_once: bool = False
) -> Cpu:
    """Return what each of some requests costs; with `is_once` none may be sent twice."""
    plan, url = testbed.plan, testbed.api.url
    with testbed.worker_stopped():
        before = await _used(testbed)
        done = await run_wrk(url, requests, connections=plan.connections[0], seconds=plan.seconds)
        used = await _used(testbed)
    if is_once and done.requests > len(requests):
        raise BenchError(f"{done.requests} requests were sent, and {len(requests)} prepared")
    if done.refused not in (0, done.requests):
        raise BenchError(f"{done.refused} of {done.requests} requests were refused")
    await trim_journal(testbed.service, testbed.redis, exam)
    return used.each_since(before, done.requests)


async def _drain_cost(testbed: Testbed, exam: str) -> Cpu:
    """Return what the journal entry of a hold costs until it is in Postgres and trimmed."""
    with testbed.worker_stopped():
        await hold(testbed.service, exam, testbed.new_name("run"), range(_ENTRIES))
        before = await _used(testbed)
    shard = testbed.service.stores.registry.shard(exam)

    async def is_drained() -> bool:
        snapshot = await testbed.service.stores.seats.snapshot(shard)
        return not snapshot.journal_entries

    await until(is_drained, "the journal to be drained", within_s=_DRAIN_LIMIT_S)
    return (await _used(testbed)).each_since(before, _ENTRIES)


async def _used(testbed: Testbed) -> Cpu:
    """Return the CPU of every process of the service and its stores."""
    async with testbed.service.stores.ledger.connection() as connection:
        backend = await connection.fetchval("SELECT pg_backend_pid()")
    return Cpu(
        api_us=await api_cpu_us(testbed.http, testbed.api.admin_urls),
        redis_us=(await redis_use(testbed.redis)).cpu_us,
        postgres_us=_family_us(int(_stat(backend)[_PARENT])),
        worker_us=sum(map(int, _stat(testbed.worker.pid)[_OWN])) * _TICK_US,
    )


def _family_us(parent: int) -> float:
    """Return the CPU of a process and its children, those that have ended among them."""
    pids = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    ticks = sum(map(int, _stat(parent)[_OWN] + _stat(parent)[_CHILDREN]))
    for pid in pids:
        stat = _stat(pid)
        if stat and int(stat[_PARENT]) == parent:
            ticks += sum(map(int, stat[_OWN]))
    return ticks * _TICK_US


def _stat(pid: int | str) -> list[str]:
    """Return what the kernel says of a process, from its state on; nothing when it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _orders(testbed: Testbed, exam: str) -> Sequence[bytes]:
    path = f"/v1/exams/{exam}/reservations"
    return order_requests(path, testbed.frontend_key, testbed.new_name("run"))


def _joins(testbed: Testbed, exam: str) -> Sequence[bytes]:
    body = orjson.dumps({"candidate": f"{testbed.new_name('run')}-{{n}}"})
    headers = {"Authorization": f"Bearer {testbed.frontend_key}"}
    return [http_request("POST", f"/v1/exams/{exam}/waiting-room", body, headers)]


async def _claims(testbed: Testbed, exam: str) -> Sequence[bytes]:
    """Return claims of candidates whose turn it is."""
    service, run = testbed.service, testbed.new_name("run")
    await service.stores.waiting_room.rooms.refresh()
    coming = iter(range(_ONCE_PER_S * testbed.plan.seconds))
    tickets: dict[str, Joined] = {}

    async def join_some() -> None:
        for n in coming:
            candidate = f"{run}-{n:08}"
            tickets[candidate] = await join(service.stores.waiting_room, exam, candidate)

    await asyncio.gather(*(join_some() for _ in range(_AT_WORK)))
    last = max(joined.ticket.place for joined in tickets.values())

    async def is_their_turn() -> bool:
        async with testbed.http.get(f"{testbed.api.url}/v1/exams/{exam}/waiting-room") as answer:
            return bool((await answer.json())["serving"] >= last)

    await until(is_their_turn, "the turn of all who joined")
    headers = {"Authorization": f"Bearer {testbed.frontend_key}"}
    path = f"/v1/exams/{exam}/waiting-room/claims"
    bodies = (
        orjson.dumps({"candidate": candidate, "ticket": joined.text})
        for candidate, joined in tickets.items()
    )
    return [http_request("POST", path, body, headers) for body in bodies]


def _in_hours(hours: int) -> str:
    """Return a time as definitions have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + hours * 3_600))


async def _payments(testbed: Testbed, exam: str) -> Sequence[bytes]:
    """Return signed payments of new holds."""
    numbers = range(_ONCE_PER_S * testbed.plan.seconds)
    holds = await hold(testbed.service, exam, testbed.new_name("run"), numbers)
    await trim_journal(testbed.service, testbed.redis, exam)
    return payment_requests(Payments.PATH, testbed.payment_secret, holds)
