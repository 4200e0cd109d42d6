"""Servers that cannot serve us are refused where the service starts."""

import asyncio
import dataclasses

import pytest

from quota_service.app.opening import open_service
from quota_service.app.running import run_service
from quota_service.settings import Settings, SettingsError
from tests.support.scripted_redis import scripted_redis, told


async def test_a_redis_that_is_too_old_ends_the_start_and_says_which_is_wanted(
    settings: Settings,
) -> None:
    async with scripted_redis(told(redis_version="6.2.14")) as url:
        old = dataclasses.replace(settings, redis_url=url)
        async with open_service(old) as service:
            with pytest.raises(SettingsError, match=r"QUOTA_REDIS_URL.* 6\.2\.14.* 7\.0 or newer"):
                await run_service(service, asyncio.Event(), api=False, workers=True)
