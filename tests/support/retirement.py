"""Exams that are over, and their retirement."""

import dataclasses
from typing import Any

from quota_service.app.opening import Service
from quota_service.domain.exam import Exam, Window
from quota_service.registration.import_exam import import_exam
from quota_service.workers.retention import RetentionWorker
from tests.support.bookings import recover
from tests.support.exams import make_exam
from tests.support.lost_shards import drain

DAY_MS = 86_400_000


def over(exam: Exam, days_ago: int) -> Exam:
    """Return an exam as it would be if it had been over for so many days."""
    back_ms = exam.ends_at_ms - exam.registration.closes_at_ms + (days_ago * DAY_MS) + DAY_MS // 24

    def earlier(window: Window) -> Window:
        return Window(window.opens_at_ms - back_ms, window.closes_at_ms - back_ms)

    sessions = tuple(
        dataclasses.replace(
            each, starts_at_ms=each.starts_at_ms - back_ms, ends_at_ms=each.ends_at_ms - back_ms
        )
        for each in exam.sessions
    )
    return dataclasses.replace(
        exam,
        registration=earlier(exam.registration),
        refund=earlier(exam.refund),
        sessions=sessions,
    )


async def end(service: Service, days_ago: int) -> None:
    """Let the test exam have been over for so many days."""
    await import_exam(service.stores.maintenance, over(make_exam(), days_ago))


async def retain(service: Service, **changes: Any) -> dict[str, int]:
    settings = dataclasses.replace(service.settings, **changes)
    return dict(await RetentionWorker(service.stores.maintenance, settings).run_once())


async def finish(service: Service) -> None:
    await recover(service)
    await drain(service)
