"""How soon a reservation is answered 201 again after Redis was lost, and what was lost with it.

Postgres is filled with a registration that is nearly over, Redis built from it, and the service
runs in processes of its own, as in production. Under a load of 500 reservations and 50 payments a
second Redis is lost in one way after the other. The time of a recovery is from the moment a primary
answers PING again at the service's address until a reservation that was sent after that is answered
201. Then every hold that was acknowledged is looked for, every payment that was answered as booked
too, and both stores are audited.

    python -m loadtest.bench.recovery_times [--bookings N,N] [--holds N] [--rounds N] [--only CASE]

It prints a table and writes `loadtest/results/recovery_times.json`. The exit status is 1 when
something is missing that may not be, or an audit is not clean. `--quick` shows that it works.
"""

import argparse
import asyncio
import datetime as dt
import itertools
import logging
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import orjson
from redis.exceptions import RedisError

from loadtest.bench.errors import BenchError
from loadtest.bench.full_ledger import EXAM, Built, build
from loadtest.bench.live_load import PAYMENTS_PER_S, RESERVATIONS_PER_S, LiveLoad
from loadtest.bench.losses import CASES, Case, Loss, Primary
from loadtest.bench.recovery_checks import Found, Recovered, look, recovered_since
from loadtest.bench.recovery_table import Round, document, table_text
from loadtest.bench.testbed import SECRET_BYTES, Plan, Testbed, stage_on, stage_settings
from quota_service.domain.errors import QuotaError
from quota_service.embedded import EmbeddedError, EmbeddedPostgres

RESULTS = Path(__file__).parents[1] / "results"
_STEADY_S = 2.0
"""How long the load goes on before a loss, and after the service is back."""

_SERVED_LIMIT_S = 300.0
_FAULTS = (BenchError, EmbeddedError, QuotaError, RedisError, OSError, TimeoutError)
_ROUNDS_MAX = 100
_NOT_MEASURED = Plan(0, 0, (), 0, 0, 0)
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class _Sizes:
    """How much is done; `age_s` is how old a copy is when it is put in place, in seconds."""

    bookings: list[int]
    holds: int
    rounds: int
    age_s: float


def main() -> int:
    """Run every case at every size; return 1 when one of them is in doubt."""
    options = _options()
    # What this process recovers while it builds Redis is no news.
    logging.getLogger("quota_service").setLevel(logging.ERROR)
    # As Ctrl-C does, so that the stores are stopped in order and their data is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sizes = _Sizes(options.bookings, options.holds, options.rounds, options.age_s)
    if options.quick:
        sizes = _Sizes([2_000], 500, 1, 5.0)
    cases = [CASES[name] for name in options.only or CASES]
    rounds: list[Round] = []
    doubts: list[str] = []
    try:
        for bookings in sizes.bookings:
            with tempfile.TemporaryDirectory(prefix="quota-bench-") as folder:
                done = asyncio.run(_all_cases(Path(folder), bookings, sizes, cases))
            rounds += done[0]
            doubts += done[1]
    except KeyboardInterrupt:
        return _INTERRUPTED
    doubts += [doubt for each in rounds for doubt in each.doubts]
    print(f"\n{table_text(rounds)}")
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / "recovery_times.json"
    file.write_bytes(orjson.dumps(document(rounds), option=orjson.OPT_INDENT_2) + b"\n")
    print(f"\nwritten: {file}")
    for doubt in doubts:
        print(f"recovery_times: in doubt: {doubt}", file=sys.stderr)
    return 1 if doubts else 0


async def _all_cases(
    folder: Path, bookings: int, sizes: _Sizes, cases: Iterable[Case]
) -> tuple[list[Round], list[str]]:
    """Fill stores of one size and lose Redis in every way; return rounds and errors logged."""
    secret = secrets.token_bytes(SECRET_BYTES)
    primary = Primary(folder, EXAM)
    try:
        with EmbeddedPostgres(folder / "postgres") as postgres:
            await primary.start()
            settings = stage_settings(primary.url, postgres.url, secret)
            _tell(await build(settings, bookings=bookings, holds=sizes.holds))
            async with stage_on(settings, _NOT_MEASURED, folder, secret) as testbed:
                rounds, doubts = await _rounds(testbed, primary, bookings, sizes, cases)
                return rounds, doubts + testbed.errors_logged()
    finally:
        primary.stop()


async def _rounds(
    testbed: Testbed, primary: Primary, bookings: int, sizes: _Sizes, cases: Iterable[Case]
) -> tuple[list[Round], list[str]]:
    """Lose Redis in every way, repeatedly; the first failure ends it, and is reported."""
    rounds: list[Round] = []
    for case, _ in itertools.product(cases, range(sizes.rounds)):
        try:
            rounds.append(await _round(testbed, primary, case, bookings, sizes.age_s))
        except _FAULTS as error:
            name = f"{case.title}, {bookings:,} bookings"
            return rounds, [f"{name}: {type(error).__name__}: {error}"]
    return rounds, []


async def _round(
    testbed: Testbed, primary: Primary, case: Case, bookings: int, age_s: float
) -> Round:
    """Lose Redis in one way under load, and see how the service comes back."""
    began_s = time.monotonic()
    if case.has_replica:
        await primary.add_replica()
    else:
        await primary.rewrite()
    known = max((each.epoch for each in await recovered_since(testbed, EXAM, 0)), default=0)
    run = testbed.new_name("live")
    load = LiveLoad(testbed.api.url, EXAM, testbed.frontend_key, testbed.payment_secret, run)
    async with load:
        await load.first_since(time.monotonic(), within_s=_SERVED_LIMIT_S)
        await asyncio.sleep(_STEADY_S)
        loss = await case.lose(primary, age_s)
        served_s = await load.first_since(loss.back.at_s, within_s=_SERVED_LIMIT_S)
        await asyncio.sleep(_STEADY_S)
    found = await look(testbed, EXAM, [each.reservation for each in load.acknowledged], load.paid)
    recoveries = await recovered_since(testbed, EXAM, known)
    done = _round_of(case, loss, served_s, recoveries, found, bookings=bookings)
    took_s = time.monotonic() - began_s
    print(
        f"{case.title}, {bookings:,} bookings: {done.seconds:.2f} s, {done.way} "
        f"(noticed {done.noticed_s:.2f}, recovered {done.recovered_s:.2f}, "
        f"served {done.served_s:.2f}); {done.acknowledged} holds acknowledged, {done.missing} "
        f"missing, {done.paid} paid; answers {dict(load.statuses)}; all of it {took_s:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return done


def _round_of(
    case: Case,
    loss: Loss,
    served_s: float,
    recoveries: list[Recovered],
    found: Found,
    *,
    bookings: int,
) -> Round:
    """Return what a round has measured; it was served again at `served_s`, monotonic."""
    if not recoveries or recoveries[-1].opened_at is None:
        raise BenchError(f"{case.title}: no recovery is written down: {recoveries}")
    noticed = recoveries[0].started_at - loss.back.at
    recovered = recoveries[-1].opened_at - recoveries[0].started_at
    return Round(
        case=case,
        bookings=bookings,
        seconds=served_s - loss.back.at_s,
        noticed_s=noticed / dt.timedelta(seconds=1),
        recovered_s=recovered / dt.timedelta(seconds=1),
        ways=tuple(each.way or "given up" for each in recoveries),
        steps_lost=loss.steps_lost,
        bookings_written=sum(each.bookings for each in recoveries),
        holds_written=sum(each.holds for each in recoveries),
        acknowledged=found.holds,
        missing=found.missing,
        paid=found.bookings,
        bookings_missing=found.bookings_missing,
        differences=found.differences,
    )


def _tell(built: Built) -> None:
    mib = 1024 * 1024
    print(
        f"filled postgres with {built.bookings:,} bookings and {built.holds:,} live holds in "
        f"{built.filled_s:.0f} s; redis was rebuilt from it in {built.rebuilt_s:.1f} s: "
        f"{built.redis_s:.1f} s of its CPU, {built.process_s:.1f} s of CPU and "
        f"{built.process_bytes / mib:.0f} MiB more in this process, the rest in postgres; redis "
        f"has {built.redis_bytes / mib:.0f} MiB. Load: {RESERVATIONS_PER_S:.0f} reservations and "
        f"{PAYMENTS_PER_S:.0f} payments a second",
        file=sys.stderr,
        flush=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench.recovery_times",
        description="Measure how soon the service is back after Redis was lost, and what is lost.",
    )
    parser.add_argument(
        "--bookings",
        type=_counts,
        default="10000,1000000",
        help="bookings in Postgres, comma-separated (%(default)s)",
    )
    parser.add_argument(
        "--holds", type=_count, default=100_000, help="live holds beside them (%(default)s)"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        choices=range(1, _ROUNDS_MAX + 1),
        metavar="N",
        default=3,
        help="how often each case is measured (%(default)s)",
    )
    parser.add_argument(
        "--age-s",
        type=float,
        default=60.0,
        help="how old a copy is when it is put in place, in seconds (%(default)s)",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=list(CASES),
        metavar="CASE",
        default=[],
        help=f"only these cases, each with --only: {', '.join(CASES)}",
    )
    parser.add_argument(
        "--quick", action="store_true", help="2,000 bookings, one round: whether it works"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of the results (%(default)s)"
    )
    return parser.parse_args()


def _count(text: str) -> int:
    """Return a number that is not below zero."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return number


def _counts(text: str) -> list[int]:
    """Return such numbers, separated by commas."""
    return [_count(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
