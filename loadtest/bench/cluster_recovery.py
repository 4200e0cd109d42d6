"""How soon exams are open again after a primary of a Cluster was lost, and what the others notice.

Three primaries with a replica each have many exams whose registration is nearly over, and the
service runs in processes of its own. Under a load of 500 reservations and 50 payments a second,
dealt over all exams, one primary is killed. The time of a recovery is from the moment its replica
is a primary until an order that was sent after that is answered 201; how long the Cluster takes to
promote it is shown beside it. Then every hold that was acknowledged is looked for, every booking
too, and all exams are audited.

    python -m loadtest.bench.cluster_recovery [--bookings N] [--exams N] [--node-timeout-ms N]

It prints a table and writes `loadtest/results/cluster_recovery.json`. The exit status is 1 when a
booking is missing, an audit is not clean, or an exam of another primary was refused anything.
"""

import argparse
import asyncio
import logging
import os
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

import orjson

from loadtest.bench.errors import BenchError
from loadtest.bench.full_ledger import build
from loadtest.bench.latency import percentile
from loadtest.bench.live_load import Asked, LiveLoad
from loadtest.bench.recovery_checks import Found, look, recovered_since
from loadtest.bench.redis_cluster import ClusterNode, RedisCluster, redis_cluster
from loadtest.bench.table import Spread, at_most
from loadtest.bench.testbed import SECRET_BYTES, Plan, Testbed, stage_on, stage_settings
from quota_service.embedded import EmbeddedPostgres

RESULTS = Path(__file__).parents[1] / "results"
_WANTED = at_most(3)
_WARM_UP_S = 3.0
_STEADY_S = 5.0
"""How long the load goes on before the loss, and after every exam is open again."""
_LIMIT_S = 120.0
_PROBE_PAUSE_S = 0.005
_NOT_MEASURED = Plan(0, 0, (), 0, 0, 0)
_INTERRUPTED = 130

Loads = Mapping[str, LiveLoad]
"""The load of each exam, by its id."""


@dataclass(frozen=True, slots=True)
class Served:
    """How exams were served over some time: orders, the p99 in ms, and answers that were no 201."""

    orders: int
    p99_ms: float
    refused: int

    @property
    def text(self) -> str:
        """The figures in a line."""
        return f"{self.orders:,} orders, p99 {self.p99_ms:.0f} ms, {self.refused} not answered 201"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured; `open_s` by exam of the lost primary, from its replica's promotion."""

    bookings: int
    holds: int
    exams: int
    node_timeout_ms: int
    promoted_s: float
    open_s: Mapping[str, float]
    recovered_s: Sequence[float]
    ways: Mapping[str, int]
    others_before: Served
    others_during: Served
    acknowledged: int
    missing: int
    bookings_missing: int
    differences: Sequence[str]
    others_recovered: int

    @property
    def doubts(self) -> list[str]:
        """What may not be."""
        found = [f"audit: {difference}" for difference in self.differences]
        if self.bookings_missing:
            found.append(f"{self.bookings_missing} acknowledged bookings are missing")
        if self.others_during.refused or self.others_recovered:
            found.append(
                f"exams of other primaries: {self.others_during.text}, "
                f"{self.others_recovered} of them recovered"
            )
        return found

    @property
    def text(self) -> str:
        """The figures as lines."""
        opened, last = Spread.of([*self.open_s.values()]), max(self.open_s.values())
        verdict = "reached" if _WANTED.is_reached_by(last) else "MISSED"
        ways = ", ".join(f"{way} ({count})" for way, count in self.ways.items())
        audit = "DIFFERS" if self.differences else "clean"
        return f"""\
{self.bookings:,} bookings and {self.holds:,} holds over {self.exams} exams, one of three \
primaries killed
replica promoted: {self.promoted_s:.2f} s after that, cluster-node-timeout {self.node_timeout_ms} ms
its {len(self.open_s)} exams open again: {opened.text(" s")} after the promotion; all of them \
after {last:.2f} s, wanted {_WANTED.text} {verdict}
of that, recovering: {Spread.of(self.recovered_s).text(" s")}; {ways}
the other exams before: {self.others_before.text}
the other exams meanwhile: {self.others_during.text}
{self.acknowledged:,} holds acknowledged, {self.missing} missing; {self.bookings_missing} bookings \
missing; audit {audit}"""


def main() -> int:
    """Run it once; return 1 when something is in doubt."""
    options = _options()
    # What this process recovers while it builds Redis is no news.
    logging.getLogger("quota_service").setLevel(logging.ERROR)
    # As Ctrl-C does, so that the stores are stopped in order and their data is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="quota-bench-") as folder:
            outcome, logged = asyncio.run(_run(Path(folder), options))
    except KeyboardInterrupt:
        return _INTERRUPTED
    print(f"\n{outcome.text}")
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / "cluster_recovery.json"
    file.write_bytes(orjson.dumps(outcome, option=orjson.OPT_INDENT_2) + b"\n")
    print(f"\nwritten: {file}")
    doubts = outcome.doubts + logged
    for doubt in doubts:
        print(f"cluster_recovery: in doubt: {doubt}", file=sys.stderr)
    return 1 if doubts else 0


async def _run(folder: Path, options: argparse.Namespace) -> tuple[Outcome, list[str]]:
    """Fill the stores and lose a primary; return what came of it, and errors logged."""
    secret = secrets.token_bytes(SECRET_BYTES)
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(folder / "postgres"))
        opened = redis_cluster(
            folder / "cluster",
            has_replicas=True,
            make=partial(ClusterNode, node_timeout_ms=options.node_timeout_ms),
        )
        cluster = await stack.enter_async_context(opened)
        exams = cluster.exams(options.exams)
        settings = stage_settings(cluster.url, postgres.url, secret)
        urls = [node.url for node in cluster.primaries]
        counts = {"bookings": options.bookings, "holds": options.holds}
        built = await build(settings, **counts, exams=exams, redis_urls=urls)
        print(
            f"filled postgres in {built.filled_s:.0f} s, redis in {built.rebuilt_s:.0f} s",
            file=sys.stderr,
            flush=True,
        )
        staged = stage_on(settings, _NOT_MEASURED, folder, secret, redis_url=urls[0])
        testbed = await stack.enter_async_context(staged)
        outcome = await _lose_a_primary(testbed, cluster, exams, options)
        return outcome, testbed.errors_logged()


async def _lose_a_primary(
    testbed: Testbed, cluster: RedisCluster, exams: Sequence[str], options: argparse.Namespace
) -> Outcome:
    """Kill a primary under load, and see how its exams come back and how the others are served."""
    node, replica = cluster.primaries[0], cluster.replicas[0]
    lost = [exam for exam in exams if await cluster.owner(exam) == node.address]
    epochs = {exam: await _epoch(testbed, exam) for exam in exams}
    async with AsyncExitStack() as stack:
        loads = {
            exam: await stack.enter_async_context(_load(testbed, exam, 1 / len(exams)))
            for exam in exams
        }
        await _served_since(loads, time.monotonic())
        await asyncio.sleep(_WARM_UP_S)
        began_s = time.monotonic()
        await asyncio.sleep(_STEADY_S)
        killed_s = time.monotonic()
        _kill(node)
        await _promoted(replica)
        promoted_s = time.monotonic()
        served_s = await _served_since({exam: loads[exam] for exam in lost}, promoted_s)
        back_s = max(served_s.values())
        await asyncio.sleep(_STEADY_S)
    await cluster.settled()
    await testbed.service.stores.runners.check()  # reads the map anew
    others = [asked for exam in exams if exam not in lost for asked in loads[exam].asked]
    found = [await _look(testbed, exam, loads[exam]) for exam in exams]
    recoveries = {exam: await recovered_since(testbed, exam, epochs[exam]) for exam in exams}
    return Outcome(
        bookings=options.bookings,
        holds=options.holds,
        exams=len(exams),
        node_timeout_ms=options.node_timeout_ms,
        promoted_s=promoted_s - killed_s,
        open_s={exam: at_s - promoted_s for exam, at_s in served_s.items()},
        recovered_s=[
            (each.opened_at - each.started_at).total_seconds()
            for exam in lost
            for each in recoveries[exam]
            if each.opened_at is not None
        ],
        ways=Counter(each.way or "given up" for exam in lost for each in recoveries[exam]),
        others_before=_served(others, began_s, killed_s),
        others_during=_served(others, killed_s, back_s),
        acknowledged=sum(each.holds for each in found),
        missing=sum(each.missing for each in found),
        bookings_missing=sum(each.bookings_missing for each in found),
        differences=[difference for each in found for difference in each.differences],
        others_recovered=sum(bool(recoveries[exam]) for exam in exams if exam not in lost),
    )


def _load(testbed: Testbed, exam: str, share: float) -> LiveLoad:
    run = testbed.new_name("live")
    key, secret = testbed.frontend_key, testbed.payment_secret
    return LiveLoad(testbed.api.url, exam, key, secret, run, share=share)


async def _epoch(testbed: Testbed, exam: str) -> int:
    """Return the epoch of an exam's last recovery."""
    return max((each.epoch for each in await recovered_since(testbed, exam, 0)), default=0)


async def _served_since(loads: Loads, moment_s: float) -> dict[str, float]:
    """Return when an order of each exam that was sent after a time was first answered 201."""
    firsts = (load.first_since(moment_s, within_s=_LIMIT_S) for load in loads.values())
    return dict(zip(loads, await asyncio.gather(*firsts), strict=True))


def _kill(node: ClusterNode) -> None:
    if node.pid is None:
        raise BenchError("the primary does not run")
    os.kill(node.pid, signal.SIGKILL)


async def _promoted(replica: ClusterNode) -> None:
    """Return when a replica is a primary."""
    async with asyncio.timeout(_LIMIT_S):
        while (await replica.command("ROLE"))[0] != "master":  # noqa: ASYNC110  another process
            await asyncio.sleep(_PROBE_PAUSE_S)


async def _look(testbed: Testbed, exam: str, load: LiveLoad) -> Found:
    reservations = [each.reservation for each in load.acknowledged]
    return await look(testbed, exam, reservations, load.paid)


def _served(asked: Sequence[Asked], since_s: float, until_s: float) -> Served:
    """Return how the orders that were sent between two times were answered."""
    some = [each for each in asked if since_s <= each.sent_s < until_s]
    if not some:
        raise BenchError("no order was sent meanwhile")
    taken_ms = [(each.answered_s - each.sent_s) * 1e3 for each in some]
    refused = sum(each.status != HTTPStatus.CREATED for each in some)
    return Served(len(some), percentile(taken_ms, 99), refused)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.bench.cluster_recovery",
        description="Lose a primary of a Cluster under load, and see how its exams come back.",
    )
    for name, default, text in (
        ("bookings", 100_000, "bookings in Postgres, over all exams"),
        ("holds", 10_000, "live holds beside them"),
        ("exams", 30, "exams, dealt over the three primaries"),
        ("node-timeout-ms", 1_500, "cluster-node-timeout"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{text} (%(default)s)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of the results (%(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
