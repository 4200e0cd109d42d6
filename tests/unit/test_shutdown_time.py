"""The time of a shutdown, which its parts share."""

import asyncio

import pytest

from quota_service.app.shutdown import DrainTime, ShutdownLimits, shutdown_max_s
from quota_service.settings import Settings

SETTINGS = Settings(shutdown_notice_s=3.0, shutdown_drain_s=10.0)


async def test_the_parts_of_a_shutdown_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now_s)
    time_left = DrainTime(SETTINGS)
    now_s = 200.0  # it begins when it is first asked for

    left_s = []
    for _ in range(4):
        left_s.append(time_left.left_s())
        now_s += 4.0

    assert left_s == [10.0, 6.0, 2.0, 0.0]


def test_a_shutdown_takes_its_notice_its_drain_and_the_closing_once() -> None:
    assert shutdown_max_s(SETTINGS) == 23.0
    assert shutdown_max_s(SETTINGS.with_limits(ShutdownLimits(closing_s=1.0))) == 14.0
