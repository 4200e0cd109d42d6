"""What events cost Postgres: draining holds and settling payments with their triggers and without.

Both in turns on one database, by the CPU time of the one server process that does the work, which
other processes on the machine hardly change; what counts is the ratio of the medians. At the end
what numbering an event costs.

    python -m loadtest.bench.event_cost [--rounds N]
"""

import argparse
import asyncio
import dataclasses
import itertools
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.bench.group_commit import bench_exam
from quota_service.app.opening import Service, open_service
from quota_service.domain.payment import PaymentEvent, PaymentOutcome, PaymentStatus
from quota_service.domain.reservation import Reservation, State, derive_serial
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.ledger.confirmations import PaymentDecision
from quota_service.ledger.journal import Entry, Position, draining
from quota_service.ledger.migrations import migrate
from quota_service.registration.import_exam import import_exam
from quota_service.seats.record import record_text
from quota_service.settings import Settings

_DRAINED = 500
_GROUP = 64
_PAID = 7 * _GROUP
_TABLES = ("journal", "bookings", "booking_items", "refunds_due")
_numbers = itertools.count(1)


@dataclass
class EventCost:
    """A service with one connection to Postgres, and what was measured by name, in µs."""

    service: Service
    process: int = 0
    version: int = 0
    found_us: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def round(self, *, is_told: bool) -> None:
        """Drain holds and settle payments, with triggers or without."""
        async with self.service.stores.ledger.connection() as connection:
            self.process = await connection.fetchval("SELECT pg_backend_pid()")
            for table in _TABLES:
                change = "ENABLE" if is_told else "DISABLE"
                await connection.execute(f"ALTER TABLE {table} {change} TRIGGER USER")
        held, way = [_hold() for _ in range(_DRAINED)], "with" if is_told else "without"
        await self._measure(f"a hold drained, {way}", self._drain(held), _DRAINED)
        await self._measure(f"a payment settled, {way}", self._settle(held[:_PAID]), _PAID)
        if is_told:
            numbering = self.service.stores.maintenance.events.order(_DRAINED + _PAID)
            await self._measure("an event numbered", numbering, _DRAINED + _PAID)

    async def _measure(self, name: str, work: Awaitable[object], count: int) -> None:
        before_us = self._cpu_us()
        await work
        self.found_us[name].append((self._cpu_us() - before_us) / count)

    def _cpu_us(self) -> float:
        """Return the CPU time of the server process so far."""
        return int(Path(f"/proc/{self.process}/schedstat").read_text().split()[0]) / 1000

    async def _drain(self, held: list[Reservation]) -> None:
        shard = self.service.stores.registry.shard("bench")
        async with draining(self.service.stores.ledger, shard.exam, shard.epoch) as drain:
            if drain is None:
                raise AssertionError("nobody else drains")
            first = drain.position.version + 1
            await drain.store(
                [
                    Entry(
                        Position(shard.epoch, first + n),
                        "reserve",
                        hold.id.rpartition(".")[2],
                        hold.created_ms,
                        record_text(hold),
                        hold,
                    )
                    for n, hold in enumerate(held)
                ]
            )
            self.version = drain.position.version

    async def _settle(self, held: list[Reservation]) -> None:
        shard = self.service.stores.registry.shard("bench")
        decisions = [
            PaymentDecision(
                PaymentEvent(
                    hold.id, hold.id, PaymentStatus.CAPTURED, hold.amount, "CNY", 0, hold.id, ""
                ),
                PaymentOutcome.CONFIRMED,
                booking=dataclasses.replace(hold, state=State.CONFIRMING, attempt="attempt"),
                shard=(shard.exam, shard.epoch),
                version=self.version,
            )
            for hold in held
        ]
        settle = self.service.stores.payments.confirmations.settle
        for start in range(0, _PAID, _GROUP):
            await asyncio.gather(*map(settle, decisions[start : start + _GROUP]))


def _hold() -> Reservation:
    number, now_ms = next(_numbers), round(time.time() * 1000)
    candidate, venue = f"candidate-{number}", f"venue-{number % 9 + 1}"
    return Reservation(
        id=f"bench.0.{derive_serial(None, 'bench', candidate, 'key')}",
        exam="bench",
        candidate=candidate,
        venue=venue,
        subjects=("qms",),
        sessions=("s1",),
        state=State.HELD,
        amount=8000,
        currency="CNY",
        created_ms=now_ms,
        first_deadline_ms=now_ms,
        deadline_ms=now_ms,
        due_ms=now_ms,
        checked_out=False,
        payment_seen=False,
        attempt="",
        attempt_began_ms=0,
        request_hash="0123456789abcdef",
        first_venue=venue,
    )


async def compare(settings: Settings, rounds: int) -> dict[str, list[float]]:
    """Return what was measured, round by round; the first does not count."""
    async with open_service(settings) as service:
        await migrate(service.stores.ledger)
        await import_exam(service.stores.maintenance, bench_exam(seats=1_000_000))
        await service.stores.registry.refresh()
        cost = EventCost(service)
        for turn in range(rounds + 1):
            for is_told in (True, False) if turn % 2 else (False, True):
                await cost.round(is_told=is_told)
            if not turn:
                cost.found_us.clear()
        return cost.found_us


def show(found_us: dict[str, list[float]], rounds: int) -> None:
    """Print the table."""
    medians = {name: statistics.median(each) for name, each in found_us.items()}
    for name in ("a hold drained", "a payment settled"):
        without, with_events = medians[f"{name}, without"], medians[f"{name}, with"]
        print(f"{name:18} {without:6.1f} µs, with events {with_events:6.1f} µs, "
              f"ratio {with_events / without:.2f}")  # fmt: skip
    print(f"an event numbered  {medians['an event numbered']:6.1f} µs")
    print(f"medians over {rounds} rounds, CPU time of Postgres")


def main() -> None:
    """Start the stores, run the bench, stop the stores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        with (
            EmbeddedPostgres(data / "postgres") as postgres,
            EmbeddedRedis(data / "redis") as redis,
        ):
            settings = Settings(redis_url=redis.url, postgres_dsn=postgres.url, postgres_pool_max=1)
            show(asyncio.run(compare(settings, rounds)), rounds)


if __name__ == "__main__":
    main()
