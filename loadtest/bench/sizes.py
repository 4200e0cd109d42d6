"""The row of size: what the largest legal exam costs those who reserve in another one.

The largest exam is in the same Redis, imported and drained, and is read by one
client again and again, while the workers compare and audit it as they do every exam.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from loadtest.bench.errors import BenchError
from loadtest.bench.group_commit import bench_exam
from loadtest.bench.latency import Latencies, asking, check_orders, figures_of, maximum_rate
from loadtest.bench.messages import order_requests
from loadtest.bench.order_counts import OrderCounts
from loadtest.bench.table import Row, at_most, row_of_rounds
from loadtest.bench.testbed import Testbed
from loadtest.bench.throughput import new_exam
from loadtest.bench.waiting import until
from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import exam_document
from quota_service.domain.exam import MAX_SUBJECTS, MAX_VENUES, Exam
from quota_service.registration.import_exam import import_exam

_SHARE_OF_MAXIMUM = 0.25
_LOOK_EVERY_S = 1.0
_TOLD_S, _DRAINED_S = 60.0, 300.0
_TEXT = {"zh": "基准", "en": "bench"}


async def sizes_rows(testbed: Testbed) -> list[Row]:
    """Return the row of p99 beside the largest legal exam, against alone."""
    exam = await new_exam(testbed)
    rate = await maximum_rate(testbed, exam) * _SHARE_OF_MAXIMUM
    alone = [await _reserve(testbed, exam, rate) for _ in range(testbed.plan.rounds + 1)][1:]
    large = largest_exam(testbed.new_name("large"))
    await import_exam(testbed.service.stores.maintenance, large)
    await until(lambda: _is_told(testbed, large.id), "the large exam in the API", within_s=_TOLD_S)
    await until(lambda: _is_drained(testbed, large.id), "its journal", within_s=_DRAINED_S)
    async with _looked_at(testbed, large.id) as looks:
        beside = [await _reserve(testbed, exam, rate) for _ in range(testbed.plan.rounds + 1)][1:]
    figures = {
        "beside": figures_of(beside),
        "alone": figures_of(alone),
        "quotas": len(large.seats),
        "looks": len(looks),
        "rate_per_s": rate,
    }
    upper, lower = ([each.p99_ms for each in rounds] for rounds in (beside, alone))
    name = f"p99 of reserve beside an exam of {len(large.seats):,} quotas ÷ alone"
    return [row_of_rounds(name, at_most(1.5), upper, lower, figures)]


def largest_exam(exam: str) -> Exam:
    """Return an exam with as many venues and subjects as an exam may have."""
    subjects = [f"subject-{n:03}" for n in range(MAX_SUBJECTS)]
    venues = [f"venue-{n:03}" for n in range(MAX_VENUES)]
    parts = {
        "subjects": [{"id": subject, "title": _TEXT, "session": "s1"} for subject in subjects],
        "venues": [{"id": venue, "title": _TEXT} for venue in venues],
        "seats": {venue: dict.fromkeys(subjects, 5) for venue in venues},
    }
    return parse_exam({**exam_document(bench_exam(1, exam)), **parts})


async def _reserve(testbed: Testbed, exam: str, rate: float) -> Latencies:
    orders = order_requests(
        f"/v1/exams/{exam}/reservations", testbed.frontend_key, testbed.new_name("run")
    )
    counts = await OrderCounts.now(testbed, testbed.api, exam)
    async with asking(testbed.api.url, orders, rate, testbed.plan.seconds) as client:
        samples = await client.end()
    await check_orders(counts, samples)
    return Latencies.of(samples)


async def _is_told(testbed: Testbed, exam: str) -> bool:
    async with testbed.http.get(_availability(testbed, exam)) as answer:
        await answer.read()
        return bool(answer.status == HTTPStatus.OK)


async def _is_drained(testbed: Testbed, exam: str) -> bool:
    shard = testbed.service.stores.registry.shard(exam)
    return (await testbed.service.stores.seats.totals(shard)).journal_entries == 0


def _availability(testbed: Testbed, exam: str) -> str:
    return f"{testbed.api.url}/v1/exams/{exam}/availability"


@asynccontextmanager
async def _looked_at(testbed: Testbed, exam: str) -> AsyncIterator[list[int]]:
    """Look at an exam again and again, by the ETag; lends the statuses as they come."""
    statuses: list[int] = []

    async def look() -> None:
        etag = ""
        while True:
            headers = {"If-None-Match": etag} if etag else {}
            url = _availability(testbed, exam)
            async with testbed.http.get(url, headers=headers) as answer:
                await answer.read()
                etag = answer.headers.get("ETag", etag)
                statuses.append(answer.status)
            await asyncio.sleep(_LOOK_EVERY_S)

    looking = asyncio.create_task(look())
    try:
        yield statuses
    finally:
        looking.cancel()
        await asyncio.wait({looking})
    if not {HTTPStatus.OK, HTTPStatus.NOT_MODIFIED} & set(statuses):
        raise BenchError(f"the large exam was never answered: {statuses}")
