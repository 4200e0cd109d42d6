"""The rows of the waiting list: how fast candidates join, and how fast returned seats are dealt.

Joins are sent by wrk, and counted in Postgres. For a dealing the entries are written into both
stores; seats then come by an import while the worker is stopped, and the time runs from its
continuation until Postgres has every offer.
"""

import time
from collections.abc import Sequence

import orjson

from loadtest.bench.counters import check_count, steady
from loadtest.bench.errors import BenchError
from loadtest.bench.group_commit import bench_exam
from loadtest.bench.messages import SUBJECT, VENUES
from loadtest.bench.table import Row, Spread, at_least, at_most
from loadtest.bench.testbed import Testbed
from loadtest.bench.throughput import new_exam
from loadtest.bench.waiting import until
from loadtest.bench.wrk import http_request, run_wrk
from quota_service.registration.level_list import level_list

_ENTRIES, _SEATS_EACH = 10_000, 112
_SEATS = len(VENUES) * _SEATS_EACH
_JOINS_PER_S, _DEALT_WITHIN_S = 1_000, 5.0
_DEAL_LIMIT_S = 60.0
_RULES = {
    "returned": {"rule": "list-first"},
    "waiting_list": {"offer_ttl_s": 3600, "length_max": 1_000_000},
}
_FILL = """
WITH list AS (
    UPDATE waiting_lists SET last_number = $2 WHERE exam = $1 RETURNING exam
)
INSERT INTO waiting_list_entries (exam, serial, candidate, number, subjects, sessions, venues,
                                  draw_window, request_hash, key_id, request_id)
SELECT exam, 'entry' || lpad(n::text, 19, 'a'), 'candidate-' || n, n, $3, $4, $5, 1, '', '', ''
FROM   list, generate_series(1, $2) n
"""
_OFFERED = "SELECT count(*) FROM waiting_list_entries WHERE exam = $1 AND offers > 0"
_LED = "SELECT count(*) FROM waiting_lists WHERE exam = $1 AND leader IS NOT NULL"
_JOINED = "SELECT count(*) FROM waiting_list_entries WHERE exam = $1"


async def waiting_list_rows(testbed: Testbed) -> list[Row]:
    """Return the rows of joining and of dealing."""
    joined = [await _joins_per_s(testbed) for _ in range(testbed.plan.rounds)]
    dealt = [await _dealt_s(testbed) for _ in range(testbed.plan.rounds)]
    rounds = {"rounds": testbed.plan.rounds}
    return [
        Row(
            "waiting list, joins a second",
            Spread.of(joined),
            at_least(_JOINS_PER_S),
            {"connections": testbed.plan.connections[-1], **rounds},
            unit="/s",
        ),
        Row(
            f"waiting list, {_SEATS:,} seats dealt to {_ENTRIES:,} entries",
            Spread.of(dealt),
            at_most(_DEALT_WITHIN_S),
            {"seats": _SEATS, "entries": _ENTRIES, **rounds},
            unit="s",
        ),
    ]


async def _joins_per_s(testbed: Testbed) -> float:
    """Return how many candidates join in a second, all of whom Postgres has."""
    exam = await new_exam(testbed, seats=0, **_RULES)
    plan, connections = testbed.plan, testbed.plan.connections[-1]
    done = await run_wrk(
        testbed.api.url, _joins(testbed, exam), connections=connections, seconds=plan.seconds
    )
    if done.refused:
        raise BenchError(f"{done.refused} of {done.requests} joins were refused")
    made = await steady(lambda: _count(testbed, _JOINED, exam))
    check_count("joins", done.requests, made, connections)
    return done.requests / done.duration_s


def _joins(testbed: Testbed, exam: str) -> Sequence[bytes]:
    run = testbed.new_name("run")
    body = {"candidate": f"{run}-{{n}}", "subjects": [SUBJECT], "venues": VENUES[:3]}
    headers = {
        "Authorization": f"Bearer {testbed.frontend_key}",
        "Idempotency-Key": f"key-{run}-{{n}}",
    }
    path = f"/v1/exams/{exam}/waiting-list"
    return [http_request("POST", path, orjson.dumps(body), headers)]


async def _dealt_s(testbed: Testbed) -> float:
    """Return how long the worker takes to offer the seats to the first entries."""
    exam = await new_exam(testbed, seats=0, **_RULES)
    stores = testbed.service.stores.maintenance
    shard = stores.registry.shard(exam)

    async def is_led() -> bool:
        return await _count(testbed, _LED, exam) == 1

    await until(is_led, "the worker to lead the dealing")
    with testbed.worker_stopped():
        async with stores.ledger.connection() as connection:
            await connection.execute(_FILL, exam, _ENTRIES, [SUBJECT], ["s1"], list(VENUES))
        await level_list(stores.lists, stores.list_ledger, shard, stores.registry.find(exam))
        await testbed.add_exam(bench_exam(_SEATS_EACH, exam, **_RULES))
        waiting = sum((await stores.returned.read(shard)).values())
        if waiting != _SEATS:
            raise BenchError(f"{waiting} seats wait to be dealt, not {_SEATS}")
    began_s = time.monotonic()

    async def are_offered() -> bool:
        return await _count(testbed, _OFFERED, exam) == _SEATS

    await until(are_offered, "the seats to be dealt", within_s=_DEAL_LIMIT_S)
    return time.monotonic() - began_s


async def _count(testbed: Testbed, query: str, exam: str) -> int:
    async with testbed.service.stores.ledger.connection() as connection:
        count: int = await connection.fetchval(query, exam)
    return count
