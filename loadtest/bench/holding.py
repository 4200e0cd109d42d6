"""Makes holds in numbers, by the reserve protocol itself, many at once.

As a command it is one of several processes that fill a shard: a million holds are more than one
process can make in a minute. Its settings come from the environment.

    python -m loadtest.bench.holding --exam ID --first N --count N
"""

import argparse
import asyncio
from collections.abc import Iterator

import redis.asyncio

from loadtest.bench.errors import BenchError
from loadtest.bench.messages import SUBJECT, VENUES
from loadtest.bench.processes import printed_by
from loadtest.bench.redis_client import redis_client
from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.registration.reserve import Order, reserve
from quota_service.settings import environment_of, read_settings

_AT_WORK = 256
_TRIM_EVERY = 20_000
_LOCK_LIMIT_S = 30.0
"""Postgres ends the transaction of a worker that was stopped in the middle of it after 10 s."""

_LOCK = "SELECT 1 FROM journal_positions WHERE exam = $1 FOR UPDATE"
FILLERS = 2


async def hold(
    service: Service, exam: str, run: str, numbers: range, *, at_work: int = _AT_WORK
) -> list[str]:
    """Reserve one seat for each number, dealt over the venues; return the reservation ids."""
    waiting: Iterator[int] = iter(numbers)
    made: list[str] = []

    async def candidates() -> None:
        for n in waiting:
            venue = VENUES[n % len(VENUES)]
            order = Order(f"{run}-{n:08}", (SUBJECT,), (venue,), accepted_notice=True)
            reserved = await reserve(service.stores.reservations, exam, order, f"key-{run}-{n:08}")
            made.append(reserved.reservation.id)

    await asyncio.gather(*(candidates() for _ in range(at_work)))
    if len(made) != len(numbers):
        raise BenchError(f"{len(made)} holds were made, not {len(numbers)}")
    return made


async def trim_journal(service: Service, client: "redis.asyncio.Redis", exam: str) -> None:
    """Forget the journal of an exam, as if it were drained: what a bench made is not kept.

    The position in Postgres moves along, or the next drain would look for the missing steps.
    """
    shard, ledger = service.stores.registry.shard(exam), service.stores.ledger
    async with ledger.transaction() as connection:
        await connection.execute(_LOCK, exam, timeout=_LOCK_LIMIT_S)
        version = int(await client.get(shard.key("version")) or 0)
        first_kept = f"{shard.epoch}-{version + 1}"
        await client.xtrim(shard.key("journal"), minid=first_kept, approximate=False)
        move = ledger.query["advance_journal_position"]
        await connection.execute(move, exam, shard.epoch, version)


async def fill(service: Service, client: "redis.asyncio.Redis", exam: str, count: int) -> None:
    """Make `count` holds of an exam, in several processes, its journal trimmed meanwhile."""
    share = -(-count // FILLERS)
    parts = [range(first, min(first + share, count)) for first in range(0, count, share)]
    await asyncio.gather(
        *(
            printed_by(
                "loadtest.bench.holding",
                *("--exam", exam, "--first", str(part.start), "--count", str(len(part))),
                environment=environment_of(service.settings),
            )
            for part in parts
        )
    )
    await trim_journal(service, client, exam)


async def _fill_part(exam: str, first: int, count: int) -> None:
    settings = read_settings()
    async with open_service(settings) as service, redis_client(settings.redis_url) as client:
        await refresh_memory(service)
        for start in range(first, first + count, _TRIM_EVERY):
            numbers = range(start, min(start + _TRIM_EVERY, first + count))
            await hold(service, exam, "fill", numbers)
            await trim_journal(service, client, exam)


def main() -> None:
    """Make a part of the holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exam", required=True)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(_fill_part(options.exam, options.first, options.count))


if __name__ == "__main__":
    main()
