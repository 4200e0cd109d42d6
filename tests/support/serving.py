"""Serves an opened service on free ports, with the end of its life in the test's hands."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from quota_service.app import Addresses, Service, run_service
from tests.support.client import ApiClient


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
