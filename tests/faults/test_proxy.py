"""The proxy delays what passes, and never changes its order: TCP does not either."""

import asyncio
import time

from tests.support.proxy import Proxy


async def test_what_is_due_and_waits_for_a_late_loop_is_not_overtaken() -> None:
    arrived = bytearray()
    has_first, has_all = asyncio.Event(), asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.extend(await reader.readexactly(1))
        has_first.set()
        arrived.extend(await reader.readexactly(2))
        has_all.set()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    proxy = Proxy(server.sockets[0].getsockname()[1])
    await proxy.open()
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"0")
    await has_first.wait()
    (link,) = proxy.links

    proxy.delay_s = 0.01
    link.passed_on(b"1", is_request=True)
    time.sleep(0.02)  # noqa: ASYNC251  the loop is late: the first is due, and its timer was not called
    proxy.delay_s = 0.0
    link.passed_on(b"2", is_request=True)
    await has_all.wait()

    assert bytes(arrived) == b"012"
    writer.close()
    assert await reader.read() == b""
    proxy.close()
    server.close()
    await server.wait_closed()
