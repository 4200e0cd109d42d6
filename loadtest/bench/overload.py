"""Reservations at three times the maximum rate: how many are served, how fast others are refused.

Rounds of two: first the maximum rate of a closed loop, then an open loop at a multiple of it, with
signed payment callbacks all the while. The service runs in processes of its own, with all that is
on in production: one API process, one of workers, Redis with AOF, Postgres with fsync.

    python -m loadtest.bench.overload [--rounds N] [--seconds N] [--times N] [--proxy]

`--proxy` puts HAProxy before the API process, as `deploy/haproxy/` has it, with all rates off.
"""

import argparse
import asyncio
import base64
import dataclasses
import os
import resource
import secrets
import statistics
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from loadtest.bench.flood import percentiles
from loadtest.bench.group_commit import bench_exam, holds
from loadtest.bench.proxy import proxied
from quota_service.app.opening import open_service
from quota_service.client.webhooks import sign
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.embedded.ports import free_loopback_port
from quota_service.ledger.api_keys import Scope
from quota_service.ledger.migrations import migrate
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings, environment_of

_ROOT = Path(__file__).parents[2]
_SEATS = 1_000_000
_CONNECTIONS_MAX = 256
_CONNECTIONS_MAX_PROXY = 128
"""The same behind HAProxy: 64 have a slot and 64 are queued, so that none is refused."""
_CONNECTIONS_FLOOD = 3000
_NO_RATE = 10_000_000
_CALLBACKS_PER_S = 20
_FILES_MAX = 8192
_REACH = {"goodput": 0.6, "callback_p99_ms": 1000.0, "refusal_p50_ms": 100.0, "memory": 1.1}
_REACH_PROXY = {"goodput": 0.0, "callback_p99_ms": 500.0, "refusal_p50_ms": 50.0, "memory": 1.1}
"""Behind HAProxy, which uses the same cores: the goodput has no goal."""


@dataclass(slots=True)
class Round:
    """What one round measured; rates a second."""

    best: float
    offered: float
    goodput: float
    refusal_p50_ms: float
    reserve_p99_ms: float
    callback_p99_ms: float
    callbacks: dict[int, int]
    rss_before: int
    rss_after: int
    statuses: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """The running service and what its callers need."""

    url: str
    process: Process
    key: str
    secret: bytes
    reservations: list[str]
    connections: int


async def flood(target: Target, run: str, seconds: float, connections: int, rate: float) -> Any:
    """Run the flood in a process of its own and return what it saw."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtest.bench.flood", "--url", target.url),
        *("--key", target.key, "--run", run, "--seconds", str(seconds)),
        *("--connections", str(connections), "--rate", str(rate)),
        stdout=PIPE,
        cwd=_ROOT,
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the flood ended with status {process.returncode}")
    return orjson.loads(out)


async def pay_all_the_while(
    target: Target, ended: asyncio.Event
) -> tuple[list[float], Counter[int]]:
    """Send signed callbacks at a slow rate until stopped; return their latencies and statuses."""
    latencies_s: list[float] = []
    statuses: Counter[int] = Counter()

    async def pay(http: aiohttp.ClientSession, reservation: str) -> None:
        body = orjson.dumps(
            {
                "reservation": reservation,
                "status": "captured",
                "amount": 8000,
                "currency": "CNY",
                "paid_at": "2026-01-02T03:04:05.000Z",
                "provider_reference": reservation,
            }
        )
        now_s, event = int(time.time()), f"event-{reservation}"
        headers = {
            "webhook-id": event,
            "webhook-timestamp": str(now_s),
            "webhook-signature": sign(target.secret, event, now_s, body),
        }
        started = time.perf_counter()
        address = f"{target.url}/v1/payment-callbacks"
        async with http.post(address, data=body, headers=headers) as answer:
            await answer.read()
        statuses[answer.status] += 1
        latencies_s.append(time.perf_counter() - started)

    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
        while not ended.is_set():
            group.create_task(pay(http, target.reservations.pop()))
            await asyncio.sleep(1 / _CALLBACKS_PER_S)
    return latencies_s, statuses


async def measure(target: Target, number: int, seconds: float, times: float) -> Round:
    """Measure one round."""
    closed = await flood(target, f"c{number}", seconds, target.connections, 0)
    best = closed["statuses"].get("201", 0) / closed["elapsed_s"]
    rss_before = resident_bytes(target.process.pid)
    ended = asyncio.Event()
    paying = asyncio.create_task(pay_all_the_while(target, ended))
    opened = await flood(target, f"o{number}", seconds, _CONNECTIONS_FLOOD, best * times)
    ended.set()
    paid_s, paid = await paying
    latencies = opened["latencies"]
    return Round(
        best=best,
        offered=opened["sent"] / opened["elapsed_s"],
        goodput=opened["statuses"].get("201", 0) / opened["elapsed_s"],
        refusal_p50_ms=latencies.get("503", {}).get("p50_ms", 0.0),
        reserve_p99_ms=latencies.get("201", {}).get("p99_ms", 0.0),
        callback_p99_ms=percentiles(paid_s)["p99_ms"],
        callbacks=dict(paid),
        rss_before=rss_before,
        rss_after=resident_bytes(target.process.pid),
        statuses={**opened["statuses"], "broken": opened["broken"]},
    )


def resident_bytes(pid: int) -> int:
    """Return the memory a process has resident."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()


@asynccontextmanager
async def running(settings: Settings, *command: str) -> AsyncIterator[Process]:
    """Run `quota-service` with these settings until the block ends."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("QUOTA_")}
    environment |= environment_of(settings)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "quota_service.cli", *command), env=environment, cwd=_ROOT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def until_ready(url: str) -> None:
    """Wait until the service can serve."""
    async with asyncio.timeout(30), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"{url}/readyz") as answer:
                    if answer.status == 200:  # noqa: PLR2004
                        return
            except aiohttp.ClientError:
                pass  # it does not listen yet
            await asyncio.sleep(0.1)


async def bench(settings: Settings, secret: bytes, options: argparse.Namespace) -> list[Round]:
    """Prepare the stores, run the service, and measure the rounds."""
    async with open_service(settings) as service:
        await migrate(service.stores.ledger)
        await import_exam(service.stores.maintenance, bench_exam(seats=_SEATS))
        key = await service.key_ledger.create("bench", frozenset({Scope.FRONTEND}))
        count = int((options.seconds + 5) * _CALLBACKS_PER_S * (options.rounds + 1))
        reservations = await holds(service, count)
    worker = dataclasses.replace(settings, admin_port=free_loopback_port())
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(running(settings, "serve"))
        await stack.enter_async_context(running(worker, "worker"))
        url, connections = f"http://{settings.host}:{settings.port}", _CONNECTIONS_MAX
        if options.proxy:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            limits = {"KEY_RATE": _NO_RATE, "ADDRESS_CONNECTIONS": _CONNECTIONS_FLOOD * 2}
            proxy = await stack.enter_async_context(proxied(folder, [url], **limits))
            url, connections = proxy.http, _CONNECTIONS_MAX_PROXY
        target = Target(url, process, key, secret, reservations, connections)
        await until_ready(target.url)
        rounds = []
        for number in range(options.rounds + 1):  # the first warms up and does not count
            found = await measure(target, number, options.seconds, options.times)
            print(round_text(found) + ("" if number else "  (warm-up)"), flush=True)
            rounds += [found] if number else []
    return rounds


def round_text(found: Round) -> str:
    """Return a round in one line."""
    return (
        f"max {found.best:6.0f}/s  offered {found.offered:6.0f}/s  goodput {found.goodput:6.0f}/s "
        f"= {found.goodput / found.best:.2f}  refused in {found.refusal_p50_ms:.0f} ms (median)  "
        f"reserved in {found.reserve_p99_ms:.0f} ms (p99)  "
        f"callbacks {found.callbacks} in {found.callback_p99_ms:.0f} ms (p99)  "
        f"RSS {found.rss_before >> 20} to {found.rss_after >> 20} MiB  {found.statuses}"
    )


def main() -> int:
    """Start the stores, measure, and print the medians beside what is to be reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--times", type=float, default=3)
    parser.add_argument("--proxy", action="store_true")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES_MAX, hard), hard))
    secret = secrets.token_bytes(32)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        with (
            EmbeddedPostgres(data / "postgres") as postgres,
            EmbeddedRedis(data / "redis") as redis,
        ):
            settings = Settings(
                redis_url=redis.url,
                postgres_dsn=postgres.url,
                port=free_loopback_port(),
                admin_port=free_loopback_port(),
                payment_secrets="whsec_" + base64.b64encode(secret).decode(),
                log_level="error",
            )
            rounds = asyncio.run(bench(settings, secret, options))
    found = {
        "goodput": statistics.median(r.goodput / r.best for r in rounds),
        "callback_p99_ms": statistics.median(r.callback_p99_ms for r in rounds),
        "refusal_p50_ms": statistics.median(r.refusal_p50_ms for r in rounds),
        "memory": statistics.median(r.rss_after / r.rss_before for r in rounds),
    }
    reach = _REACH_PROXY if options.proxy else _REACH
    for name, value in found.items():
        side = "at least" if name == "goodput" else "at most"
        print(f"{name:16} {value:8.2f}  {side} {reach[name]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
