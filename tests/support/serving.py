"""Serves an opened service on free ports, with the end of its life in the test's hands."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from quota_service.app.opening import Service, open_service
from quota_service.app.running import run_service
from quota_service.app.serving import Addresses
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.waiting import eventually

NOTICE_S = 86_399.0
"""The setting `shutdown_notice_s` of a service whose notice ends with `notice_given`."""


@dataclass(frozen=True, slots=True)
class Serving:
    """A service that listens until `stop` is set; `ended` is done when it has shut down."""

    service: Service
    addresses: Addresses
    client: ApiClient
    stop: asyncio.Event
    ended: "asyncio.Task[None]"


@asynccontextmanager
async def serving(
    service: Service, frontend_key: str, ops_key: str, *, workers: bool = False
) -> AsyncIterator[Serving]:
    """Run a service and yield it once it listens."""
    listening: asyncio.Future[Addresses] = asyncio.get_running_loop().create_future()

    async def ready(_: Service, addresses: Addresses) -> None:
        listening.set_result(addresses)

    stop = asyncio.Event()
    ended = asyncio.create_task(run_service(service, stop, api=True, workers=workers, ready=ready))
    await asyncio.wait({ended, listening}, return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        ended.result()
    addresses = listening.result()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        client = ApiClient(session, addresses.api, frontend_key, ops_key)
        yield Serving(service, addresses, client, stop, ended)
    stop.set()
    await ended


@asynccontextmanager
async def hasty(running: Running, **limits: float) -> AsyncIterator[ApiClient]:
    """Serve the exam by another process too, whose limits of time are short; yields its client.

    A test prepares and looks by the one that has patience: only what is to come to an end in time
    depends on those limits.
    """
    settings = dataclasses.replace(running.service.settings, **limits)  # type: ignore[arg-type]
    keys = running.client.frontend_key, running.client.ops_key
    async with open_service(settings) as service, serving(service, *keys) as run:

        async def serves() -> bool:
            ready = await run.client.get("/readyz", key=None)
            exam = await run.client.get("/v1/exams/exam-1", key=None)
            return ready.status == exam.status == 200

        await eventually(serves)
        yield run.client


@contextmanager
def notice_given(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the time between readiness going and the port closing last as long as the block."""
    over, sleep = asyncio.Event(), asyncio.sleep

    async def asleep(delay_s: float, *result: object) -> object:
        if delay_s == NOTICE_S:
            return await over.wait()
        return await sleep(delay_s, *result)

    patch.setattr(asyncio, "sleep", asleep)
    try:
        yield
    finally:
        over.set()
