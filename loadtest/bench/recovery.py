"""How long recovery takes to end the 10,000 payments in progress of a process that died.

The use case itself leaves them behind: every other one dies after its attempt began, the rest after
the commit, before Redis is updated. Then a second process, with default settings but for the age it
waits for, does recovery rounds until one finds nothing, and both stores are compared.

    python -m loadtest.bench.recovery [--attempts N]
"""

import argparse
import asyncio
import dataclasses
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from loadtest.bench.group_commit import bench_exam, holds
from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.payment import PaymentEvent, PaymentStatus
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.ledger.migrations import migrate
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.stores import PaymentStores
from quota_service.settings import Settings
from quota_service.workers.recovery import RecoveryWorker

_AT_WORK = 256
_LINES = ("confirm: after attempt", "confirm: after commit")


class DiedError(Exception):
    """Represents the death of the process at a marked line."""


def dying(stores: PaymentStores, line: str) -> PaymentStores:
    """Return stores whose protocols die at a marked line."""

    def failpoint(now: str) -> None:
        if now == line:
            raise DiedError(line)

    return dataclasses.replace(stores, failpoint=failpoint)


async def leave_attempts(service: Service, count: int) -> None:
    """Let `count` payments die, alternately after their attempt and after their commit."""
    made = await holds(service, count)
    waiting: Iterator[tuple[int, str]] = iter(enumerate(made))

    async def payments() -> None:
        for n, reservation in waiting:
            event = PaymentEvent(
                f"event-{n}",
                reservation,
                PaymentStatus.CAPTURED,
                8000,
                "CNY",
                0,
                "reference",
                reservation,
            )
            try:
                await confirm(dying(service.stores.payments, _LINES[n % 2]), event)
            except DiedError:
                continue
            raise AssertionError(f"the payment of {reservation} did not die")

    await asyncio.gather(*(payments() for _ in range(_AT_WORK)))


async def check(service: Service, done: Counter[str], count: int) -> None:
    """Raise AssertionError unless every payment has ended and both stores agree."""
    snapshot = await service.stores.seats.snapshot(service.stores.registry.shard("bench"))
    rows = await service.stores.ledger.fetch("select_quotas", "bench")
    booked = sum(row["confirmed"] for row in rows)
    seen = (snapshot.attempts, sum(snapshot.confirming.values()), sum(snapshot.confirmed.values()))
    halves = (count // 2, count - count // 2)
    if seen != (0, 0, booked) or (done["finished"], done["abandoned"]) != halves:
        raise AssertionError(f"redis has {seen}, postgres {booked} booked; {dict(done)}")


async def bench(settings: Settings, count: int) -> None:
    """Leave the attempts, recover them, and print what that took."""
    async with open_service(settings) as service:
        await migrate(service.stores.ledger)
        await refresh_memory(service)
        await import_exam(service.stores.maintenance, bench_exam(seats=1_000_000))
        await leave_attempts(service, count)
    at_once = dataclasses.replace(settings, recovery_age_s=0)
    async with open_service(at_once) as service:
        await refresh_memory(service)
        worker = RecoveryWorker(service.stores.payments, at_once)
        done: Counter[str] = Counter()
        rounds = 0
        started, cpu_started = time.perf_counter(), time.process_time()
        while any((found := await worker.run_once()).values()):
            done.update(found)
            rounds += 1
        elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
        await check(service, done, count)
    print(f"{count} payments of a dead process ended in {elapsed_s:.1f} s, {rounds} rounds")
    print(f"  {done['finished']} booked and finished, {done['abandoned']} holds again")
    print(f"  in this process {cpu_s:.1f} s of CPU")


def main() -> None:
    """Start the stores, run the bench, stop the stores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        with (
            EmbeddedPostgres(data / "postgres") as postgres,
            EmbeddedRedis(data / "redis") as redis,
        ):
            settings = Settings(redis_url=redis.url, postgres_dsn=postgres.url)
            asyncio.run(bench(settings, options.attempts))


if __name__ == "__main__":
    main()
