"""Connections have an end and a bound: nobody keeps others out by keeping them open."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import pytest

from quota_service.settings import Settings
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.patience import LIMIT_S
from tests.support.raw_http import Connection, connect
from tests.support.supervised import supervised
from tests.support.waiting import eventually

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: quota\r\n\r\n"
HALF = b"GET /livez HTTP/1.1\r\nHost: quota\r\nX-A: "


@asynccontextmanager
async def opened(
    url: str, count: int, address: str = "127.0.0.1"
) -> AsyncIterator[list[Connection]]:
    """Open connections from an address of this machine, and close them with the block."""
    connections = [await connect(url, local_addr=(address, 0)) for _ in range(count)]
    try:
        yield connections
    finally:
        for _, writer in connections:
            writer.close()


async def is_served(connection: Connection) -> bool:
    """Ask for something and return whether it is answered; False when the connection ends."""
    reader, writer = connection
    try:
        writer.write(LIVEZ)
        async with asyncio.timeout(LIMIT_S):
            return b'{"status":"ok"}' in await reader.readuntil(b"}")
    except (asyncio.IncompleteReadError, ConnectionError):
        return False


async def ended(connection: Connection) -> bytes:
    """Return what comes until the server closes the connection."""
    async with asyncio.timeout(LIMIT_S):
        try:
            return await connection[0].read()
        except ConnectionError:
            return b""


def open_connections(running: Running) -> float:
    return running.service.metrics.registry.get_sample_value("quota_connections") or 0.0


@pytest.mark.settings(head_timeout_s=0.3)
@pytest.mark.parametrize("sent", [b"", HALF], ids=["nothing", "half-a-head"])
async def test_a_connection_without_a_whole_head_is_closed(running: Running, sent: bytes) -> None:
    async with opened(running.client.url, 1) as (connection,):
        connection[1].write(sent)

        assert await ended(connection) == b""


@pytest.mark.settings(head_timeout_s=0.3)
async def test_a_head_that_trickles_in_does_not_keep_its_connection(running: Running) -> None:
    async with opened(running.client.url, 1) as (connection,):
        connection[1].write(HALF)
        closing = asyncio.create_task(ended(connection))
        while not closing.done():
            connection[1].write(b"a\r\nX-B: ")
            await asyncio.wait((closing,), timeout=0.05)

        assert closing.result() == b""


@pytest.mark.settings(head_timeout_s=0.3)
async def test_a_connection_that_has_sent_a_request_is_kept_for_the_next(running: Running) -> None:
    async with AsyncExitStack() as stack:
        (connection,) = await stack.enter_async_context(opened(running.client.url, 1))
        while not await is_served(connection):  # this machine was too slow to ask in time
            (connection,) = await stack.enter_async_context(opened(running.client.url, 1))
        silence = asyncio.create_task(ended(connection))
        await asyncio.wait((silence,), timeout=0.8)
        is_kept = not silence.done()
        silence.cancel()
        await asyncio.wait((silence,))
        second = await is_served(connection)

    assert (is_kept, second) == (True, True)


@pytest.mark.settings(idle_timeout_s=0.3)
async def test_an_idle_connection_is_closed(running: Running) -> None:
    async with opened(running.client.url, 1) as (connection,):
        assert await is_served(connection)

        assert await ended(connection) == b""
    await eventually(lambda: has_open(running, 0))


async def has_open(running: Running, count: int) -> bool:
    return open_connections(running) == count


@pytest.mark.settings(idle_timeout_s=1)
async def test_a_client_that_reads_no_answer_is_broken_off(running: Running) -> None:
    address = urlsplit(running.client.url)
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.setblocking(False)
        await loop.sock_connect(client, (str(address.hostname), address.port))
        wanted = b"GET /openapi.json HTTP/1.1\r\nHost: quota\r\n\r\n"
        await loop.sock_sendall(client, wanted * 100)  # more than the system keeps for it
        begun = await loop.sock_recv(client, 1)

        await eventually(lambda: has_open(running, 0))

    assert begun


@pytest.mark.settings(connections_max=16, connections_address_share=0.5)
async def test_one_address_leaves_room_for_others(running: Running) -> None:
    url = running.client.url
    async with opened(url, 8) as ours:
        served = [await is_served(connection) for connection in ours]
        async with opened(url, 1) as (beyond,), opened(url, 8, "127.0.0.2") as others:
            is_beyond_served = await is_served(beyond)
            served += [await is_served(connection) for connection in others]
        ours[0][1].close()
        await eventually(lambda: has_open(running, 7))
        async with opened(url, 1) as (again,):
            served.append(await is_served(again))
    refused = running.service.metrics.registry.get_sample_value("quota_connections_refused_total")

    assert not is_beyond_served
    assert all(served)
    assert refused == 1


@pytest.mark.settings(connections_max=16, connections_address_share=1.0)
async def test_connections_beyond_the_bound_wait_until_there_is_room(running: Running) -> None:
    url = running.client.url
    async with opened(url, 16) as all_there_are, opened(url, 1) as (waiting,):
        assert all([await is_served(connection) for connection in all_there_are])
        answer = asyncio.create_task(is_served(waiting))
        await asyncio.wait((answer,), timeout=0.2)
        is_made_to_wait = not answer.done()
        all_there_are[0][1].close()

        assert await answer
        assert is_made_to_wait


@contextmanager
def descriptors_limited(limit: int) -> Iterator[None]:
    """Have processes that are started in the block open no more files than this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.settings(connections_address_share=1.0, head_timeout_s=60.0)
@pytest.mark.parametrize("workers", [1, 2])
async def test_connections_that_use_up_the_descriptors_leave_the_admin_port_and_the_stores(
    running: Running, settings: Settings, workers: int
) -> None:
    async with AsyncExitStack() as stack:
        with descriptors_limited(256):
            run = await stack.enter_async_context(supervised(settings, workers))
        api = ApiClient(
            running.client._session,  # noqa: SLF001  of the same fixture
            run.api,
            running.client.frontend_key,
            running.client.ops_key,
        )
        async with opened(run.api, 600) as crowd:
            for _, writer in crowd:
                writer.write(HALF)
            ready, _ = await run.get("/readyz")
            metrics, text = await run.get("/metrics")
        reserved = await api.reserve()

    assert (ready, metrics) == (200, 200)
    assert "quota_store_up" in text
    assert reserved.status == 201
    assert len(run.lines) + len(run.others) < 60, run.tail
