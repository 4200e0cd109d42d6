"""Processes that are told to end while something in them does not: each ends within its limit."""

import asyncio
import dataclasses
import signal
import sys
from asyncio.subprocess import PIPE

import aiohttp
import pytest

from quota_service.app.opening import Service
from quota_service.app.shutdown import ShutdownLimits
from quota_service.embedded import EmbeddedPostgres
from quota_service.embedded.parent_death import die_with_parent
from quota_service.ledger.api_keys import Scope
from quota_service.settings import Settings
from tests.support.client import ApiClient
from tests.support.event_streams import opened
from tests.support.patience import LIMIT_S, START_LIMIT_S
from tests.support.raw_http import connect
from tests.support.servers import paused
from tests.support.service_cli import environment
from tests.support.supervised import ROOT, supervised

HALF_SENT = b"POST /v1/payment-callbacks HTTP/1.1\r\nHost: quota\r\nContent-Length: 9\r\n\r\n{"

NEVER_ENDS = """
import asyncio
from quota_service.app.running import run
from tests.support import service_cli

async def refuse_to_end():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def ready(_service, _addresses):
    tasks.append(asyncio.create_task(refuse_to_end()))
    print("ready", flush=True)

tasks = []
asyncio.run(run(service_cli.read_settings_of_test(), api=True, workers=False, ready=ready))
"""


@pytest.mark.parametrize("drain_s", [0.0, 0.5])
async def test_what_never_ends_is_cut_off_at_one_deadline(
    settings: Settings,
    service: Service,
    postgres_server: EmbeddedPostgres,
    drain_s: float,
) -> None:
    frontend = await service.key_ledger.create("frontend", frozenset({Scope.FRONTEND}))
    hasty = dataclasses.replace(settings, shutdown_drain_s=drain_s)
    async with supervised(hasty) as run, aiohttp.ClientSession() as session:
        api = ApiClient(session, run.api, frontend, "")
        held = (await api.reserve()).json
        _, half_sent = await connect(run.api)
        half_sent.write(HALF_SENT)
        async with opened(api) as stream:
            await stream.next()
            with paused(postgres_server):
                paying = asyncio.create_task(api.pay(held))
                await asyncio.wait({paying}, timeout=0.2)
                status = await run.end()
        half_sent.close()
        with pytest.raises(aiohttp.ClientConnectionError):
            await paying

    assert status == 0, run.tail  # the limit of the whole would have made it 1
    assert run.said("stopped")


@pytest.mark.settings(ShutdownLimits(closing_s=0.5), shutdown_drain_s=0)
async def test_a_process_that_cannot_end_tells_where_it_stands_and_ends(
    service: Service,
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        NEVER_ENDS,
        cwd=ROOT,
        env=environment(service.settings),
        stdout=PIPE,
        stderr=PIPE,
        preexec_fn=die_with_parent(signal.SIGKILL),
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_LIMIT_S):
            assert await process.stdout.readline() == b"ready\n"
        process.terminate()
        async with asyncio.timeout(LIMIT_S):
            _, told = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert process.returncode == 1
    assert b"most recent call first" in told
