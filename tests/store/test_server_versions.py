"""Servers that cannot serve us are refused where the service starts."""

import asyncio
import dataclasses
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest
import redis.asyncio

from quota_service.app.opening import open_service
from quota_service.app.running import refuse_unfit_stores, run_service
from quota_service.embedded import EmbeddedRedis
from quota_service.seats.fitness import server_warnings
from quota_service.settings import Settings, SettingsError
from tests.support.scripted_redis import scripted_redis, told
from tests.support.seats import runner_of
from tests.support.servers import redis_programs


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


async def test_primaries_of_different_versions_are_warned_of(
    redis_settings: Settings, tmp_path: Path
) -> None:
    programs = [program.values[0] for program in redis_programs()]
    with ExitStack() as stack:
        servers = [
            stack.enter_context(EmbeddedRedis(tmp_path / f"{number}", binary=program))
            for number, program in enumerate([programs[0], *programs])
        ]
        async with AsyncExitStack() as opened:
            runners = [
                await opened.enter_async_context(
                    runner_of(dataclasses.replace(redis_settings, redis_url=server.url))
                )
                for server in servers
            ]
            for runner in runners:
                await runner.check()
            runners[0].each = lambda: runners  # type: ignore[method-assign]
            warned = await server_warnings(runners[0])
    assert len(warned) == len(programs) - 1
    assert all("different versions" in text for text in warned)
