"""HAProxy before two API processes, clients of it, and what they do and are told."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp

from quota_service.embedded.ports import LOOPBACK
from quota_service.settings import Settings
from tests.faults.processes import ServiceProcess
from tests.support.client import ApiClient, Reply
from tests.support.haproxy import HAProxy
from tests.support.patience import LIMIT_S
from tests.support.waiting import eventually

numbers = itertools.count()
"""Of candidates: the processes are those of all tests, so that none comes twice."""


@dataclass(frozen=True, slots=True)
class Apis:
    """Two API processes on the same stores, two keys of frontends and one of ops."""

    settings: Settings
    processes: tuple[ServiceProcess, ServiceProcess]
    keys: tuple[str, str]
    ops_key: str


@dataclass(frozen=True, slots=True)
class Site:
    """HAProxy before the API processes, and a client of it."""

    proxy: HAProxy
    processes: tuple[ServiceProcess, ServiceProcess]
    api: ApiClient
    stack: AsyncExitStack

    async def client(self, key: str, *, address: str = LOOPBACK) -> ApiClient:
        """Return a further client, at an address of this machine."""
        return await client_of(self.stack, self.proxy, key, address)


async def client_of(
    stack: AsyncExitStack, proxy: HAProxy, key: str, address: str = LOOPBACK
) -> ApiClient:
    connector = aiohttp.TCPConnector(limit=0, ssl=proxy.tls(), local_addr=(address, 0))
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
    return ApiClient(session, proxy.https, key, "")


async def reserve(api: ApiClient) -> Reply:
    """Reserve for somebody new."""
    return await api.reserve(f"candidate-{next(numbers)}")


async def pay(api: ApiClient, held: Reply, **arguments: Any) -> Reply:
    """Pay for a hold, once however often it is told."""
    return await api.pay(held.json, event=f"event-{held.json['id']}", **arguments)


class Crowd:
    """Candidates who reserve and pay, each as soon as the one before has been answered."""

    def __init__(self, api: ApiClient, size: int) -> None:
        self.booked: list[str] = []
        self.refused: list[Reply] = []
        self._api = api
        self._is_over = False
        self._tasks = [asyncio.create_task(self._run()) for _ in range(size)]

    async def books(self, more: int) -> None:
        """Return when so many more are booked."""
        wanted = len(self.booked) + more

        async def are_booked() -> bool:
            return len(self.booked) >= wanted or any(task.done() for task in self._tasks)

        await eventually(are_booked)

    async def states(self) -> Counter[str]:
        """Send everybody home; return the states of what was answered as paid."""
        self._is_over = True
        await asyncio.gather(*self._tasks)
        found: Counter[str] = Counter()
        unseen = iter(self.booked)

        async def look() -> None:
            for reservation in unseen:
                reply = await self._api.get(f"/v1/reservations/{reservation}")
                found[reply.json["state"]] += 1

        await asyncio.gather(*(look() for _ in self._tasks))
        return found

    async def _run(self) -> None:
        while not self._is_over:
            held = await reserve(self._api)
            if held.status != 201:
                self.refused.append(held)
                continue
            paid = await pay(self._api, held)
            if paid.status == 200:
                self.booked.append(held.json["id"])
            else:
                self.refused.append(paid)


async def until_refused(call: Callable[[], Awaitable[Reply]], served: int) -> Reply:
    """Repeat a call, many at a time, until it is refused for its rate; return that answer."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            replies = await asyncio.gather(*(call() for _ in range(20)))
            assert {reply.status for reply in replies} <= {served, 429}
            for reply in replies:
                if reply.status == 429:
                    return reply


def check_problem(reply: Reply, slug: str, **members: Any) -> None:
    """Check an answer that HAProxy has given in the service's name."""
    assert reply.slug == slug
    assert reply.json["status"] == reply.status
    assert members.items() <= reply.json.items()
    assert reply.headers["X-Request-ID"]
    if reply.status in {429, 503}:
        assert 1 <= int(reply.headers["Retry-After"]) <= 3
