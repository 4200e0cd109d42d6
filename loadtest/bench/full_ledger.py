"""A registration that is nearly over: Postgres filled by SQL, and Redis built from it once.

The rows are those registration leaves: payments, bookings with one or two subjects, live holds, the
latest record of every reservation and a journal entry for each. Redis is then written by a rebuild
of the shard, whose cost is shown on the way.
"""

import dataclasses
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from loadtest.bench.counters import redis_use
from loadtest.bench.errors import BenchError
from loadtest.bench.group_commit import bench_exam
from loadtest.bench.redis_client import redis_client
from quota_service.app.opening import Service, open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.exam import Exam, Quota, Session, Subject
from quota_service.ledger.migrations import migrate
from quota_service.registration.audit import audit
from quota_service.registration.import_exam import import_exam
from quota_service.registration.recover_shard import rebuild_shard
from quota_service.settings import Settings

EXAM = "bench"
_SEATS = 1_000_000

_FILL = """
-- Every `made` reservation has a number; odd ones have two subjects, even ones have one.
CREATE TEMP TABLE made AS
SELECT n,
       substr(translate(md5(n::text), '0123456789abcdef', 'abcdefgh234567yz'), 1, 24) AS serial,
       'candidate-' || n AS candidate,
       'venue-' || (n % 9 + 1) AS venue,
       CASE WHEN n <= {bookings} THEN 'confirmed' ELSE 'held' END AS state,
       CASE n % 2 WHEN 0 THEN 'qms' ELSE 'qms,ems' END AS subjects,
       CASE n % 2 WHEN 0 THEN 's1' ELSE 's1,s2' END AS sessions,
       8000 * (1 + n % 2) AS amount,
       date_trunc('second', now()) - interval '1 hour' + n * interval '3 milliseconds' AS created_at
FROM   generate_series(1, {bookings} + {holds}) AS n;
ALTER TABLE made ADD COLUMN id text, ADD COLUMN record text;
UPDATE made
SET    id = '{exam}.0.' || serial,
       record = concat_ws('|', state, candidate, venue, subjects, sessions, amount, 'CNY',
                          ms(created_at), ms(created_at + interval '1 day'),
                          ms(created_at + interval '1 day'), ms(created_at + interval '1 day'),
                          0, 0, '', 0, '0123456789abcdef', '', venue);

INSERT INTO reservations (id, exam, candidate, state, record, epoch, version, created_at)
SELECT id, '{exam}', candidate, state, record, 1, n, created_at
FROM   made;

INSERT INTO journal (exam, epoch, version, verb, subject, at, body)
SELECT '{exam}', 1, n, CASE state WHEN 'held' THEN 'reserve' ELSE 'confirm' END, serial,
       created_at, record
FROM   made;

INSERT INTO payment_events (event, reservation, status, outcome, amount, currency, paid_at,
                            provider_reference, body_hash)
SELECT 'event-{exam}-' || n, id, 'captured', 'confirmed', amount, 'CNY', now(),
       'reference-{exam}-' || n, md5(id)
FROM   made
WHERE  state = 'confirmed';

INSERT INTO bookings (reservation, exam, candidate, venue, amount, currency, event, reserved_at,
                      request_hash, first_deadline, first_venue, step_epoch, step_version)
SELECT id, '{exam}', candidate, venue, amount, 'CNY', 'event-{exam}-' || n, created_at,
       '0123456789abcdef', created_at + interval '1 day', venue, 1, n
FROM   made
WHERE  state = 'confirmed';

INSERT INTO booking_items (reservation, exam, candidate, session, venue, subject, position)
SELECT id, '{exam}', candidate, session, venue, subject, position - 1
FROM   made
CROSS  JOIN LATERAL unnest(string_to_array(sessions, ','), string_to_array(subjects, ','))
       WITH ORDINALITY AS item (session, subject, position)
WHERE  state = 'confirmed';

UPDATE quotas
SET    confirmed = counted.seats
FROM   (SELECT venue, subject, count(*) AS seats FROM booking_items WHERE exam = '{exam}'
        GROUP BY venue, subject) AS counted
WHERE  quotas.exam = '{exam}'
AND    (quotas.venue, quotas.subject) = (counted.venue, counted.subject);

UPDATE journal_positions
SET    drained_epoch = 1, drained_version = {bookings} + {holds}
WHERE  exam = '{exam}';

DROP TABLE made;
"""
"""Statements that fill an exam's ledger; constraints are checked, references only by `made`."""

_SETTLE = (
    # What autovacuum and the checkpointer do in the hours a registration takes.
    *(
        f"VACUUM ANALYZE {table}"
        for table in ("reservations", "journal", "payment_events", "bookings", "booking_items")
    ),
    "CHECKPOINT",
)


@dataclass(frozen=True, slots=True)
class Built:
    """What was made, and what it took: seconds, and bytes of memory.

    `rebuilt_s` took `redis_s` of Redis's CPU and `process_s` of this process's; the rest is mostly
    Postgres. `process_bytes` is how much more memory the process had at its peak.
    """

    bookings: int
    holds: int
    filled_s: float
    rebuilt_s: float
    redis_s: float
    process_s: float
    process_bytes: int
    redis_bytes: int


async def build(
    settings: Settings,
    *,
    bookings: int,
    holds: int,
    exams: Sequence[str] = (EXAM,),
    redis_urls: Sequence[str] = (),
) -> Built:
    """Fill empty stores, with as many of both in each exam.

    `redis_urls` are the servers of a Cluster. Raises BenchError unless Redis then has what Postgres
    has.
    """
    each = {"bookings": bookings // len(exams), "holds": holds // len(exams)}
    async with open_service(settings) as service:
        await service.stores.runners.check()  # reads the map of a Cluster
        await migrate(service.stores.ledger)
        await refresh_memory(service)
        for exam in exams:
            await import_exam(service.stores.maintenance, _two_session_exam(exam))
        started_s = time.perf_counter()
        await _fill(settings.postgres_dsn, exams, **each)
        filled_s = time.perf_counter() - started_s
        figures = await _rebuild(service, exams, redis_urls or [settings.redis_url], **each)
        for exam in exams:
            audited = await audit(service.stores.maintenance, exam)
            if not audited.is_clean:
                raise BenchError(f"after the rebuild: {', '.join(map(str, audited.differences))}")
    counts = (count * len(exams) for count in each.values())
    return Built(*counts, filled_s, **figures)


def _two_session_exam(exam_id: str) -> Exam:
    """Return the exam of the other benches with a second session and subject."""
    exam = bench_exam(_SEATS, exam_id)
    (first,), (qms,) = exam.sessions, exam.subjects
    second = Session("s2", first.title, first.ends_at_ms, first.ends_at_ms + 7_200_000)
    ems = Subject("ems", qms.title, "s2")
    seats = {
        Quota(venue.id, subject): _SEATS for venue in exam.venues for subject in ("qms", "ems")
    }
    return dataclasses.replace(exam, sessions=(first, second), subjects=(qms, ems), seats=seats)


async def _fill(dsn: str, exams: Sequence[str], **counts: int) -> None:
    ledger = await asyncpg.connect(dsn)
    try:
        await ledger.execute("SET session_replication_role = replica")  # rows refer to one another
        for exam in exams:
            await ledger.execute(_FILL.format(exam=exam, **counts))
        for statement in _SETTLE:
            await ledger.execute(statement)
    finally:
        await ledger.close()


async def _rebuild(
    service: Service, exams: Sequence[str], redis_urls: Sequence[str], *, bookings: int, holds: int
) -> dict[str, Any]:
    """Rebuild the shards, one after the other; return what that took."""
    stores = service.stores
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(redis_client(url)) for url in redis_urls]
        used_before = [await redis_use(redis) for redis in servers]
        before_bytes = _begin_peak_bytes()
        cpu_started_s, rebuilt_s = time.process_time(), 0.0
        for exam in exams:
            done = await rebuild_shard(stores.maintenance, exam, "the ledger was filled")
            if done is None or (done.bookings, done.holds) != (bookings, holds):
                raise BenchError(f"{exam}: {done}, not {bookings} bookings and {holds} holds")
            rebuilt_s += done.seconds
        process_s = time.process_time() - cpu_started_s
        process_bytes = _memory_bytes("VmHWM") - before_bytes
        uses = [
            (await redis_use(redis)).since(before)
            for redis, before in zip(servers, used_before, strict=True)
        ]
        redis_bytes = [int((await redis.info("memory"))["used_memory"]) for redis in servers]
    return {
        "rebuilt_s": rebuilt_s,
        "redis_s": sum(use.cpu_us for use in uses) / 1e6,
        "process_s": process_s,
        "process_bytes": process_bytes,
        "redis_bytes": sum(redis_bytes),
    }


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
