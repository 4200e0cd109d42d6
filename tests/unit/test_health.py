"""What readiness warns of, and what is logged of it."""

import asyncio
from collections.abc import Mapping

import pytest

from quota_service.observability.health import Health
from quota_service.observability.metrics import Metrics


async def test_rounds_at_the_same_time_tell_of_a_warning_once_and_of_its_end_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found: dict[str, str] = {"exam:exam-1": "cannot be loaded"}

    async def look() -> Mapping[str, str]:
        await asyncio.sleep(0)
        return dict(found)

    async def read_clock() -> None:
        pass

    health = Health({}, [look], read_clock, Metrics())
    caplog.set_level("INFO")

    await asyncio.gather(*(health.refresh() for _ in range(3)))
    found.clear()
    await asyncio.gather(*(health.refresh() for _ in range(3)))

    told = [record.getMessage() for record in caplog.records]
    assert told == ["readiness warning", "readiness warning ended"]
