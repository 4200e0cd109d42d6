"""A worker is killed with SIGKILL at each marked line of a seat release; another finishes it.

The seats come once, in both stores.
"""

import time

import pytest

from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import Quota
from quota_service.workers.seat_releases import SeatReleaseWorker
from tests.conftest import Running
from tests.faults.test_killed_between_lines import dying_api
from tests.support.bookings import check_agreement
from tests.support.exams import exam_definition
from tests.support.lost_shards import rows

PATH = "/v1/exams/exam-1/seat-releases"


@pytest.mark.parametrize(
    "line", ["release: before commit", "release: after commit", "release: after redis"]
)
async def test_a_release_whose_worker_was_killed_is_finished_by_another(
    running: Running, line: str
) -> None:
    service, client = running.service, running.client
    await client.import_exam(exam_definition(seats={"jinan": {"general": 3}}))
    await service.stores.clock.read()

    body = {
        "id": "evening",
        "at": rfc3339(round((time.time() + 600) * 1000)),
        "announce": "time",
        "seats": {"jinan": {"general": 2}},
        "reason": "a hall more",
    }
    planned = await client.call("POST", PATH, key=client.ops_key, json=body)
    async with dying_api(service.settings, client, line, workers=True):
        await rows(service, "UPDATE seat_releases SET at = now() RETURNING id")
    left = await rows(service, "SELECT state, applied_at IS NULL FROM seat_releases")
    await SeatReleaseWorker(service.stores).run_once()

    assert planned.status == 201
    assert left == [("planned" if line == "release: before commit" else "done", True)]
    assert await rows(service, "SELECT state, applied_at IS NULL FROM seat_releases") == [
        ("done", False)
    ]
    assert await rows(service, "SELECT capacity, released FROM quotas WHERE capacity > 0") == [
        (5, 2)
    ]
    snapshot = await service.stores.seats.snapshot(service.stores.registry.shard("exam-1"))
    assert snapshot.remaining[Quota("jinan", "general")] == 5
    await check_agreement(service, booked=0)
