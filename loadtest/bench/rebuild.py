"""How long a lost shard takes to come back: Redis emptied, then rebuilt from a full Postgres.

Postgres is filled by SQL with what registration leaves there: payments, bookings with one or two
subjects, the latest record of every reservation, live holds and what ended lately. Then Redis is
emptied and the rebuild worker does one round. It counts how long that took, how much the memory of
this process grew at its peak, and whether every counter is what Postgres says.

    python -m loadtest.bench.rebuild [--bookings N] [--holds N] [--ended N] [--profile FILE]
"""

import argparse
import asyncio
import cProfile
import dataclasses
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from loadtest.bench.group_commit import bench_exam
from quota_service.app import Service, open_service, refresh_memory
from quota_service.domain.exam import Exam, Quota, Session, Subject
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.ledger.migrations import migrate
from quota_service.registration.import_exam import import_exam
from quota_service.settings import Settings
from quota_service.workers.rebuild import RebuildWorker

MIB = 1024 * 1024
_SEATS = 1_000_000

FILL = """
-- Every `made` reservation has a number; odd ones have two subjects, even ones have one.
CREATE TEMP TABLE made AS
SELECT n,
       'bench.0.' || substr(translate(md5(n::text), '0123456789abcdef', 'abcdefgh234567yz'), 1, 24)
           AS id,
       'candidate-' || n AS candidate,
       'venue-' || (n % 9 + 1) AS venue,
       CASE WHEN n <= {bookings} THEN 'confirmed'
            WHEN n <= {bookings} + {holds} THEN 'held'
            WHEN n % 2 = 0 THEN 'released'
            ELSE 'expired' END AS state,
       CASE n % 2 WHEN 0 THEN 'qms' ELSE 'qms,ems' END AS subjects,
       CASE n % 2 WHEN 0 THEN 's1' ELSE 's1,s2' END AS sessions,
       8000 * (1 + n % 2) AS amount,
       date_trunc('second', now()) - interval '1 hour' + n * interval '3 milliseconds' AS created_at
FROM   generate_series(1, {bookings} + {holds} + {ended}) AS n;

INSERT INTO reservations (id, exam, shard, candidate, state, record, epoch, version, created_at)
SELECT id, 'bench', 0, candidate, state,
       concat_ws('|', state, candidate, venue, subjects, sessions, amount, 'CNY', ms(created_at),
                 ms(created_at + interval '1 day'), ms(created_at + interval '1 day'),
                 ms(created_at + interval '1 day'), 0, 0, '', 0, '0123456789abcdef', '', venue),
       1, n, created_at
FROM   made;

INSERT INTO payment_events (event, reservation, status, outcome, amount, currency, paid_at,
                            provider_reference, body_hash)
SELECT 'event-' || n, id, 'captured', 'confirmed', amount, 'CNY', now(), 'reference', md5(id)
FROM   made
WHERE  state = 'confirmed';

INSERT INTO bookings (reservation, exam, candidate, venue, amount, currency, event, reserved_at,
                      request_hash, first_deadline)
SELECT id, 'bench', candidate, venue, amount, 'CNY', 'event-' || n, created_at, '0123456789abcdef',
       created_at + interval '1 day'
FROM   made
WHERE  state = 'confirmed';

INSERT INTO booking_items (reservation, exam, candidate, session, venue, subject, position)
SELECT id, 'bench', candidate, session, venue, subject, position - 1
FROM   made
CROSS  JOIN LATERAL unnest(string_to_array(sessions, ','), string_to_array(subjects, ','))
       WITH ORDINALITY AS item (session, subject, position)
WHERE  state = 'confirmed';

UPDATE quotas
SET    confirmed = counted.seats
FROM   (SELECT venue, subject, count(*) AS seats FROM booking_items GROUP BY venue, subject)
       AS counted
WHERE  quotas.exam = 'bench'
AND    (quotas.venue, quotas.subject) = (counted.venue, counted.subject);
"""
"""Statements that fill an exam's ledger; constraints are checked, references only by `made`."""

SEATS_OF_HOLDS = """
SELECT venue, subject, count(*) AS seats
FROM   made
CROSS  JOIN LATERAL unnest(string_to_array(subjects, ',')) AS subject
WHERE  state = 'held'
GROUP  BY venue, subject
"""


def two_session_exam() -> Exam:
    """Return the exam of the other benches with a second session and subject."""
    exam = bench_exam(_SEATS)
    (first,), (qms,) = exam.sessions, exam.subjects
    second = Session("s2", first.title, first.ends_at_ms, first.ends_at_ms + 7_200_000)
    ems = Subject("ems", qms.title, "s2")
    seats = {
        Quota(venue.id, subject): _SEATS for venue in exam.venues for subject in ("qms", "ems")
    }
    return dataclasses.replace(exam, sessions=(first, second), subjects=(qms, ems), seats=seats)


async def fill(ledger: "asyncpg.Connection[asyncpg.Record]", **counts: int) -> dict[Quota, int]:
    """Fill the ledger; return the seats of its holds."""
    await ledger.execute("SET session_replication_role = replica")  # the rows refer to one another
    await ledger.execute(FILL.format(**counts))
    # VACUUM ANALYZE is what autovacuum does in the hours a registration takes.
    for table in ("reservations", "bookings", "booking_items"):
        await ledger.execute(f"VACUUM ANALYZE {table}")
    return {
        Quota(row["venue"], row["subject"]): row["seats"]
        for row in await ledger.fetch(SEATS_OF_HOLDS)
    }


async def check(service: Service, held: dict[Quota, int], counts: dict[str, int]) -> None:
    """Raise AssertionError unless Redis has exactly what Postgres has."""
    shard = service.stores.registry.shard("bench", 0)
    snapshot = await service.stores.seats.snapshot(shard)
    rows = await service.stores.ledger.fetch("select_quotas", "bench")
    for row in rows:
        quota = Quota(row["venue"], row["subject"])
        taken = (snapshot.confirmed[quota], snapshot.held[quota], snapshot.confirming[quota])
        wanted = (row["confirmed"], held.get(quota, 0), 0)
        if taken != wanted or snapshot.remaining[quota] != row["capacity"] - sum(wanted):
            raise AssertionError(f"{quota}: redis has {taken}, postgres {wanted}")
    if snapshot.live_holds != counts["holds"]:
        raise AssertionError(f"{snapshot.live_holds} holds can expire, not {counts['holds']}")
    records = sum([1 async for _ in service.runner.client.scan_iter(shard.record_key("*"), 10_000)])
    if records != sum(counts.values()):
        raise AssertionError(f"{records} records, not {sum(counts.values())}")


@contextmanager
def profiled(file: str | None) -> Iterator[None]:
    """Profile a block into a file that `python -m pstats` reads, if there is to be one."""
    if file is None:
        yield
        return
    profile = cProfile.Profile()
    with profile:
        yield
    profile.dump_stats(file)


def _memory_bytes(name: str) -> int:
    """Return a figure of this process, `VmRSS` now or `VmHWM` at its peak."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _begin_peak_bytes() -> int:
    """Let the peak begin anew, and return the memory of this process now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _memory_bytes("VmRSS")


async def bench(settings: Settings, counts: dict[str, int], profile: str | None) -> None:
    """Fill the stores, empty Redis, rebuild, and print what that took."""
    async with open_service(settings) as service:
        await migrate(service.stores.ledger)
        await refresh_memory(service)
        await import_exam(service.stores, two_session_exam())
        ledger = await asyncpg.connect(settings.postgres_dsn)
        started = time.perf_counter()
        held = await fill(ledger, **counts)
        await ledger.close()
        print(f"filled postgres in {time.perf_counter() - started:.0f} s: {counts}", flush=True)
        await service.runner.client.flushall()
        await service.runner.client.config_resetstat()
        before_bytes = _begin_peak_bytes()
        started, cpu_started = time.perf_counter(), time.process_time()
        with profiled(profile):
            done = await RebuildWorker(service.stores, settings).run_once()
        elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
        growth_bytes = _memory_bytes("VmHWM") - before_bytes
        used = await service.runner.client.info("memory")
        scripts = (await service.runner.client.info("commandstats"))["cmdstat_evalsha"]
        if done["rebuilt"] != 1:
            raise AssertionError(done)
        await check(service, held, counts)
    scripts_s = scripts["usec"] / 1e6
    print(f"rebuilt in            {elapsed_s:8.1f} s")
    print(f"  in scripts of redis {scripts_s:8.1f} s, {scripts['calls']} calls")
    print(f"  in this process     {cpu_s:8.1f} s of CPU")
    print(f"  mostly in postgres  {elapsed_s - scripts_s - cpu_s:8.1f} s, the rest")
    print(f"memory of the process {growth_bytes / MIB:8.1f} MiB more at its peak")
    print(f"memory of redis       {used['used_memory'] / MIB:8.1f} MiB")
    print("every counter is as in postgres")


def main() -> None:
    """Start the stores, run the bench, stop the stores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bookings", type=int, default=1_000_000)
    parser.add_argument("--holds", type=int, default=100_000)
    parser.add_argument("--ended", type=int, default=0)
    parser.add_argument("--profile", help="write a cProfile of the rebuild to this file")
    options = parser.parse_args()
    counts = {name: getattr(options, name) for name in ("bookings", "holds", "ended")}
    with tempfile.TemporaryDirectory() as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        try:
            with postgres, EmbeddedRedis(Path(folder) / "redis") as redis:
                settings = Settings(redis_url=redis.url, postgres_dsn=postgres.url)
                asyncio.run(bench(settings, counts, options.profile))
        finally:
            postgres.remove_data()


if __name__ == "__main__":
    main()
