"""Servers that cannot serve us are refused where the service starts."""

import asyncio
import dataclasses
from pathlib import Path

import pytest
import redis.asyncio

from quota_service.app.opening import open_service
from quota_service.app.running import refuse_unfit_stores, run_service
from quota_service.embedded import EmbeddedRedis
from quota_service.settings import Settings, SettingsError
from tests.support.scripted_redis import scripted_redis, told


@pytest.mark.parametrize("takes_lossy_redis", [False, True])
async def test_a_redis_that_is_too_old_ends_the_start_and_says_which_is_wanted(
    settings: Settings, takes_lossy_redis: bool
) -> None:
    async with scripted_redis(told(redis_version="6.2.14")) as url:
        old = dataclasses.replace(settings, redis_url=url)
        async with open_service(old) as service:
            with pytest.raises(SettingsError, match=r"QUOTA_REDIS_URL.* 6\.2\.14.* 7\.0 or newer"):
                await run_service(
                    service,
                    asyncio.Event(),
                    api=False,
                    workers=True,
                    takes_lossy_redis=takes_lossy_redis,
                )


async def test_a_redis_without_aof_is_for_the_demo_alone(
    settings: Settings, tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        async with redis.asyncio.Redis.from_url(server.url) as client:
            await client.config_set("appendonly", "no")
        lossy = dataclasses.replace(settings, redis_url=server.url)
        async with open_service(lossy) as service:
            with pytest.raises(SettingsError, match="appendonly is 'no'"):
                await refuse_unfit_stores(service.stores)
            await refuse_unfit_stores(service.stores, takes_lossy_redis=True)
