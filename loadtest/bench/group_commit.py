"""Confirmations a second: group-committed, against one transaction each, in the same run.

Both run through the real confirm protocol on a real Redis (AOF synced at every write) and a real
Postgres (fsync on), started here on loopback. The two alternate over several rounds, because a
shared machine is noisy; what counts is the ratio of the medians.

    python -m loadtest.bench.group_commit [--rounds N] [--confirmations N] [--in-flight N]
"""

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from quota_service.app.opening import Service, open_service
from quota_service.definitions.reading import parse_exam
from quota_service.domain.exam import Exam
from quota_service.domain.payment import PaymentEvent, PaymentOutcome, PaymentStatus
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.ledger.group_commit import GroupCommitLimits
from quota_service.ledger.migrations import migrate
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.reserve import Order, reserve
from quota_service.settings import Settings

GROUPED, ALONE = "group-committed", "one transaction each"
_numbers = itertools.count(1)


def bench_exam(seats: int, exam: str = "bench", **members: Any) -> Exam:
    """Return an exam with nine venues, open for a day, with `seats` seats at each.

    `members` are further members of its definition, or other ones than here.
    """
    venues = [f"venue-{n}" for n in range(1, 10)]
    text = {"zh": "基准", "en": "bench"}
    now_s = int(time.time())

    def moment(offset_s: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s + offset_s))

    window = {"opens_at": moment(-60), "closes_at": moment(86_400)}
    return parse_exam(
        {
            "id": exam,
            "title": text,
            "time_zone": "UTC",
            "registration": window,
            "refund": window,
            "fee": {"amount": 8000, "currency": "CNY"},
            "hold": {"ttl_s": 3600},
            "notice": {"version": "1", "text": text},
            "sessions": [
                {"id": "s1", "title": text, "starts_at": moment(90_000), "ends_at": moment(99_000)}
            ],
            "subjects": [{"id": "qms", "title": text, "session": "s1"}],
            "venues": [{"id": venue, "title": text} for venue in venues],
            "seats": {venue: {"qms": seats} for venue in venues},
            **members,
        }
    )


async def holds(service: Service, count: int) -> list[str]:
    """Reserve `count` seats, dealt over the venues, and return the reservation ids."""

    async def hold() -> str:
        n = next(_numbers)
        order = Order(f"candidate-{n}", ("qms",), (f"venue-{n % 9 + 1}",), accepted_notice=True)
        reserved = await reserve(service.stores.reservations, "bench", order, "key")
        return reserved.reservation.id

    return list(await asyncio.gather(*(hold() for _ in range(count))))


async def confirmations_a_second(service: Service, count: int, in_flight: int) -> float:
    """Confirm `count` new holds, `in_flight` at a time, and return the rate."""
    waiting = iter(await holds(service, count))

    async def caller() -> None:
        for reservation in waiting:
            event = PaymentEvent(
                f"event-{reservation}",
                reservation,
                PaymentStatus.CAPTURED,
                8000,
                "CNY",
                0,
                f"reference-{reservation}",
                reservation,
            )
            result = await confirm(service.stores.payments, event)
            if result.outcome is not PaymentOutcome.CONFIRMED:
                raise AssertionError(result)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return count / (time.perf_counter() - started)


async def compare(
    settings: Settings, rounds: int, count: int, in_flight: int
) -> dict[str, list[float]]:
    """Run both targets alternately and return their rates, round by round."""
    targets = {
        GROUPED: settings,
        ALONE: settings.with_limits(GroupCommitLimits(batch_max=1, in_flight_max=8)),
    }
    async with open_service(settings) as service:
        await migrate(service.stores.ledger)
        await import_exam(service.stores.maintenance, bench_exam(seats=1_000_000))
    rates: dict[str, list[float]] = {name: [] for name in targets}
    for turn in range(-1, rounds):  # the first turn warms up and does not count
        for name, chosen in targets.items():
            async with open_service(chosen) as service:
                await service.stores.registry.refresh()
                rate = await confirmations_a_second(service, count, in_flight)
            if turn >= 0:
                rates[name].append(rate)
    return rates


def show(rates: dict[str, list[float]], in_flight: int) -> None:
    """Print the table."""
    for name, measured in rates.items():
        low, high = min(measured), max(measured)
        print(f"{name:22} {statistics.median(measured):8.0f}/s  ({low:.0f} to {high:.0f})")
    ratio = statistics.median(rates[GROUPED]) / statistics.median(rates[ALONE])
    print(f"ratio of medians over {len(rates[ALONE])} rounds, {in_flight} in flight: {ratio:.1f}")


def main() -> None:
    """Start the stores, run the bench, stop the stores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--confirmations", type=int, default=2000)
    parser.add_argument("--in-flight", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        with (
            EmbeddedPostgres(data / "postgres") as postgres,
            EmbeddedRedis(data / "redis") as redis,
        ):
            settings = Settings(redis_url=redis.url, postgres_dsn=postgres.url)
            limits = (options.rounds, options.confirmations, options.in_flight)
            show(asyncio.run(compare(settings, *limits)), options.in_flight)


if __name__ == "__main__":
    main()
